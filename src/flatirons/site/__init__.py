"""site.toml, the one file of an operator: schema, loading, problems. No jupyterhub."""
