"""The notebook's own container, in which whatever it starts elsewhere runs too. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from flatirons.environments.catalogue import NODES_OWN, Image, container_prefix
from flatirons.errors import ImageError
from flatirons.parallel.login_environment import LOG_IN


def container(environ: Mapping[str, str]) -> list[str]:
    """The words before a command that run it in the notebook's own container; [] when it has none.

    `$FLATIRONS_CONTAINER` holds them as JSON; else `$FLATIRONS_IMAGE` is run plainly. Raises ImageError.
    """
    text = environ.get("FLATIRONS_CONTAINER", "")
    if not text:
        image = environ.get("FLATIRONS_IMAGE", "")
        return container_prefix(Image(path=image)) if image else []
    try:
        words = json.loads(text)
    except ValueError:
        words = None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ImageError(f"$FLATIRONS_CONTAINER must be a JSON list of words, not {text!r}.")
    return words


def log_in(environ: Mapping[str, str]) -> str:
    """Shell lines that give a job script the surroundings of a log-in, less what a container mustn't see.

    Raises ImageError.
    """
    return LOG_IN + (f"unset -v {' '.join(NODES_OWN)}\n" if container(environ) else "")
