"""Many browser sessions at a hub at the same time, each with its cookies and a pause before each request.

A closed loop: a session sends no request while another one is unanswered. Sessions and time are bounded.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from .testbed import BenchFailure

TIMEOUT_S = 60.0
# The proxy closes a connection after five idle seconds; no request must be sent at that moment.
IDLE_S = 3.0
LOG_INS_AT_ONCE = 8
# Headers that browsers send over https; JupyterHub checks them.
PAGE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
SCRIPT = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Load:
    """How many sessions at once, the average pause of each, and how long they are watched."""

    sessions: int
    pause_s: float
    warm_up_s: float
    watch_s: float

    def pause(self) -> float:
        """Seconds until a session's next request, between a half and one and a half of the average."""
        return random.uniform(0.5, 1.5) * self.pause_s


class Session:
    """One browser of a user; a user may have several."""

    def __init__(self, url: str, user: str, transport: httpx.AsyncHTTPTransport) -> None:
        self.user = user
        self.http = httpx.AsyncClient(
            base_url=url, transport=transport, trust_env=False, timeout=TIMEOUT_S, follow_redirects=True
        )

    async def log_in(self) -> None:
        """Logs in through the page; BenchFailure if the hub refuses."""
        await self.http.get("/hub/login", headers=PAGE)
        body = {"username": self.user, "password": "bench", "_xsrf": self.xsrf}
        answer = await self.http.post("/hub/login?next=/hub/home", data=body, headers=PAGE)
        if answer.status_code != 200 or answer.url.path != "/hub/home":
            raise BenchFailure(f"{self.user} could not log in: the hub answered {answer.status_code}")

    @property
    def xsrf(self) -> str:
        """The token that a script on one of the hub's pages sends."""
        cookies = [c for c in self.http.cookies.jar if c.name == "_xsrf" and c.path.startswith("/hub")]
        return cookies[-1].value or "" if cookies else ""

    async def view(self, path: str) -> httpx.Response:
        """The answer to a page view."""
        return await self.http.get(path, headers=PAGE)

    async def post(self, path: str, body: dict[str, str]) -> httpx.Response:
        """The answer to a form that htmx posts to the hub."""
        headers = {**SCRIPT, "X-XSRFToken": self.xsrf, "HX-Request": "true"}
        return await self.http.post(path, data=body, headers=headers)


def connections() -> httpx.AsyncHTTPTransport:
    """The connections that all sessions share, as behind a load balancer."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=IDLE_S)
    return httpx.AsyncHTTPTransport(verify=False, limits=limits)


Action = Callable[[Session], Awaitable[httpx.Response]]


@dataclass
class Watched:
    """What was observed between two snapshots; `answers` are (sent at, seconds, status), 0 for no answer."""

    before: Any = None
    after: Any = None
    began: float = 0.0
    ended: float = 0.0
    answers: list[tuple[float, float, int]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The time between the two snapshots."""
        return self.ended - self.began

    @property
    def failed(self) -> int:
        """The number of requests without an answer, or with another status than 200."""
        return sum(self.began <= at < self.ended and status != 200 for at, _, status in self.answers)

    @property
    def waits_ms(self) -> list[float]:
        """How long the sessions waited for each answer with status 200."""
        return [1000 * s for at, s, status in self.answers if self.began <= at < self.ended and status == 200]


async def log_in(
    url: str, users: list[str], sessions: int, transport: httpx.AsyncHTTPTransport
) -> list[Session]:
    """That many sessions, logged in; the users take turns."""
    limit = asyncio.Semaphore(LOG_INS_AT_ONCE)
    made = [Session(url, users[i % len(users)], transport) for i in range(sessions)]

    async def log_in_one(session: Session) -> None:
        async with limit:
            await session.log_in()

    await asyncio.gather(*map(log_in_one, made))
    return made


async def watch(
    load: Load, sessions: list[Session], action: Action, take_snapshot: Callable[[], Any]
) -> Watched:
    """What happens while all sessions repeat the action; snapshots follow the warm-up and the end."""
    watched, over = Watched(), asyncio.Event()
    tasks = [asyncio.ensure_future(_repeat(load, each, action, watched, over)) for each in sessions]
    try:
        await _wait_unless_one_fails(tasks, load.warm_up_s)
        watched.before, watched.began = take_snapshot(), time.monotonic()
        await _wait_unless_one_fails(tasks, load.watch_s)
        watched.ended, watched.after = time.monotonic(), take_snapshot()
    finally:
        over.set()
        await asyncio.gather(*tasks, return_exceptions=True)
    return watched


async def _wait_unless_one_fails(tasks: Sequence["asyncio.Future[None]"], seconds: float) -> None:
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for each in done:
        each.result()


async def _repeat(
    load: Load, session: Session, action: Action, watched: Watched, over: asyncio.Event
) -> None:
    """One session's requests until it is over. The first pauses spread the sessions out."""
    pause = random.uniform(0, load.pause_s)
    while not await _is_over(over, pause):
        at = time.monotonic()
        try:
            status = (await action(session)).status_code
        except httpx.TransportError:
            status = 0  # no answer, for whatever reason: it counts as a failure
        watched.answers.append((at, time.monotonic() - at, status))
        pause = load.pause()


async def _is_over(over: asyncio.Event, pause_s: float) -> bool:
    """Whether it was over before the pause ended."""
    try:
        await asyncio.wait_for(over.wait(), pause_s)
    except TimeoutError:
        return False
    return True
