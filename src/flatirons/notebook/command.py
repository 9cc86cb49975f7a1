"""`flatirons notebook`: what it prints, and its exit codes.

0   the server was up and ended as somebody wanted, or it lives on as was asked for;
1   it ended by a fault, or never came up: a sentence says why;
2   a mistake in what was asked, or Slurm refused it;
3   Slurm doesn't answer: try again;
130 it was interrupted before it was up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import select
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from flatirons.errors import FlatironsError, OptionsRefused, SlurmError, SlurmUnreachable, SubmitRefused
from flatirons.notebook import address, listing
from flatirons.notebook.arguments import INTERRUPTED, as_typed, options
from flatirons.notebook.cancel import end
from flatirons.notebook.follow import Follower
from flatirons.notebook.plan import COMMENT, Plan, clients, me, plan
from flatirons.servers import messages
from flatirons.servers.causes import Cause
from flatirons.site.load import load
from flatirons.site.schema import Site
from flatirons.slurm.client import MAYBE_SUBMITTED
from flatirons.slurm.model import Job

FAILED, WRONG, SILENT = 1, 2, 3
HANGUP_SECONDS = 2.0
WANTED = ("completed", "stopped")
"""Causes that are no fault."""

IN_THE_LOG = ("failed", "signal", "not_answering", "import_error", "container", "module_missing")
"""Causes of which a server's output may tell more."""


def run(arguments: argparse.Namespace) -> int:
    """Does what the arguments say, and gives the exit code."""
    logging.getLogger("flatirons").addHandler(logging.NullHandler())  # what matters is said in sentences
    began = time.monotonic()
    try:
        return asyncio.run(_run(load(arguments.site), arguments, began))
    except OptionsRefused as error:
        for flag, sentence in as_typed(error.messages).items():
            _complain(f"{flag}: {sentence}")
        return WRONG
    except SubmitRefused as error:
        _complain(error.user)
        return WRONG
    except SlurmError as error:
        _complain(error.user)
        return SILENT


async def _run(site: Site, arguments: argparse.Namespace, began: float) -> int:
    node = address.login_node(site.notebook.login_node)
    known, patience = clients(site), float(site.servers.stop_timeout)
    if arguments.list:
        await listing.show(known, node, arguments.local_port, print)
        return 0
    if arguments.stop is not None:
        await listing.stop(known, arguments.stop, patience, print)
        return 0
    planned = await plan(site, options(arguments), known)
    session = Session(planned, site, node, arguments.local_port, began)
    return await session.run(detach=arguments.detach)


@dataclass
class Session:
    """One server, from here to its end."""

    plan: Plan
    site: Site
    login_node: str
    local_port: int | None
    began: float
    job_id: int = 0
    interrupts: int = 0

    def __post_init__(self) -> None:
        self._hurry = asyncio.Event()  # somebody pressed Ctrl-C twice
        self._follower: Follower | None = None
        self._reaching: asyncio.Task[None] | None = None

    async def run(self, *, detach: bool) -> int:
        """Submits the job and follows it to its end; the exit code."""
        self.plan.record.write()
        async with _told_of_hangup(self._interrupt):
            try:
                self.job_id = await self._submit()
            except FlatironsError:
                self.plan.record.forget()
                raise
            self.say(messages.submitted(self.job_id, self.plan.client.cluster.name))
            if detach and not self.interrupts:
                self.say("It lives on. Where it is, and its address: flatirons notebook --list")
                return 0
            return await self._follow()

    async def _submit(self) -> int:
        """The job's id; of an sbatch that didn't answer, the job that it may have left. Never interrupted:
        a job must not be left that nobody knows."""
        client, plan = self.plan.client, self.plan
        try:
            return await client.submit(plan.spec, plan.script, user=None)
        except SlurmUnreachable as error:
            if error.user != MAYBE_SUBMITTED:
                raise
            snapshot = await client.jobs(of=f"{COMMENT}{plan.record.id}:")
            live = [job.id for job in snapshot.jobs.values() if self._is_live(job)]
            if not live:
                raise
            return live[0]

    def _is_live(self, job: Job) -> bool:
        return job.user == me() and not job.state.is_over

    async def _follow(self) -> int:
        seconds = float(self.site.servers.node_timeout)
        client, record = self.plan.client, self.plan.record
        self._follower = Follower(client, record, self.job_id, seconds, self.say, self._arrived)
        if self.interrupts:
            self._follower.stop()
        cause = await self._follower.follow()
        if self._reaching:
            self._reaching.cancel()
        is_over = bool(self._follower.job and self._follower.job.state.is_over)
        if not is_over:
            await self._end(is_wanted=cause is None)
        record.forget()
        return self._code(cause)

    async def _end(self, *, is_wanted: bool) -> None:
        self.say(f"Ending job {self.job_id} ...")
        try:
            await end(
                self.plan.client,
                self.job_id,
                self.plan.record,
                self._hurry,
                float(self.site.servers.stop_timeout),
            )
        except SlurmError as error:
            again = f"Later: flatirons notebook --stop {self.job_id}"
            raise SlurmError(f"{error.user} {again}", error.detail) from error
        if is_wanted:
            self.say(f"Job {self.job_id} is gone.")

    def _code(self, cause: Cause | None) -> int:
        was_up = bool(self._follower and self._follower.is_up)
        if cause is None:
            return 0 if was_up else INTERRUPTED
        text = f"{cause.sentence} {cause.advice}".strip()
        if cause.kind in WANTED and was_up:
            self.say(text)
            return 0
        _complain(text)
        ending = self._follower.ending if self._follower else None
        if ending and ending.log and cause.kind in IN_THE_LOG:
            _complain("The end of its log:", *(f"    {line}" for line in ending.log))
        return FAILED

    # -- on the way

    def _arrived(self, host: str, port: int) -> None:
        place = address.Place(host, port, self.local_port or port)
        self._print(
            "",
            "On your own machine, in a terminal that stays open:",
            "",
            f"    {place.ssh_line(me(), self.login_node)}",
            "",
            "and in a browser there:",
            "",
            f"    {place.url(self.plan.record)}",
            "",
            "Ctrl-C here ends the server.",
            "",
        )
        self._reaching = asyncio.create_task(self._look(place))

    async def _look(self, place: address.Place) -> None:
        """Ends a server that asks nobody for a token; warns of one that this machine doesn't reach."""
        trouble = await asyncio.to_thread(address.trouble, place)
        if trouble is address.OPEN_TO_ALL and self._follower:
            self._follower.stop(trouble)
        elif trouble:
            _complain(f"{trouble.sentence} {trouble.advice}")

    def _interrupt(self) -> None:
        """Ctrl-C: ends the server; a second time, at once."""
        self.interrupts += 1
        if self._follower:
            self._follower.stop()
        if self.interrupts > 1:
            self._hurry.set()

    def say(self, sentence: str) -> None:
        """A sentence, with the seconds since the command began."""
        self._print(f"{time.monotonic() - self.began:7.1f} s  {sentence}")

    def _print(self, *lines: str) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone; the job must be ended all the same
            print(*lines, sep="\n", flush=True)


@contextlib.asynccontextmanager
async def _told_of_hangup(interrupt: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `interrupt` for a signal, and once when nobody can read any more what is said here."""
    with _signals(interrupt):
        watching = asyncio.create_task(_hangup(interrupt))
        try:
            yield
        finally:
            watching.cancel()


async def _hangup(interrupt: Callable[[], None]) -> None:
    """Without a terminal (`ssh HOST flatirons notebook`) a lost connection sends no signal."""
    with contextlib.suppress(OSError, ValueError):  # no stdout at all, or none that could be lost
        output = select.poll()
        output.register(sys.stdout.fileno(), 0)  # only what is told unasked: an error, the other end gone
        while not output.poll(0):  # noqa: ASYNC110
            await asyncio.sleep(HANGUP_SECONDS)  # not every kind of output can be waited on
        interrupt()


@contextlib.contextmanager
def _signals(interrupt: Callable[[], None]) -> Iterator[None]:
    """Calls `interrupt` for what would end the command, but not for a signal that the shell had ignored."""
    loop = asyncio.get_running_loop()
    caught = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]
    for number in caught:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


def _complain(*lines: str) -> None:
    with contextlib.suppress(OSError):
        print(f"flatirons: {lines[0]}", *lines[1:], sep="\n", file=sys.stderr, flush=True)
