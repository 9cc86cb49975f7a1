"""Many people at a hub at once: each with a browser's cookies, thinking a while before each request.

A closed loop, bounded in people and in time: who waits for an answer asks nothing else meanwhile.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from .stage import BenchFailure

TIMEOUT_S = 60.0
# The proxy closes a connection that was idle for five seconds; a request must not meet that moment.
IDLE_S = 3.0
LOG_INS_AT_ONCE = 8
# What browsers say of themselves over https; JupyterHub looks at it.
PAGE = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
SCRIPT = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True)
class Load:
    """How many people at once, how long each thinks on average, and for how long all of this is watched."""

    sessions: int
    think_s: float
    warm_up_s: float
    watch_s: float

    def pause(self) -> float:
        """Seconds until somebody's next request, from half to one and a half of the average."""
        return random.uniform(0.5, 1.5) * self.think_s


class Session:
    """One person's browser; a person may have several."""

    def __init__(self, url: str, user: str, transport: httpx.AsyncHTTPTransport) -> None:
        self.user = user
        self.http = httpx.AsyncClient(
            base_url=url, transport=transport, trust_env=False, timeout=TIMEOUT_S, follow_redirects=True
        )

    async def log_in(self) -> None:
        """Logs in through the page; BenchFailure when the hub won't have it."""
        await self.http.get("/hub/login", headers=PAGE)
        body = {"username": self.user, "password": "bench", "_xsrf": self.xsrf}
        answer = await self.http.post("/hub/login?next=/hub/home", data=body, headers=PAGE)
        if answer.status_code != 200 or answer.url.path != "/hub/home":
            raise BenchFailure(f"{self.user} could not log in: the hub answered {answer.status_code}")

    @property
    def xsrf(self) -> str:
        """The token that a script on the hub's page would send."""
        cookies = [c for c in self.http.cookies.jar if c.name == "_xsrf" and c.path.startswith("/hub")]
        return cookies[-1].value or "" if cookies else ""

    async def view(self, path: str) -> httpx.Response:
        """The answer to a page view."""
        return await self.http.get(path, headers=PAGE)

    async def post(self, path: str, body: dict[str, str]) -> httpx.Response:
        """The answer to a form that htmx posts."""
        headers = {**SCRIPT, "X-XSRFToken": self.xsrf, "HX-Request": "true"}
        return await self.http.post(path, data=body, headers=headers)


def connections() -> httpx.AsyncHTTPTransport:
    """The connections that all sessions of a run share, as behind a load balancer."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=IDLE_S)
    return httpx.AsyncHTTPTransport(verify=False, limits=limits)


Act = Callable[[Session], Awaitable[httpx.Response]]


@dataclass
class Watched:
    """What was seen while the load was on, between the two looks."""

    before: Any = None
    after: Any = None
    began: float = 0.0
    ended: float = 0.0
    answers: list[tuple[float, float, int]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Between the two looks."""
        return self.ended - self.began

    @property
    def failed(self) -> int:
        """How many requests had no answer, or none that was good."""
        return sum(self.began <= at < self.ended and status != 200 for at, _, status in self.answers)

    @property
    def waits_ms(self) -> list[float]:
        """How long the people waited for good answers, as they saw it."""
        return [1000 * s for at, s, status in self.answers if self.began <= at < self.ended and status == 200]


async def log_in(
    url: str, users: list[str], sessions: int, transport: httpx.AsyncHTTPTransport
) -> list[Session]:
    """That many sessions, logged in, of these users in turn."""
    gate = asyncio.Semaphore(LOG_INS_AT_ONCE)
    made = [Session(url, users[i % len(users)], transport) for i in range(sessions)]

    async def enter(session: Session) -> None:
        async with gate:
            await session.log_in()

    await asyncio.gather(*map(enter, made))
    return made


async def watch(load: Load, sessions: list[Session], act: Act, look: Callable[[], Any]) -> Watched:
    """What happens when all sessions go on doing `act`; `look` is taken after the warm-up and at the end."""
    watched, over = Watched(), asyncio.Event()
    people = [asyncio.ensure_future(_go_on(load, each, act, watched, over)) for each in sessions]
    try:
        await _unless_one_fails(people, load.warm_up_s)
        watched.before, watched.began = look(), time.monotonic()
        await _unless_one_fails(people, load.watch_s)
        watched.ended, watched.after = time.monotonic(), look()
    finally:
        over.set()
        await asyncio.gather(*people, return_exceptions=True)
    return watched


async def _unless_one_fails(people: Sequence["asyncio.Future[None]"], seconds: float) -> None:
    done, _ = await asyncio.wait(people, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for each in done:
        each.result()


async def _go_on(load: Load, session: Session, act: Act, watched: Watched, over: asyncio.Event) -> None:
    """One person's requests until it is over; at first people come one after the other, not all at once."""
    pause = random.uniform(0, load.think_s)
    while not await _is_over(over, pause):
        at = time.monotonic()
        try:
            status = (await act(session)).status_code
        except httpx.TransportError:
            status = 0  # no answer, whatever the reason; it counts as a failure
        watched.answers.append((at, time.monotonic() - at, status))
        pause = load.pause()


async def _is_over(over: asyncio.Event, pause_s: float) -> bool:
    """Whether it was over before the pause was."""
    try:
        await asyncio.wait_for(over.wait(), pause_s)
    except TimeoutError:
        return False
    return True
