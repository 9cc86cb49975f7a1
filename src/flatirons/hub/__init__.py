"""The hub of a site: its commands, JupyterHub's configuration, our pages and REST calls."""
