"""The launchers, with a Slurm in memory."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ipyparallel.cluster import Cluster as StockCluster
from ipyparallel.cluster.launcher import LocalEngineSetLauncher, NotRunning
from traitlets import TraitError

from flatirons.errors import CommandTimeout, SlurmUnreachable, SubmitRefused
from flatirons.parallel import Cluster
from flatirons.parallel.ipp import cluster as engine_cluster
from flatirons.parallel.ipp import controller, launcher
from flatirons.parallel.ipp.launcher import FlatironsControllerLauncher, FlatironsEngineSetLauncher
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster as SlurmCluster
from tests.fakes.slurm import FakeSlurm

KEY = "7c9a2d11-secretsecretsecretsecret"
CONNECTION = json.dumps({"interface": "tcp://10.0.0.7", "registration": 40000, "key": KEY})


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = FakeSlurm()
    fake.accounts["root"] = ("ucb-general",)
    client = SlurmClient(SlurmCluster("summit"), fake)
    monkeypatch.setattr(launcher, "slurm_client", lambda environ: client)
    monkeypatch.setattr(controller, "slurm_client", lambda environ: client)
    monkeypatch.setattr(launcher, "STOP_PAUSE", 0)
    monkeypatch.setattr("flatirons.parallel.job_watch.YOUNG_PAUSE", 0.005)
    for name in ("SLURM_JOB_PARTITION", "SLURM_JOB_ACCOUNT", "SLURM_JOB_QOS", "FLATIRONS_PARALLEL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    return fake


def open_log(engines: FlatironsEngineSetLauncher) -> Path:
    return Path(engines.output_file)


Make = Callable[..., FlatironsEngineSetLauncher]


@pytest.fixture
def make(tmp_path: Path, slurm: FakeSlurm) -> Make:
    def make(**options: Any) -> FlatironsEngineSetLauncher:
        engines = FlatironsEngineSetLauncher(
            profile_dir=str(tmp_path), cluster_id="abc", **{"engine_set_id": "1", **options}
        )
        engines.environment["IPP_CONNECTION_INFO"] = CONNECTION
        return engines

    return make


async def test_engines_are_one_job_that_names_its_notebook(make: Make, slurm: FakeSlurm) -> None:
    engines = make(nodes=2, runtime="2:00:00")
    job_id = await engines.start(8)
    job = slurm.jobs[job_id]
    assert (job.name, job.comment) == ("ipengines", "flatirons-engines:77:abc:1")
    assert {"ntasks": "8", "nodes": "2", "time": "120"}.items() <= job.options.items()
    assert engines.state == "running"


async def test_each_task_removes_what_a_task_prolog_set_but_not_what_the_user_set(
    make: Make, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLATIRONS_IMAGE", "/srv/base.sif")
    engines = make(environment={"PYTHONPATH": "/home/alice/my lib"})
    await engines.start(2)
    [task] = [line for line in slurm.jobs[engines.job_id].script.splitlines() if "srun" in line]
    words = shlex.split(task)
    image = words.index("/srv/base.sif")
    before = words[words.index("env") : image]
    assert {"--unset=PYTHONHOME", "PYTHONPATH=/home/alice/my lib"} <= set(before)
    assert "--unset=PYTHONPATH" not in before


async def test_no_key_reaches_slurm(make: Make, slurm: FakeSlurm) -> None:
    await make(environment={"OMP_NUM_THREADS": "1"}).start(2)
    for call in slurm.calls:
        assert KEY not in repr(call)
    assert "export OMP_NUM_THREADS=1\n" in slurm.jobs[1].script


async def test_a_refusal_is_slurms_own_sentence(make: Make, slurm: FakeSlurm) -> None:
    engines = make(partition="nonesuch")
    with pytest.raises(SubmitRefused, match="invalid partition specified: nonesuch"):
        await engines.start(2)
    assert engines.state == "after"
    await engines.stop()
    assert slurm.count("scancel") == 0


async def test_a_job_whose_id_was_lost_on_the_way_is_found_again(make: Make, slurm: FakeSlurm) -> None:
    def lose(answer: str) -> str:
        raise CommandTimeout("A command didn't end within 60 seconds.", ["sbatch"])

    slurm.tamper("sbatch", lose)
    slurm.on_submit = lambda job: slurm.change(job.id, name="my-run", comment=f"phys-7 {job.comment}")
    assert await make().start(2) == 1
    slurm.hang("sbatch")
    with pytest.raises(SlurmUnreachable):
        await make(engine_set_id="2").start(2)


async def test_stopping_returns_when_slurm_says_that_the_job_is_gone(make: Make, slurm: FakeSlurm) -> None:
    engines = make()
    job_id = await engines.start(2)
    slurm.run_job(job_id)
    await engines.stop()
    assert slurm.jobs[job_id].state == "CANCELLED"
    assert (engines.state, engines.stop_data["state"]) == ("after", "CANCELLED")


async def test_a_set_stays_unchanged_while_slurm_does_not_answer(make: Make, slurm: FakeSlurm) -> None:
    engines = make()
    await engines.start(2)
    slurm.fail("scancel", "scancel: error: Unable to contact slurm controller (connect failure)")
    with pytest.raises(SlurmUnreachable):
        await engines.stop()
    assert engines.state == "running"


async def test_the_end_of_the_job_is_noticed_and_explained(make: Make, slurm: FakeSlurm) -> None:
    engines = make()
    job_id = await engines.start(2)
    open_log(engines).write_text("0: no module named ipyparallel\n")
    end = asyncio.get_running_loop().create_future()
    engines.on_stop(end.set_result)
    slurm.run_job(job_id)
    slurm.end_job(job_id, "FAILED", exit_code="1:0")
    data = await end
    assert (data["job_id"], data["state"], data["exit_code"]) == (job_id, "FAILED", 1)
    assert data["why"]
    assert "no module named ipyparallel" in engines.get_output()


async def test_another_process_finds_the_set_again(make: Make, slurm: FakeSlurm) -> None:
    first = make(nodes=1)
    job_id = await first.start(3)
    slurm.run_job(job_id)
    state = json.loads(json.dumps(first.to_dict()))
    again = FlatironsEngineSetLauncher.from_dict(state, engine_set_id="1")
    assert (again.job_id, again.n, again.nodes, again.state) == (job_id, 3, 1, "running")
    assert KEY not in json.dumps(state)
    await again.stop()
    assert slurm.jobs[job_id].state == "CANCELLED"


async def test_a_set_whose_job_is_over_is_not_running(make: Make, slurm: FakeSlurm) -> None:
    engines = make()
    job_id = await engines.start(1)
    state = engines.to_dict()
    slurm.end_job(job_id)
    with pytest.raises(NotRunning, match="COMPLETED"):
        FlatironsEngineSetLauncher.from_dict(state)
    slurm.lose(job_id)
    with pytest.raises(NotRunning, match="VANISHED"):
        FlatironsEngineSetLauncher.from_dict(state)


async def test_a_set_counts_as_running_while_slurm_does_not_answer(make: Make, slurm: FakeSlurm) -> None:
    engines = make()
    await engines.start(1)
    slurm.hang("squeue", times=10)
    assert FlatironsEngineSetLauncher.from_dict(engines.to_dict()).state == "running"


async def test_a_set_that_was_never_submitted_is_not_running(make: Make) -> None:
    with pytest.raises(NotRunning):
        FlatironsEngineSetLauncher.from_dict(make().to_dict())


@pytest.mark.parametrize(
    "wrong", [{"runtime": "2:00"}, {"memory": "lots"}, {"nodes": -1}, {"partition": "a\nb"}, {"cpus": "two"}]
)
def test_an_option_of_the_wrong_kind_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(TraitError, match=next(iter(wrong))):
        Cluster(**wrong)


def test_an_unknown_keyword_is_refused_with_the_known_ones() -> None:
    with pytest.raises(TypeError, match=r"no keyword 'partitions'.*partition, account"):
        Cluster(partitions="shas")


def test_our_cluster_uses_our_launchers(tmp_path: Path) -> None:
    ours = Cluster(n=2, profile_dir=str(tmp_path))
    assert ours.engine_launcher_class is FlatironsEngineSetLauncher
    assert ours.controller_launcher_class is FlatironsControllerLauncher


def test_ipyparallels_own_cluster_gets_our_controller_by_default(tmp_path: Path) -> None:
    stock = StockCluster(profile_dir=str(tmp_path))
    assert stock.controller_launcher_class is FlatironsControllerLauncher


async def test_keywords_of_the_cluster_reach_slurm_and_those_of_a_set_override_them(
    tmp_path: Path, slurm: FakeSlurm
) -> None:
    ours = Cluster(n=4, profile_dir=str(tmp_path), account="ucb-general", qos="long", memory="2G")
    await ours.start_engines()
    await ours.start_engines(2, qos="debug")
    first, second = (slurm.jobs[number].options for number in (1, 2))
    assert (first["ntasks"], first["qos"], first["mem-per-cpu"]) == ("4", "long", "2048M")
    assert (second["ntasks"], second["qos"], second["account"]) == ("2", "debug", "ucb-general")
    await ours.stop_engines()


async def test_waiting_for_engines_ends_with_their_job_and_not_by_the_clock(
    tmp_path: Path, slurm: FakeSlurm
) -> None:
    ours = Cluster(profile_dir=str(tmp_path))
    await ours.start_engines(1)
    assert ours.engine_timeout == -1
    await ours.stop_engines()


@pytest.mark.parametrize("seconds", [60, 300])
async def test_a_timeout_that_the_user_chose_stays_even_if_it_is_the_default_value(
    tmp_path: Path, slurm: FakeSlurm, seconds: int
) -> None:
    ours = Cluster(profile_dir=str(tmp_path), engine_timeout=seconds)
    await ours.start_engines(1)
    assert ours.engine_timeout == seconds
    await ours.stop_engines()
    stock = StockCluster(profile_dir=str(tmp_path))
    stock.engine_launcher_class = FlatironsEngineSetLauncher
    stock.engine_timeout = seconds
    await stock.start_engines(1)
    assert stock.engine_timeout == seconds
    await stock.stop_engines()


def beside(engines: type, folder: Path, *args: str) -> FlatironsControllerLauncher:
    """A controller's launcher in a cluster with these engines."""
    cluster = StockCluster(engines=engines, profile_dir=str(folder), parent=None)
    return FlatironsControllerLauncher(parent=cluster, profile_dir=str(folder), controller_args=list(args))


async def started(it: FlatironsControllerLauncher, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The argv with which it would be started."""
    argv: list[list[str]] = []
    monkeypatch.setattr("flatirons.parallel.address.of_this_node", lambda environ: "10.0.0.7")
    monkeypatch.setattr(
        "ipyparallel.cluster.launcher.LocalControllerLauncher.start", lambda self: argv.append(self.args)
    )
    await it.start()
    return argv[0]


async def test_for_our_engines_the_controller_listens_on_the_nodes_address_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = await started(beside(FlatironsEngineSetLauncher, tmp_path), monkeypatch)
    assert words[1:3] == ["-m", "flatirons.parallel.ipp.controller"]
    assert {"--ip=10.0.0.7", "--location=10.0.0.7"} <= set(words)


async def test_an_address_that_was_given_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = await started(beside(FlatironsEngineSetLauncher, tmp_path, "--ip=10.9.9.9"), monkeypatch)
    assert [word for word in words if word.startswith("--ip")] == ["--ip=10.9.9.9"]


async def test_for_other_engines_the_controller_is_ipyparallels_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = await started(beside(LocalEngineSetLauncher, tmp_path), monkeypatch)
    assert words[1:] == ["-m", "ipyparallel.controller"]


async def test_a_controllers_end_cancels_the_engines_of_its_cluster(
    make: Make, slurm: FakeSlurm, tmp_path: Path
) -> None:
    job_ids = [await make().start(1), await make().start(2)]
    file = tmp_path / "cluster-abc.json"
    sets = {str(number): {"job_id": number} for number in job_ids} | {"unsubmitted": {"job_id": 0}}
    file.write_text(json.dumps({"cluster": {}, "engines": {"class": "flatirons", "sets": sets}}))
    assert controller.read_job_ids(file) == job_ids
    await controller.cancel(controller.read_job_ids(file))
    assert {job.state for job in slurm.jobs.values()} == {"CANCELLED"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"engines": {}}', "null"])
def test_a_cluster_file_that_cannot_be_read_names_no_jobs(text: str, tmp_path: Path) -> None:
    file = tmp_path / "cluster-abc.json"
    file.write_text(text)
    assert controller.read_job_ids(file) == []
    assert controller.read_job_ids(tmp_path / "absent.json") == []


class LateClient:
    """A client that notices only at its third look that engine 2 has ended."""

    def __init__(self) -> None:
        self.looks = 0
        self.ended: list[int] = []

    def __enter__(self) -> LateClient:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def ids(self) -> list[int]:
        self.looks += 1
        return [0, 1, 2] if self.looks < 3 else [0, 1]

    def shutdown(self, ids: list[int], block: bool) -> None:
        assert block
        self.ended += ids


async def test_a_smaller_cluster_ends_engines_that_live_and_not_one_that_has_just_ended(
    tmp_path: Path, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its engine would never answer, and the cell would wait for ever."""
    monkeypatch.setattr(engine_cluster, "LEAVE_PAUSE", 0)
    ours, client = Cluster(profile_dir=str(tmp_path)), LateClient()

    async def connect_client() -> LateClient:
        return client

    await ours.start_engines(2)
    await ours.start_engines(1)
    ours.connect_client = connect_client
    await ours.resize(1)
    assert client.ended == [1]
    assert [each.n for each in ours.engines.values()] == [1]
    await ours.stop_engines()
