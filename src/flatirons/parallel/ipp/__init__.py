"""IPyParallel on Slurm: the engines are one Slurm job, the controller runs beside the notebook."""
