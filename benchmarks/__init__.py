"""Benchmarks: Flatirons and its peers, on the same real Slurm in the same run."""
