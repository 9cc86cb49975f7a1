"""What configurations for the `optionsspawner` package import; all that stands behind it is Flatirons'."""

from flatirons.spawners.options_form import OptionsFormSpawner

__all__ = ["OptionsFormSpawner"]
