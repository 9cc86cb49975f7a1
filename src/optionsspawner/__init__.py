"""The names that configurations for the `optionsspawner` package import, implemented by Flatirons."""

from flatirons.spawners.options_form import OptionsFormSpawner

__all__ = ["OptionsFormSpawner"]
