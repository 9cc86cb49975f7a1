"""The notebook's own container, in which whatever it starts elsewhere runs too. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from flatirons.errors import ImageError
from flatirons.images import Image, container_prefix


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
