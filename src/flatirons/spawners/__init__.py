"""JupyterHub's side of a server: options become a JobSpec, and a job becomes a URL."""
