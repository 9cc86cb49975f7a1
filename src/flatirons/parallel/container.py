"""The notebook's own container, in which everything that a notebook starts elsewhere runs too. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from flatirons.environments.catalogue import NODES_OWN, Image, container_prefix
from flatirons.errors import ImageError
from flatirons.parallel.login_environment import LOGIN_LINES


def notebook_container(environ: Mapping[str, str]) -> list[str]:
    """The words before a command that run it in the notebook's container; [] when there is no container.

    `$FLATIRONS_CONTAINER` holds them as a JSON list. Without it, the image in `$FLATIRONS_IMAGE` is run with
    no options. Raises ImageError.
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


def login_lines(environ: Mapping[str, str]) -> str:
    """Shell lines that give a job script a log-in environment, without what a container must not see.

    Raises ImageError.
    """
    return LOGIN_LINES + (f"unset -v {' '.join(NODES_OWN)}\n" if notebook_container(environ) else "")
