"""IPyParallel on Slurm: engines as one Slurm job, a controller that they reach."""
