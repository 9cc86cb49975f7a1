"""A connection to a server, whose loss makes the hub ask Slurm at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from flatirons.spawners.run import connection_watch, departure
from flatirons.spawners.run.connection_watch import ConnectionWatch
from flatirons.spawners.run.server_run import ServerRun
from tests.fakes.slurm import FakeSlurm
from tests.unit.spawners.run.test_server_run import KEY, QUICK, registry, run, slurm, spec
from tests.unit.spawners.run.test_withdrawal import withdrawn_at
from tests.waiting import until

__all__ = ["registry", "run", "slurm"]  # fixtures


@dataclass
class Listening:
    """A server, and the connections to it that are open."""

    port: int = 0
    count: int = 0
    open: list[asyncio.StreamWriter] = field(default_factory=list)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Notes the connection until it is closed."""
        self.count += 1
        self.open.append(writer)
        await reader.read()
        self.open.remove(writer)
        writer.close()

    def end(self) -> None:
        """Closes all connections, as the kernel does for a process that is killed."""
        for writer in self.open:
            writer.close()


@asynccontextmanager
async def listening() -> AsyncIterator[Listening]:
    found = Listening()
    server = await asyncio.start_server(found.accept, "127.0.0.1")
    async with server:
        found.port = server.sockets[0].getsockname()[1]
        yield found
        server.close()
        found.end()


async def test_after_each_loss_there_is_a_longer_pause_before_the_next_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that lives may close idle connections, and must not cause queries all the time."""
    lost: list[None] = []
    monkeypatch.setattr(connection_watch, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(connection_watch, "LONGEST_PAUSE", 0.04)
    async with listening() as server:
        watch = ConnectionWatch("127.0.0.1", server.port, lambda: lost.append(None))
        began = asyncio.get_running_loop().time()
        for number in range(1, 6):
            await until(lambda number=number: server.count == number and server.open)
            server.end()
            await until(lambda number=number: len(lost) == number)
        watch.stop()
    assert asyncio.get_running_loop().time() - began >= 0.01 + 0.02 + 0.04 + 0.04


async def test_a_connection_that_was_held_for_long_is_replaced_without_a_word(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost: list[None] = []
    monkeypatch.setattr(connection_watch, "SECONDS_HELD", 0.02)
    async with listening() as server:
        watch = ConnectionWatch("127.0.0.1", server.port, lambda: lost.append(None))
        await until(lambda: server.count > 3)
        watch.stop()
        await until(lambda: not server.open)
    assert lost == []


async def test_a_port_on_which_nobody_listens_is_a_loss() -> None:
    lost = asyncio.Event()
    async with listening() as server:
        port = server.port
    watch = ConnectionWatch("127.0.0.1", port, lost.set)
    await asyncio.wait_for(lost.wait(), 5)
    watch.stop()


@pytest.fixture
async def server(run: ServerRun, slurm: FakeSlurm) -> AsyncIterator[Listening]:
    """The run's server, on this machine, with the hub's connection; Slurm is asked seldom."""
    run.watcher.schedule = replace(QUICK, quiet=60.0, longest=60.0)
    run.registry.holds_connections = True
    async with listening() as found:
        await run.submit(spec(run), "script")
        run.follow()
        slurm.run_job(1, "127.0.0.1")
        await until(lambda: run.job and run.job.state.is_running)
        await run.boot(1, KEY)
        await run.ready(found.port)
        await until(lambda: found.open)
        yield found
        run.close()


async def test_a_server_that_was_killed_with_its_starter_leaves_the_proxy_before_the_watchers_turn(
    run: ServerRun, slurm: FakeSlurm, server: Listening
) -> None:
    asked = slurm.count("squeue")
    server.end()
    await until(lambda: slurm.count("squeue") > asked + 2)
    assert withdrawn_at(run) == [], "Slurm hasn't noticed yet"
    slurm.end_job(1, "FAILED", exit_code="0:9")
    await until(lambda: withdrawn_at(run))


async def test_after_a_loss_that_means_nothing_slurm_is_soon_asked_as_seldom_as_before(
    run: ServerRun, slurm: FakeSlurm, server: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departure, "SECONDS_SUSPECT", 0.05)
    server.end()
    await until(lambda: run.is_urgent)
    await until(lambda: not run.is_urgent)
    await asyncio.sleep(0.1)  # a query may be under way
    asked = slurm.count("squeue")
    await asyncio.sleep(0.2)
    assert slurm.count("squeue") == asked and withdrawn_at(run) == []


async def test_the_connection_ends_with_the_run(run: ServerRun, server: Listening) -> None:
    run.close()
    await until(lambda: not server.open)


async def test_a_hub_after_its_restart_holds_a_connection_again(
    run: ServerRun, slurm: FakeSlurm, server: Listening
) -> None:
    attempt = run.attempt
    run.close()
    await until(lambda: not server.open)
    again = ServerRun(attempt, run.spawner, run.registry, run.limits)
    again.follow()
    await until(lambda: server.open)
    again.close()


async def test_the_hub_keeps_half_of_the_files_that_it_may_open_for_other_purposes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection_watch.resource, "getrlimit", lambda _: (4, 4096))
    monkeypatch.setattr(ConnectionWatch, "running", set())
    async with listening() as server:
        watches = [ConnectionWatch("127.0.0.1", server.port, lambda: None) for _ in range(2)]
        assert not ConnectionWatch.has_room()
        for watch in watches:
            watch.stop()
        assert ConnectionWatch.has_room()
