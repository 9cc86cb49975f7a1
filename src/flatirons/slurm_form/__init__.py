"""The standard Slurm form: its fields, what each of them offers, and how a site narrows it. No jupyterhub."""
