"""Sentences for the ends that a starter names by kind (job/node/kinds.py); pure.

The kinds that causes have for users are fewer: docs/how-to/operate.md lists them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from flatirons.errors import TELL_OPERATOR
from flatirons.job.node import kinds
from flatirons.servers.causes import CALL_REFUSED, Cause, Receiver, StarterEnd, refused_call

OTHER_NODE = "Start again, on another node if you can choose."
OTHER_ENVIRONMENT = f"Choose another environment. {TELL_OPERATOR}"

TMP_FULL = Cause(
    "tmp_full",
    "The node has no room in its /tmp, which the container and the server need.",
    f"{OTHER_NODE} {TELL_OPERATOR}",
)
# Not "on another node": most often none has it.
NO_APPTAINER = Cause("no_apptainer", "The node can't run {program}: {error}.", OTHER_ENVIRONMENT)
WRONG_ARCHITECTURE = Cause(
    "wrong_architecture",
    "The environment's programs are made for another kind of processor than the node's.",
    f"Choose another environment, or a partition with other nodes. {TELL_OPERATOR}",
)
NO_SINGLEUSER = Cause("no_singleuser", "The environment has no jupyterhub-singleuser.", OTHER_ENVIRONMENT)
NO_JUPYTERLAB = Cause("no_jupyterlab", "The environment has no jupyter-lab.", OTHER_ENVIRONMENT)

CAUSES = {
    kinds.STOPPED: Cause("stopped", "The notebook server was stopped."),
    kinds.IMAGE_MISSING: Cause(
        "image_missing", "The image {image} doesn't exist on {node}.", OTHER_ENVIRONMENT
    ),
    kinds.IMAGE_UNREADABLE: Cause(
        "image_missing", "You can't read the image {image} on {node}.", OTHER_ENVIRONMENT
    ),
    kinds.HOME_UNREACHABLE: Cause(
        "home_missing",
        "Your home directory {home} can't be entered on {node}: {error}.",
        f"Start again; if it happens again: {TELL_OPERATOR}",
    ),
    kinds.PORTS_IN_USE: Cause("port", "No port between {first} and {last} is free on the node.", OTHER_NODE),
    kinds.PORTS_TAKEN: Cause(
        "port", "Other programs took {attempts} ports in a row before the server could.", OTHER_NODE
    ),
    kinds.PROGRAM_NOT_STARTED: Cause("failed", "{program} can't be run on the node: {error}."),
    kinds.PROFILE_ENDED: Cause(
        "profile",
        "/etc/profile of {node} ended the job's shell ({status}), so the server could not start.",
        f"{OTHER_NODE} {TELL_OPERATOR}",
    ),
    kinds.PROLOGUE_ENDED: Cause(
        "prologue",
        "The site's prologue, which prepares {node} for a server, ended the job's shell ({status}).",
        f"{OTHER_NODE} {TELL_OPERATOR}",
    ),
    kinds.NO_ROOM_FOR_LOG: TMP_FULL,
}
PROGRAMS = {
    "apptainer": NO_APPTAINER,
    "singularity": NO_APPTAINER,
    "jupyterhub-singleuser": NO_SINGLEUSER,
    "jupyter-labhub": NO_SINGLEUSER,
    "jupyter-lab": NO_JUPYTERLAB,
}
"""Causes for programs that can't be started, by the file's name."""

OF_THE_SITE = (kinds.PROFILE_ENDED, kinds.PROLOGUE_ENDED)
"""Ends in shell lines of the site, of which the log may say more: which module is missing."""


def cause_of(end: StarterEnd, receiver: Receiver) -> Cause | None:
    """The cause that the starter names; None for none, or for a kind that this version doesn't know."""
    if end.kind == CALL_REFUSED:
        return refused_call(end.message)
    if end.kind == kinds.PROGRAM_NOT_STARTED:
        return _filled(_of_program(end.values), end.values)
    if end.kind == kinds.NOT_REPORTED:
        return _filled(Cause(receiver.kind, receiver.call_failed, TELL_OPERATOR), end.values)
    known = CAUSES.get(end.kind)
    return _filled(known, end.values) if known else None


def _of_program(values: Mapping[str, str]) -> Cause:
    program = PurePosixPath(values.get("program", "")).name
    of_program = PROGRAMS.get(program, CAUSES[kinds.PROGRAM_NOT_STARTED])
    if values.get("errno") == "ENOEXEC" and of_program is not NO_APPTAINER:
        return WRONG_ARCHITECTURE
    return of_program


def _filled(cause: Cause, values: Mapping[str, str]) -> Cause:
    """The cause with the values in its sentence; a value that is missing leaves a gap."""
    sentence = cause.sentence.format_map(defaultdict(str, values))
    return replace(cause, sentence=re.sub(r"[ :]+\.$", ".", sentence))
