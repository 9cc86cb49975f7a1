"""The old name of `site.load`, for configurations that import it. New ones use that."""

from flatirons.site.load import load, options_form, parse

__all__ = ["load", "options_form", "parse"]
