"""The names that configurations for the `optionsspawner` package import, implemented by Flatirons."""

from optionsspawner import forms
from optionsspawner.optionsspawner import OptionsFormSpawner

__all__ = ["OptionsFormSpawner", "forms"]
