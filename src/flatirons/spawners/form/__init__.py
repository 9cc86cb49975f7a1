"""The form on a spawner: JupyterHub's hooks, presets, start estimate, suggested fix."""
