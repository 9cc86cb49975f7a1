"""A notebook server as a Slurm job, started from a log-in node without the hub: `flatirons notebook`.

The job is the one that the hub would submit: same form, script, starter and image. A file in the user's home
(`record`) takes the hub's place. JupyterHub need not be installed.
"""
