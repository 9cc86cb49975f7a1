"""JupyterHub for Slurm clusters: notebook servers as Slurm jobs, in containers, chosen in a form."""
