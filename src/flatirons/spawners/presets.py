"""The old name of `spawners.form.presets`, for configurations that import it. New ones use that."""

from flatirons.spawners.form.presets import Preset, Presets

__all__ = ["Preset", "Presets"]
