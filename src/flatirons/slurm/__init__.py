"""All knowledge of Slurm: its words, its command lines, what its answers mean, one watcher for all jobs."""
