"""site.toml, the operator's one file: its schema, how it is loaded, its mistakes. No jupyterhub."""
