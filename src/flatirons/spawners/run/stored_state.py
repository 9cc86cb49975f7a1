"""One attempt to run a server: everything that must be known to find it again after a restart of the hub."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, Self

from flatirons.slurm.model import Job


def digest(secret: str) -> str:
    """What we keep of a secret: enough to recognise it, useless to whoever reads the database."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Attempt:
    """A spawn, from before its submission on. Empty strings and zeros stand for what isn't known yet."""

    cluster: str
    spawn_id: str  # part of the job's comment, so that a job is found even if its id was never stored
    code_digest: str  # of the one-time boot code
    job_id: int = 0
    key_digest: str = ""  # of the starter's key, once it booted
    host: str = ""  # the node that runs the server, as Slurm names it
    port: int = 0
    stopping: bool = False  # its end was asked for

    @property
    def has_booted(self) -> bool:
        """Has the starter made its first call?"""
        return bool(self.key_digest)

    @classmethod
    def new(cls, cluster: str, code: str) -> Self:
        """An attempt that is about to be submitted."""
        return cls(cluster=cluster, spawn_id=secrets.token_hex(8), code_digest=digest(code))

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self | None:
        """The attempt in a spawner's stored state, None when the server wasn't started."""
        if "spawn_id" not in state:
            return None
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in state.items() if key in known})

    def as_state(self) -> dict[str, Any]:
        """What `from_state` reads."""
        return asdict(self)


class Followed(Protocol):
    """A run, as those see it who only look at what is known of it by now."""

    @property
    def attempt(self) -> Attempt:
        """What is stored of it."""

    @property
    def job(self) -> Job | None:
        """Its job as Slurm last described it."""
