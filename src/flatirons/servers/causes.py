"""What is known about the end of a server: the cause that its user reads, and what the starter reported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from flatirons.errors import TELL_OPERATOR


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a server ended. `kind` is a word for metrics and programs; `fix` holds options as typed values."""

    kind: str
    sentence: str
    advice: str = ""
    fix: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The sentence with the advice."""
        return f"{self.sentence} {self.advice}".strip()


@dataclass(frozen=True, slots=True)
class StarterEnd:
    """What a starter reports in its call `end`.

    `log` holds the last lines of the server's output. `kind` and `values` are those of job/node/kinds.py; a
    starter of an older version has only a `message`.
    """

    exit_code: int | None
    signal: int | None
    message: str = ""
    log: tuple[str, ...] = ()
    kind: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_call(cls, body: Mapping[str, Any]) -> Self:
        """The end from the body of the call, by this version of the starter or an older one."""
        kind, values = body.get("kind", ""), body.get("values", {})
        return cls(body["exit_code"], body["signal"], body["message"], tuple(body["log"]), kind, values)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where a starter sends its calls, in the words of causes: the hub, or a file in the user's home.

    `kind` is the kind of cause for a job whose calls, or some of them, did not arrive. `ended_without_call`
    and `no_call` complete the sentence about such a job, if it ended and if it took too long; `call_failed`
    is the sentence about a call that failed. `needs` says what the node needs for the calls.
    """

    kind: str
    ended_without_call: str
    no_call: str
    call_failed: str
    needs: str


HUB = Receiver(
    kind="hub_unreachable",
    ended_without_call="ended without a call to the hub",
    no_call="the hub got no call from it",
    call_failed="The hub at {to} can't be reached from the node.",
    needs="That node must have Python 3 and room in /tmp, and reach the hub.",
)
RECORD = Receiver(
    kind="silent",
    ended_without_call="ended before its server started",
    no_call="it wrote nothing to your home directory",
    call_failed="The node can't write to {to}.",
    needs="That node must have Python 3, and the home directory that you have here.",
)


CALL_REFUSED = "call_refused"
"""The kind of cause, and of a StarterEnd, for a server whose starter's call the hub refused."""

STOPPED = Cause("stopped", "The server was stopped from the hub.")
UNANSWERED = Cause(
    "not_answering",
    "The server listened, but the hub could not reach it, so it was stopped.",
    "Please start again; if it happens again, please tell the operator.",
)
REQUEUED = Cause(
    "requeued",
    "Slurm put the job back into the queue, and its server is gone, so the job was cancelled.",
    "Please start again.",
)


def refused_call(told: str) -> Cause:
    """The cause of a server whose starter the hub refused; `told` is what its user was told at once."""
    return Cause(CALL_REFUSED, told, f"{TELL_OPERATOR} The hub's log says more.")


NOT_EXPECTED = Cause(
    "not_expected",
    "The job started, but its server was not expected any more.",
    "Please start again.",
)
