"""What pages are told about a server, in each phase, on a Slurm in memory."""

from __future__ import annotations

from typing import Any

import pytest

from flatirons.servers.report import Report
from flatirons.servers.status import ServerStatus
from flatirons.slurm.model import Allocation, JobSpec
from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.run.server_status import asked, server_status
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes.slurm import FakeSlurm
from tests.unit.spawners.run.test_server_run import KEY
from tests.unit.spawners.test_slurm import registry, slurm, spawner, taken_up
from tests.waiting import until

__all__ = ["registry", "slurm", "spawner"]


async def test_a_server_that_never_ran_is_stopped(spawner: SlurmSpawner) -> None:
    spawner.server = None
    found = server_status(spawner)
    assert (found.user, found.name, found.phase, found.steps) == ("alice", "", "stopped", ())


async def test_a_waiting_server_says_why_and_since_when(spawner: SlurmSpawner, slurm: FakeSlurm) -> None:
    job_id, checking = await taken_up(spawner, slurm)
    job = slurm.jobs[job_id]
    job.reason, job.start = "Resources", 1_900_000_000
    await until(lambda: server_status(spawner).queue and server_status(spawner).queue.expected_start)
    found = server_status(spawner)
    assert (found.phase, found.job_id, found.cluster, found.partition) == (
        "waiting",
        job_id,
        "summit",
        "shas",
    )
    assert found.is_starting and found.since == job.submit
    assert found.queue and found.queue.sentence and found.queue.expected_start == 1_900_000_000
    assert [start for _, start in found.queue.estimates] == [1_900_000_000]
    checking.cancel()


async def test_a_running_server_says_where_and_until_when(spawner: SlurmSpawner, slurm: FakeSlurm) -> None:
    job_id, checking = await taken_up(spawner, slurm)
    starting = spawner._spawn_future
    slurm.run_job(job_id)
    slurm.jobs[job_id].end = 1_900_000_000
    assert spawner.run and starting
    await spawner.run.boot(job_id, KEY)
    await spawner.run.ready(4321)
    assert await checking is None
    assert server_status(spawner).phase == "starting", "JupyterHub has yet to probe it"
    spawner._check_pending = False
    await starting
    await until(lambda: server_status(spawner).ends_at)
    found = server_status(spawner)
    assert (found.phase, found.node, found.ends_at) == ("up", "shas0101", 1_900_000_000)
    assert found.allocation == Allocation(1, 1, 1000) and "1000 MB" in found.resources
    names = [step.name for step in found.steps]
    assert names == ["submission", "queue", "container", "server"] and all(
        step.seconds is not None for step in found.steps
    )
    assert found.left_seconds(1_900_000_000 + 5) == 0 and found.left_seconds(1_899_999_000) == 1000


async def test_a_server_that_ended_shows_its_newest_report(spawner: SlurmSpawner) -> None:
    spawner.server = None
    spawner.reports = [Report("time_limit", "The time was up.", ended_at=5.0), Report("stopped", "")]
    found = server_status(spawner)
    assert (found.phase, found.since, found.sentence) == ("ended", 5.0, "The time was up.")


async def test_what_was_asked_for_has_labels_and_words(spawner: SlurmSpawner) -> None:
    environments: dict[str, Any] = {"python": {"title": "Python 3.13"}}
    spawner.environments = {"python": {**environments["python"], "image": "/srv/python.sif"}}
    FormHooks(slurm_form({}, {"summit": {}}, environments)).attach(spawner)
    spawner.user_options = {
        "environment": "python",
        "runtime": 120,
        "memory": "4G",
        "gpus": "v100:2",
        "qos": "",
    }
    assert {each.label: each.words for each in asked(spawner)} == {
        "Environment": "Python 3.13",
        "Run time": "2 hours",
        "Memory": "4 GB",
        "GPUs": "2 v100",
    }


def test_resources_are_in_words() -> None:
    spec = JobSpec("jupyter", nodes=2, ntasks=4, cpus=2, memory_mib=4096, gpus=1, gpu_type="v100")
    found = ServerStatus("alice", "", "up", spec=spec)
    assert found.resources == ["2 nodes", "8 cores", "4 GB on each node", "1 v100 GPU on each node"]
    assert ServerStatus("alice", "", "up", spec=JobSpec("jupyter")).resources == ["1 core"]
    assert ServerStatus("alice", "", "up").resources == []


def test_what_slurm_gave_counts_more_than_what_was_asked_for() -> None:
    spec = JobSpec("jupyter", mem_per_cpu_mib=2000, gpus=1, gpu_type="v100")
    given = Allocation(nodes=2, cpus=8, memory_mib=8192, gpus=(("v100", 2),))
    up = ServerStatus("alice", "", "up", spec=spec, allocation=given)
    assert up.resources == ["2 nodes", "8 cores", "4 GB on each node", "1 v100 GPU on each node"]


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        ((), ["1 v100 GPU"]),  # Slurm doesn't count them
        ((("", 1),), ["1 v100 GPU"]),  # not by type
        ((("v100", 2), ("a100", 1)), ["2 v100 GPUs", "1 a100 GPU"]),
    ],
)
def test_gpus_have_their_types(gpus: tuple[tuple[str, int], ...], words: list[str]) -> None:
    spec = JobSpec("jupyter", gpus=1, gpu_type="v100")
    up = ServerStatus("alice", "", "up", spec=spec, allocation=Allocation(1, 1, 1024, gpus))
    assert up.resources == ["1 core", "1 GB", *words]


def test_gpus_that_the_nodes_do_not_share_evenly_are_counted_for_the_job() -> None:
    given = Allocation(nodes=2, cpus=2, gpus=(("v100", 3),))
    up = ServerStatus("alice", "", "up", spec=JobSpec("jupyter"), allocation=given)
    assert up.resources == ["2 nodes", "2 cores", "3 v100 GPUs"]


@pytest.mark.parametrize(
    ("used", "memory", "percent", "is_tight"),
    [(3600, 4000, 90, True), (3500, 4000, 88, False), (9000, 4000, 225, True), (3600, 0, None, False)],
)
def test_memory_is_tight_from_nine_tenths_on(
    used: int, memory: int, percent: int | None, is_tight: bool
) -> None:
    given = Allocation(nodes=1, cpus=1, memory_mib=memory)
    up = ServerStatus("alice", "", "up", allocation=given, used_memory_mib=used)
    assert (up.memory_percent, up.is_memory_tight) == (percent, is_tight)


def test_memory_that_is_not_known_is_not_tight() -> None:
    assert not ServerStatus("alice", "", "up").is_memory_tight
    assert not ServerStatus("alice", "", "up", allocation=Allocation(memory_mib=4000)).is_memory_tight


async def test_somebody_who_looks_is_woken_by_a_change(spawner: SlurmSpawner, slurm: FakeSlurm) -> None:
    change = spawner.registry.changes.next("alice")
    others = spawner.registry.changes.next("bob")
    spawner.keep(Report("stopped", "", job_id=1))
    assert await change
    others.close()


async def test_after_a_restart_of_the_hub_what_was_asked_for_and_the_time_in_the_queue_are_as_before(
    spawner: SlurmSpawner, slurm: FakeSlurm
) -> None:
    FormHooks(slurm_form({}, {"summit": {}}, {"python": {}})).attach(spawner)
    spawner.user_options = {"cpus": 4, "memory": 2048, "runtime": None, "qos": None}
    _, checking = await taken_up(spawner, slurm)
    found = server_status(spawner)
    assert found.spec and (found.spec.cpus, found.spec.memory_mib) == (4, 2048)
    assert [step.name for step in found.steps] == ["submission", "queue"]
    assert found.steps[1].began_at == next(iter(slurm.jobs.values())).submit
    assert found.steps[1].seconds is None, "it still waits"
    checking.cancel()
