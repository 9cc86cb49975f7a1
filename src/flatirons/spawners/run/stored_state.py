"""What is stored of one attempt to run a server, so that a restarted hub finds it again."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, Protocol, Self

from flatirons.slurm.model import Job


def digest(secret: str) -> str:
    """The SHA-256 of a secret: enough to recognise it, useless to a reader of the database."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One spawn, from just before its submission. What isn't known yet is empty or 0."""

    cluster: str
    spawn_id: str  # part of the job's comment, which helps to find a job whose id was never stored
    code_digest: str  # of the one-time boot code
    job_id: int = 0
    key_digest: str = ""  # of the starter's key, once it booted
    host: str = ""  # the node that runs the server, as Slurm names it
    address: str = ""  # where hub and proxy reach that node, if not by its name
    port: int = 0
    certificate_name: str = ""  # with internal TLS: the name that only this server's certificate has
    stopping: bool = False  # somebody asked for its end
    requested_at: int = (
        0  # when the hub began to submit it, in seconds since 1970 by its clock; 0 by old hubs
    )
    instance: str = ""  # of the hub that submitted it, see shared/instance.py; "" by old hubs
    cancel_sent: bool = False  # this hub may have cancelled the job although `stopping` isn't set any more
    submitted_at: int = 0  # when Slurm got it, by Slurm's clock; tells it from another job with its id

    @property
    def has_starter_called(self) -> bool:
        """Has the starter made its first call?"""
        return bool(self.key_digest)

    @property
    def submit(self) -> datetime | None:
        """When Slurm got the job, None while that isn't known."""
        return datetime.fromtimestamp(self.submitted_at, UTC) if self.submitted_at else None

    @classmethod
    def new(cls, cluster: str, code: str, instance: str = "") -> Self:
        """A new attempt with this boot code, about to be submitted by this instance of the hub."""
        made, now = secrets.token_hex(8), int(time.time())
        return cls(cluster, made, code_digest=digest(code), requested_at=now, instance=instance)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self | None:
        """The attempt in a spawner's stored state, None if it holds none."""
        if "spawn_id" not in state:
            return None
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in state.items() if key in known})

    def as_state(self) -> dict[str, Any]:
        """What `from_state` reads."""
        return asdict(self)


class Followed(Protocol):
    """What is known of a run by now."""

    @property
    def attempt(self) -> Attempt:
        """What is stored of the run."""

    @property
    def job(self) -> Job | None:
        """The run's job as Slurm last described it, None if it hasn't."""
