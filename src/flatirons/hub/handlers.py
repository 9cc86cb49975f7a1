"""All that Flatirons adds to a hub's URLs: `handlers`.

Here are the calls of a starter, POST {hub}/api/flatirons/boot, ready, end; those of a form are in
`form_handlers`, what became of servers in `report_handlers`.

A starter has no JupyterHub token before it booted, so these calls are not guarded by scopes but by the
one-time boot code and, from then on, by the key that the starter sent with it (Authorization: Bearer KEY).
Nothing of a body reaches a spawner but what the models below name; the node's name comes from Slurm, never
from here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from jupyterhub.apihandlers.base import APIHandler
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tornado.web import HTTPError

from flatirons.errors import SlurmError
from flatirons.hub import form_handlers, report_handlers
from flatirons.spawners.desk import SETTINGS_KEY, Desk
from flatirons.spawners.diagnosis import Ending
from flatirons.spawners.run import NotExpected, ServerRun

MAX_BODY_BYTES = 256 * 1024


class Body(BaseModel):
    """A body that holds what is named, and nothing else."""

    model_config = ConfigDict(extra="forbid", strict=True)


class BootBody(Body):
    """The job that asks, the script's code, and the starter's own secret."""

    job_id: int = Field(gt=0)
    code: str = Field(min_length=20, max_length=200)
    key: str = Field(min_length=20, max_length=200)


class ReadyBody(Body):
    """Where the server listens."""

    port: int = Field(ge=1, le=65535)


class EndBody(Body):
    """How the server ended, and the last lines of its log."""

    exit_code: int | None
    signal: int | None
    message: str = Field(max_length=1000)
    log: list[str] = Field(max_length=100)


AnyBody = TypeVar("AnyBody", bound=Body)


class StarterHandler(APIHandler):
    """What the three calls share."""

    async def prepare(self) -> None:
        """A starter is nobody that JupyterHub knows: it isn't looked up, which costs some milliseconds."""
        self._jupyterhub_user = None
        self.expanded_scopes: set[str] = set()
        self.parsed_scopes: dict[str, Any] = {}

    def _log(self) -> None:
        """Of calls that went well the spawner's own lines tell; one more for each cost what the call did."""
        if self.get_status() >= 400:
            super()._log()

    def check_xsrf_cookie(self) -> None:
        """A starter has no cookies, and these calls obey none."""

    @property
    def desk(self) -> Desk[ServerRun]:
        """The hub's desk; 403 when no server was ever started by it."""
        desk = self.users.settings.get(SETTINGS_KEY)
        if not isinstance(desk, Desk):
            raise HTTPError(403, "No server is expected here")
        return desk

    def read(self, model: type[AnyBody]) -> AnyBody:
        """The body, checked; 400 for anything else."""
        if len(self.request.body) > MAX_BODY_BYTES:
            raise HTTPError(413, "The body is too large")
        try:
            return model.model_validate_json(self.request.body)
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False, include_context=False)
            raise HTTPError(400, f"Not a valid body: {problems}") from None

    def run_of_key(self) -> ServerRun:
        """The run whose starter calls; 403 for any other caller."""
        scheme, _, key = self.request.headers.get("Authorization", "").partition(" ")
        run = self.desk.by_key(key) if scheme == "Bearer" else None
        if run is None:
            raise HTTPError(403, "Not a starter of this hub")
        return run

    @contextmanager
    def told(self, status: int, sentence: str) -> Iterator[None]:
        """What isn't expected becomes `status`, which a starter takes for final; a silent Slurm 503."""
        try:
            yield
        except NotExpected as error:
            self.log.warning("Refused: %s", error)
            raise HTTPError(status, sentence) from None
        except SlurmError as error:
            self.log.warning("A starter has to wait for Slurm: %s", error.detail or error)
            raise HTTPError(503, error.user) from None

    def answer(self, body: Any = None) -> None:
        """Ends the call with a JSON body."""
        self.set_header("Cache-Control", "no-store")
        self.finish({} if body is None else body)


class BootHandler(StarterHandler):
    """POST boot: the code for the environment."""

    async def post(self) -> None:
        """Gives the server's environment, once, to the job that the code was made for."""
        body = self.read(BootBody)
        run = self.desk.by_code(body.code)
        if run is None:
            raise HTTPError(403, "This boot code isn't valid, or not any more")
        with self.told(403, "This boot code isn't valid, or not any more"):
            await run.boot(body.job_id, body.key)
            self.answer(await run.spawner.boot())


class ReadyHandler(StarterHandler):
    """POST ready: the server listens."""

    async def post(self) -> None:
        """Completes the start of the caller's server."""
        body = self.read(ReadyBody)
        run = self.run_of_key()
        with self.told(409, "This server isn't starting"):
            await run.ready(body.port)
        self.answer()


class EndHandler(StarterHandler):
    """POST end: the server ended."""

    async def post(self) -> None:
        """Takes note of how the caller's server ended."""
        body = self.read(EndBody)
        run = self.run_of_key()
        self.answer()
        await run.end(Ending(body.exit_code, body.signal, body.message, tuple(body.log)))


starter_handlers = [
    (r"/api/flatirons/boot", BootHandler),
    (r"/api/flatirons/ready", ReadyHandler),
    (r"/api/flatirons/end", EndHandler),
]
handlers = [*starter_handlers, *form_handlers.handlers, *report_handlers.handlers]
