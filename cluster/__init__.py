"""The virtual cluster: real Slurm on virtual nodes of one machine."""
