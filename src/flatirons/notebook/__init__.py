"""A notebook server as a Slurm job, started from a log-in node without the hub: `flatirons notebook`.

The job is the one that the hub would submit: the same form, script, starter and image. In the hub's place
stands a file in the user's home (`record`). Nothing here imports jupyterhub, which need not be installed.
"""
