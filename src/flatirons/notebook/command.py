"""`flatirons notebook`: what it prints, and its exit codes.

0   the server was up and ended as wanted, or it keeps running after --detach;
1   the server failed or never came up; a sentence says why;
2   the options are wrong, or Slurm refused the job;
3   Slurm doesn't answer; try again;
130 the command was interrupted before the server was up.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import math
import select
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from flatirons.errors import FlatironsError, OptionsRefused, SlurmError, SlurmUnreachable, SubmitRefused
from flatirons.notebook import address, listing
from flatirons.notebook.arguments import INTERRUPTED, as_typed, options
from flatirons.notebook.plan import COMMENT, Plan, clients, me, plan
from flatirons.notebook.run import NotebookRun
from flatirons.servers import messages
from flatirons.servers.causes import Cause
from flatirons.servers.follow import Limits
from flatirons.servers.progress import StartProgress
from flatirons.site.load import load
from flatirons.site.schema import Site
from flatirons.slurm.command_errors import MAYBE_SUBMITTED
from flatirons.slurm.model import Job

FAILED, WRONG, SILENT = 1, 2, 3
HANGUP_SECONDS = 2.0
NO_FAILURE = ("completed", "stopped")
"""Kinds of ends that are no failure."""

IN_THE_LOG = (
    *("failed", "signal", "not_answering", "import_error", "container", "module_missing"),
    *("profile", "prologue"),
)
"""Kinds of ends of which the server's log may say more."""


def run(arguments: argparse.Namespace) -> int:
    """Does what the arguments say; returns the exit code."""
    logging.getLogger("flatirons").addHandler(logging.NullHandler())  # users get sentences instead
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
    """One notebook, from its submission to its end."""

    plan: Plan
    site: Site
    login_node: str
    local_port: int | None
    began: float
    job_id: int = 0
    interrupts: int = 0

    def __post_init__(self) -> None:
        self._run: NotebookRun | None = None
        self._check: asyncio.Task[None] | None = None

    async def run(self, *, detach: bool) -> int:
        """Submits the job and follows it to its end; returns the exit code."""
        self.plan.record.write()
        async with _on_hangup(self._interrupt):
            try:
                self.job_id = await self._submit()
            except FlatironsError:
                self.plan.record.forget()
                raise
            self.plan.record.note_job(self.job_id)
            self.say(messages.submitted(self.job_id, self.plan.client.cluster.name))
            if detach and not self.interrupts:
                self.say("It keeps running. For its state and address: flatirons notebook --list")
                return 0
            return await self._follow()

    async def _submit(self) -> int:
        """The job's id. If sbatch didn't answer, that of the job which Slurm may still have accepted.

        This can't be interrupted, because then nobody would know the job's id.
        """
        client, plan = self.plan.client, self.plan
        try:
            return await client.submit(plan.spec, plan.script, user=None)
        except SlurmUnreachable as error:
            if error.user != MAYBE_SUBMITTED:
                raise
            snapshot = await client.jobs(comment_part=f"{COMMENT}{plan.record.id}:")
            live = [job.id for job in snapshot.jobs.values() if self._is_live(job)]
            if not live:
                raise
            return live[0]

    def _is_live(self, job: Job) -> bool:
        return job.user == me() and not job.state.is_over

    async def _follow(self) -> int:
        servers = self.site.servers
        limits = Limits(queue=math.inf, node=float(servers.node_timeout), stop=float(servers.stop_timeout))
        progress = StartProgress(lambda event: self.say(event["message"]))
        client, record = self.plan.client, self.plan.record
        run = NotebookRun(client, record, self.job_id, limits, progress=progress, on_up=self._show_address)
        async with run:
            self._run = run
            if self.interrupts:
                run.stop()
            if self.interrupts > 1:
                run.cancellation.hurry()
            cause = await run.wait_until_over()
            if self._check:
                self._check.cancel()
            if not (run.job and run.job.state.is_over):
                await self._cancel(run, is_wanted=cause is None)
        record.forget()
        return self._report(run, cause)

    async def _cancel(self, run: NotebookRun, *, is_wanted: bool) -> None:
        self.say(f"Ending job {self.job_id} ...")
        try:
            await run.cancel()
        except SlurmError as error:
            again = f"Later: flatirons notebook --stop {self.job_id}"
            raise SlurmError(f"{error.user} {again}", error.detail) from error
        if is_wanted:
            self.say(f"Job {self.job_id} is gone.")

    def _report(self, run: NotebookRun, cause: Cause | None) -> int:
        """Says why the server ended; returns the exit code."""
        was_up = bool(run.port)
        if cause is None:
            return 0 if was_up else INTERRUPTED
        if cause.kind in NO_FAILURE and was_up:
            self.say(cause.text)
            return 0
        _complain(cause.text)
        log = run.starter_end.log if run.starter_end else ()
        if log and cause.kind in IN_THE_LOG:
            _complain("The end of its log:", *(f"    {line}" for line in log))
        return FAILED

    # -- while it starts

    def _show_address(self, host: str, port: int) -> None:
        server = address.ServerAddress(host, port, self.local_port or port)
        self._print(
            "",
            "On your own machine, in a terminal that stays open:",
            "",
            f"    {server.ssh_line(me(), self.login_node)}",
            "",
            "and in a browser there:",
            "",
            f"    {server.url(self.plan.record)}",
            "",
            "Ctrl-C here ends the server.",
            "",
        )
        self._check = asyncio.create_task(self._check_access(server))

    async def _check_access(self, server: address.ServerAddress) -> None:
        """Ends a server that demands no token; warns of one that this machine can't reach."""
        problem = await asyncio.to_thread(address.problem, server)
        if problem is address.OPEN_TO_ALL and self._run:
            self._run.stop(problem)
        elif problem:
            _complain(problem.text)

    def _interrupt(self) -> None:
        """Ctrl-C ends the server; a second one leaves it no time to end by itself."""
        self.interrupts += 1
        if self._run:
            self._run.stop()
            if self.interrupts > 1:
                self._run.cancellation.hurry()

    def say(self, sentence: str) -> None:
        """Prints a sentence with the seconds since the command began."""
        self._print(f"{time.monotonic() - self.began:7.1f} s  {sentence}")

    def _print(self, *lines: str) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone; the job must be ended all the same
            print(*lines, sep="\n", flush=True)


@contextlib.asynccontextmanager
async def _on_hangup(interrupt: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `interrupt` for a signal, and once when nobody can read our output any more."""
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
        output.register(sys.stdout.fileno(), 0)  # poll(2) reports errors and hang-ups in any case
        while not output.poll(0):  # noqa: ASYNC110
            await asyncio.sleep(HANGUP_SECONDS)  # the event loop can't wait for every kind of output
        interrupt()


@contextlib.contextmanager
def _signals(interrupt: Callable[[], None]) -> Iterator[None]:
    """Calls `interrupt` for signals that would end the command, except those that the shell ignores."""
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
