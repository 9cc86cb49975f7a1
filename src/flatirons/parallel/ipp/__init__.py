"""IPyParallel on Slurm: the engines are one Slurm job, the controller runs in the notebook's job."""
