"""Dask on Slurm from a notebook: `dask_jobqueue.SLURMCluster()` works without any argument."""
