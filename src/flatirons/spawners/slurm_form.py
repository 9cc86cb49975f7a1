"""The old name of `slurm_form.form`, for configurations that import it. New ones use that."""

from flatirons.slurm_form.form import slurm_form

__all__ = ["slurm_form"]
