"""The old name of `spawners.form.hooks`, for configurations that import it. New ones use that."""

from flatirons.spawners.form.hooks import FormHooks, RefusedOptions, is_served

__all__ = ["FormHooks", "RefusedOptions", "is_served"]
