"""The old name of `environments.catalogue`, for configurations that import it. New ones use that."""

from flatirons.environments.catalogue import Bind, Catalogue, Environment, Image

__all__ = ["Bind", "Catalogue", "Environment", "Image"]
