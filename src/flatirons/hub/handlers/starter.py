"""The calls of a starter: POST {hub}/api/flatirons/boot, ready, usage, end.

A starter has no JupyterHub token before `boot`, so scopes don't guard these calls. `boot` needs the one-time
boot code. The others need the key that the starter sent with it (Authorization: Bearer KEY). All must come
from the node of the job, whose name comes from Slurm and never from a call. Only what the models below name
reaches a spawner. A refused call changes nothing; we log one line for it, and tell the server's user at once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tornado.web import HTTPError

from flatirons.errors import SlurmError
from flatirons.hub.handlers.caller import caller_of
from flatirons.servers.causes import StarterEnd
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.run.caller_check import Elsewhere, NotExpected, Unsettled
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry

MAX_BODY_BYTES = 256 * 1024
LONGEST_PROBLEM = 500  # characters: a caller can choose any names of keys, and must not fill the log
NO_CODE = "This boot code isn't valid, or not any more"
FAILED = "The hub could not answer a call for this server, because of an error of its own."


class Body(BaseModel):
    """A body that holds the named values and nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True)


class BootBody(Body):
    """The job, the boot code in its script, and the starter's own secret."""

    job_id: int = Field(gt=0)
    code: str = Field(min_length=20, max_length=200)
    key: str = Field(min_length=20, max_length=200)


class ReadyBody(Body):
    """Where the server listens."""

    port: int = Field(ge=1, le=65535)


class UsageBody(Body):
    """What the job uses on its node. A user can say anything here, so nothing but a display depends on it."""

    memory_mib: int = Field(ge=0, le=2**40)


class EndBody(Body):
    """How the server ended, and the last lines of its log. Older starters send no kind."""

    exit_code: int | None
    signal: int | None
    kind: str = Field(default="", max_length=40)
    values: dict[str, str] = Field(default_factory=dict, max_length=10)
    message: str = Field(max_length=1000)
    log: list[str] = Field(max_length=100)


AnyBody = TypeVar("AnyBody", bound=Body)


class RefusedCall(HTTPError):
    """An error of status 4xx or 503: a sentence for the caller, a `detail` for the log.

    `told` is a sentence for the user of the server, if the call was for a server; with "" nothing is told.
    """

    def __init__(self, status: int, sentence: str, detail: str = "", told: str | None = None) -> None:
        super().__init__(status, "%s", sentence)
        self.detail = detail or sentence
        self.told = f"The hub refused a call for this server: {sentence}." if told is None else told


class StarterHandler(compat.UnidentifiedHandler):
    """What all handlers share. `run` is the run that the call is for, None as long as that isn't known.

    `is_starters`: the caller has the key, so it is the starter of that run.
    """

    run: ServerRun | None = None
    is_starters = False

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Logs one line for a refused call, in addition to JupyterHub's own line, and tells the user why."""
        told = FAILED
        if isinstance(value, RefusedCall):
            self.log.warning("Refused %s: %s", self.request.path.rpartition("/")[2], value.detail)
            told = value.told
        else:
            super().log_exception(typ, value, tb)
        if self.run:
            self.run.call_refused(told, is_starters=self.is_starters)

    @property
    def registry(self) -> Registry[ServerRun]:
        """The hub's registry; 403 if the hub has not started a server yet."""
        registry = compat.settings_of_handler(self).get(SETTINGS_KEY)
        if not isinstance(registry, Registry):
            raise RefusedCall(403, "No server is expected here")
        return registry

    def read(self, model: type[AnyBody]) -> AnyBody:
        """The checked body; 400 for an invalid one, 413 for one that is too large."""
        if len(self.request.body) > MAX_BODY_BYTES:
            raise RefusedCall(413, "The body is too large", f"a body of {len(self.request.body)} bytes")
        try:
            return model.model_validate_json(self.request.body)
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False, include_context=False)
            raise RefusedCall(400, f"Not a valid body: {problems}"[:LONGEST_PROBLEM]) from None

    def run_of_key(self) -> ServerRun:
        """The run whose key the caller has; 403 for any other caller."""
        scheme, _, key = self.request.headers.get("Authorization", "").partition(" ")
        run = self.registry.by_key(key) if scheme == "Bearer" else None
        if run is None:
            raise RefusedCall(403, "Not a starter of this hub")
        self.run, self.is_starters = run, True
        return run

    async def admit(self, run: ServerRun) -> None:
        """Returns if the call comes from the node of the run's job; raises like `CallerCheck.admit` if not.

        With `check_address` off, it returns for any caller as soon as Slurm has given the job a node.
        """
        if not run.spawner.check_address:
            await run.caller_check.node()
            return
        proxy, trusted = compat.proxy_address(self), compat.trusted_addresses(self)
        await run.caller_check.admit(await caller_of(self.request, proxy, trusted, self.registry.names))

    @contextmanager
    def refusing(self, status: int, sentence: str) -> Iterator[None]:
        """Refuses an unexpected call with `status`, which is final, and one that may be repeated with 503."""
        try:
            yield
        except Elsewhere as error:
            sentence = "This call doesn't come from its job's node"
            raise RefusedCall(403, sentence, f"by {error}", error.told) from None
        except NotExpected as error:
            raise RefusedCall(status, sentence, str(error), error.told) from None
        except Unsettled as error:
            told = f"The hub can't tell yet whether a call for this server comes from its node: {error}."
            sentence = "The hub can't tell now where this call comes from"
            raise RefusedCall(503, sentence, str(error), told) from None
        except SlurmError as error:
            detail = f"a starter has to wait for Slurm: {error.detail or error}"
            told = f"The hub can't answer the node of this server yet. {error.user}"
            raise RefusedCall(503, error.user, detail, told) from None

    def answer(self, body: Any = None) -> None:
        """Ends the call with a JSON body."""
        self.set_header("Cache-Control", "no-store")
        self.finish({} if body is None else body)


class BootHandler(StarterHandler):
    """POST boot: exchanges the code for the environment."""

    async def post(self) -> None:
        """Returns the server's environment, once, to the job that the code was made for, on its node."""
        self.run = self._run_of_code()
        body, run = self.read(BootBody), self.run
        if run is None:
            raise RefusedCall(403, NO_CODE)
        with self.refusing(403, NO_CODE):
            await self.admit(run)
            await run.boot(body.job_id, body.key)
            self.is_starters = True
            self.answer(await run.spawner.boot())

    def _run_of_code(self) -> ServerRun | None:
        """The run whose boot code is in the body, also if the rest of the body isn't valid."""
        if len(self.request.body) > MAX_BODY_BYTES:
            return None
        try:
            return self.registry.by_code(str(json.loads(self.request.body)["code"]))
        except (ValueError, LookupError, TypeError):
            return None


class ReadyHandler(StarterHandler):
    """POST ready: the server listens."""

    async def post(self) -> None:
        """Completes the start of the caller's server."""
        run = self.run_of_key()
        body = self.read(ReadyBody)
        with self.refusing(409, "This server isn't starting"):
            await self.admit(run)
            await run.ready(body.port)
        self.answer()


class UsageHandler(StarterHandler):
    """POST usage: what the server uses."""

    async def post(self) -> None:
        """Shows what the caller's server uses, until its next call."""
        run = self.run_of_key()
        body = self.read(UsageBody)
        with self.refusing(409, "This server isn't up"):
            await self.admit(run)
            run.uses(body.memory_mib)
        self.answer()


class EndHandler(StarterHandler):
    """POST end: the server ended."""

    async def post(self) -> None:
        """Records how the caller's server ended, once."""
        run = self.run_of_key()
        body = self.read(EndBody)
        ending = StarterEnd.from_call(body.model_dump())
        with self.refusing(409, "The end of this server is known"):
            await self.admit(run)
            explained = run.end(ending)
        # Before the answer: if the hub is killed before it answers, the starter repeats the call.
        await asyncio.gather(run.departure.is_out(), run.spawner.reports_stored())
        self.answer()
        await explained


handlers = [
    (r"/api/flatirons/boot", BootHandler),
    (r"/api/flatirons/ready", ReadyHandler),
    (r"/api/flatirons/usage", UsageHandler),
    (r"/api/flatirons/end", EndHandler),
]
