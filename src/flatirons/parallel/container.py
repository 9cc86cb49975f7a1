"""The notebook's own container, in which everything that a notebook starts elsewhere runs too. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from flatirons.environments.catalogue import NODES_OWN, Image, container_prefix
from flatirons.errors import ImageError
from flatirons.job.script import quote
from flatirons.job.variables import ENVIRONMENT_NAMES
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


def task_container(environ: Mapping[str, str], given: Mapping[str, str]) -> list[str]:
    """The same for a task of srun, without the variables that point to the node's own software.

    A TaskProlog of the site may set these in each task, so the job script can't remove them. Those in `given`
    are set to its values. Raises ImageError.
    """
    container = notebook_container(environ)
    if not container:
        return []
    removed = [f"--unset={name}" for name in NODES_OWN if name not in given]
    return ["env", *removed, *(f"{name}={given[name]}" for name in NODES_OWN if name in given), *container]


def login_lines(environ: Mapping[str, str]) -> str:
    """Shell lines that give a job script a log-in environment and the variables that name its image.

    They remove what a container must not see. Raises ImageError.
    """
    removed = f"unset -v {' '.join(NODES_OWN)}\n" if notebook_container(environ) else ""
    named = [["export", f"{name}={environ[name]}"] for name in ENVIRONMENT_NAMES if name in environ]
    return LOGIN_LINES + removed + "".join(f"{quote(words)}\n" for words in named)
