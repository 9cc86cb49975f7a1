"""Engines from a notebook on the virtual cluster: real Slurm, real containers, the image's ipyparallel."""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator

import pytest

from cluster.demo.visitor import Kernel, SmokeFailure, Visitor
from tests.cluster.product.cells import blocks, command_lines, last_json, start_server
from tests.real_slurm import Slurm
from tests.repository import REPO
from tests.waiting import eventually

pytestmark = [
    pytest.mark.cluster,
    # websockets of the demo's visitor, when a cell fails
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed WebSocketClientConnection:ResourceWarning"),
]

ENGINES = "ipengines"
START = """
import ipyparallel as ipp, json, os, socket
def probe():
    import os, socket
    job = os.environ.get("SLURM_JOB_ID") or os.environ["FLATIRONS_JOB_ID"]
    return {"host": socket.gethostname(), "uid": os.getuid(), "job": job,
            "image": os.environ.get("APPTAINER_CONTAINER", ""), "cwd": os.getcwd()}
"""
EIGHT = (
    START
    + """
rc = ipp.Cluster(engines="flatirons", n=8).start_and_connect_sync()
print(json.dumps([rc[:].apply_sync(probe), probe(), rc.cluster.controller.connection_files["engine"]]))
"""
)
TWO = (
    START
    + """
rc = ipp.Cluster(engines="flatirons", n=2).start_and_connect_sync()
print(json.dumps(rc.cluster.engine_set.job_id))
"""
)


@pytest.fixture
def kernel(visitor: Visitor, slurm: Slurm) -> Iterator[Kernel]:
    """A new kernel in alice's notebook server; at the end all engines are removed."""
    if not visitor.has_server():
        start_server(visitor)
    yield visitor.kernel()
    gc.collect()
    slurm.end(ENGINES)


def test_eight_engines_are_one_job_over_two_nodes_in_the_notebooks_image(
    kernel: Kernel, slurm: Slurm
) -> None:
    engines, notebook, _ = last_json(kernel.run(EIGHT))
    assert sorted(each["host"] for each in engines) == ["shas0101"] * 4 + ["shas0102"] * 4
    assert {each["job"] for each in engines} == {str(slurm.live(ENGINES)[0])} != {notebook["job"]}
    for key in ("uid", "image", "cwd"):
        assert {each[key] for each in engines} == {notebook[key]}
    assert notebook["image"]
    kernel.run("rc.cluster.stop_cluster_sync()")
    assert slurm.live(ENGINES) == []


def test_no_key_is_in_what_slurm_keeps_or_in_any_command_line(kernel: Kernel, slurm: Slurm) -> None:
    engines, _, file = last_json(kernel.run(EIGHT))
    key = last_json(kernel.run(f"print(json.dumps(json.load(open({file!r}))['key']))"))
    [job] = slurm.live(ENGINES)
    hosts = {each["host"] for each in engines}
    kept = slurm.kept(job) + command_lines(slurm.cluster, *hosts)
    assert "flatirons.parallel.ipp.node" in kept
    assert key not in kept
    assert last_json(kernel.run(f"print(json.dumps(oct(os.stat({file!r}).st_mode)))")) == "0o100600"


def test_keywords_become_options_of_the_job(kernel: Kernel, slurm: Slurm) -> None:
    words = 'n=3, partition="sknl", account="ucb-knl", runtime="0:20:00", cpus=2, memory="600M", nodes=1'
    kernel.run(
        START + f"from flatirons.parallel import Cluster\nrc = Cluster({words}).start_and_connect_sync()"
    )
    job = slurm.job(slurm.live(ENGINES)[0])
    wanted = {"Partition": "sknl", "Account": "ucb-knl", "TimeLimit": "00:20:00", "NumTasks": "3"}
    assert wanted.items() <= job.items()
    assert "cpu=6,mem=1800M,node=1" in job["ReqTRES"]


def test_a_refusal_is_shown_in_slurms_own_words(kernel: Kernel, slurm: Slurm) -> None:
    words = 'n=2, account="csdms"'
    with pytest.raises(
        SmokeFailure, match=r"SubmitRefused: .*Invalid account or account/partition combination"
    ):
        kernel.run(f"from flatirons.parallel import Cluster\nrc = Cluster({words}).start_and_connect_sync()")
    assert slurm.live(ENGINES) == []


def test_the_notebook_shows_why_engines_wait_and_stopping_them_cancels_their_job(
    kernel: Kernel, slurm: Slurm, sknl_is_taken: Callable[[], None]
) -> None:
    printed = kernel.run(
        START
        + """
from flatirons.parallel import Cluster
import asyncio
c = Cluster(n=1, partition="sknl", account="ucb-knl")
await c.start_cluster()
while not c.engine_set.watch.known or not c.engine_set.watch.known.reason:
    await asyncio.sleep(0.2)
"""
    )
    assert "wait: " in printed
    assert [slurm.state(job) for job in slurm.live(ENGINES)] == ["PENDING"]
    kernel.run("await c.stop_cluster()")
    assert slurm.live(ENGINES) == []


def test_engines_whose_notebook_has_ended_end_as_soon_as_they_start(
    kernel: Kernel, slurm: Slurm, sknl_is_taken: Callable[[], None]
) -> None:
    printed = kernel.run(
        START
        + """
from flatirons.parallel import Cluster
c = Cluster(n=1, partition="sknl", account="ucb-knl")
await c.start_cluster()
import psutil
controller = psutil.Process(c.controller.pid)
for process in [*controller.children(recursive=True), controller]:
    process.kill()
print("job", c.engine_set.job_id)
"""
    )
    job = int(re.findall(r"^job (\d+)$", printed, re.MULTILINE)[0])  # it also says why the engines wait
    assert slurm.state(job) == "PENDING"
    sknl_is_taken()
    eventually(lambda: slurm.state(job) == "FAILED")


def test_the_engines_of_a_kernel_that_dies_end(kernel: Kernel, slurm: Slurm) -> None:
    job = last_json(kernel.run(TWO))
    with pytest.raises((SmokeFailure, TimeoutError)):
        kernel.run("import signal; os.kill(os.getpid(), signal.SIGKILL)", deadline_s=5)
    eventually(lambda: slurm.state(job) == "CANCELLED")


def test_an_engine_that_crashes_does_not_affect_the_others(kernel: Kernel, slurm: Slurm) -> None:
    kernel.run(TWO)
    kernel.run("rc[0].apply_async(lambda: __import__('os').kill(__import__('os').getpid(), 9))")
    kernel.run("import asyncio\nwhile 0 in rc.ids: await asyncio.sleep(0.1)")
    assert last_json(kernel.run("print(json.dumps(rc[1].apply_sync(lambda: 6 * 7)))")) == 42
    assert len(slurm.live(ENGINES)) == 1


def test_ipcluster_starts_lists_and_stops_them_by_the_profile(kernel: Kernel, slurm: Slurm) -> None:
    printed = kernel.run(
        """
import shutil, subprocess, os
shutil.rmtree(os.path.expanduser("~/.ipython/profile_slurm"), ignore_errors=True)
def ipcluster(*words):
    done = subprocess.run(["ipcluster", *words], capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stderr
ipcluster("start", "--profile=slurm", "--n=2", "--daemonize")
ipcluster("list")
import ipyparallel as ipp
c = ipp.Cluster.from_file(profile="slurm")
rc = await c.connect_client()
rc.wait_for_engines(2, timeout=60)
print(rc.ids)
"""
    )
    assert printed.split("\n")[-2] == "[0, 1]"
    assert "Flatirons" in printed
    assert len(slurm.live(ENGINES)) == 1
    kernel.run('rc.close(); ipcluster("stop", "--profile=slurm")')
    assert slurm.live(ENGINES) == []


def test_slurms_commands_of_the_notebook_are_those_of_its_own_cluster(kernel: Kernel) -> None:
    printed = kernel.run(
        "import subprocess; print(subprocess.check_output(['sinfo', '-h', '-o', '%R'], text=True))"
    )
    assert {"shas", "sknl"} <= set(printed.split())
    assert "blanca" not in printed


def test_stopping_the_server_ends_its_engines(visitor: Visitor, kernel: Kernel, slurm: Slurm) -> None:
    job = last_json(kernel.run(TWO))
    visitor.stop()
    eventually(lambda: slurm.state(job) == "CANCELLED")


INSIDE = """
rc = Cluster(n=1, inside=True).start_and_connect_sync()
print(json.dumps([rc[:].apply_sync(probe), probe()]))
"""
MPI = """
rc = Cluster(n=4, nodes=2, mpi=True, memory="600M").start_and_connect_sync()
def rank():
    from mpi4py import MPI
    world = MPI.COMM_WORLD
    return world.rank, world.size, world.allreduce(world.rank), MPI.Get_processor_name()
print(json.dumps(rc[:].apply_sync(rank)))
"""
SUBMIT = """
import subprocess
def run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
job = run("sbatch", "--parsable", "--account=ucb-general", "--output=/dev/null", "--wrap=sleep 60")[0]
hosts = run("srun", "--account=ucb-general", "--nodes=2", "--ntasks=2", "hostname")
print(json.dumps([job, sorted(hosts), sorted(name for name in os.environ if name.startswith("SLURM_"))]))
"""
CLUSTER = START + "from flatirons.parallel import Cluster\n"


def test_engines_inside_the_notebooks_job_share_it_and_do_not_end_it(kernel: Kernel, slurm: Slurm) -> None:
    [engine], notebook = last_json(kernel.run(CLUSTER + INSIDE))
    assert (engine["host"], engine["job"]) == (notebook["host"], notebook["job"])
    assert slurm.live(ENGINES) == []
    kernel.run("rc.cluster.stop_cluster_sync()")
    assert slurm.state(int(notebook["job"])) == "RUNNING"
    assert ENGINES not in slurm.ask("squeue", "-h", "-s", "-j", notebook["job"], "-o", "%j")


def test_engines_for_which_the_notebooks_job_has_no_room_are_refused(kernel: Kernel) -> None:
    with pytest.raises(
        SmokeFailure, match=r"The notebook's job has one core, room for 1 .* leave out inside"
    ):
        kernel.run(CLUSTER + "Cluster(n=2, inside=True).start_and_connect_sync()")


def test_mpi_engines_on_two_nodes_are_one_program(kernel: Kernel) -> None:
    ranks = last_json(kernel.run(CLUSTER + MPI))
    assert [each[:3] for each in ranks] == [[number, 4, 6] for number in range(4)]
    assert [each[3] for each in ranks] == ["shas0101"] * 2 + ["shas0102"] * 2
    kernel.run("rc.cluster.stop_cluster_sync()")


def test_sbatch_and_srun_from_a_notebook_inherit_nothing_from_its_job(kernel: Kernel, slurm: Slurm) -> None:
    job, hosts, left = last_json(kernel.run(START + SUBMIT))
    assert hosts == ["shas0101", "shas0102"]
    assert left == ["SLURM_CONF"]
    known = slurm.job(int(job))
    assert (known["NumCPUs"], known["MinMemoryCPU"]) == ("1", "1000M")  # the partition's defaults
    slurm.ask("scancel", job)


def test_a_cluster_becomes_larger_and_smaller(kernel: Kernel, slurm: Slurm) -> None:
    code = "rc = Cluster(n=3).start_and_connect_sync(); await rc.cluster.resize(4); rc.wait_for_engines(4)"
    kernel.run(CLUSTER + code)
    assert len(slurm.live(ENGINES)) == 2
    kernel.run("await rc.cluster.resize(2)\nimport asyncio\nwhile len(rc.ids) != 2: await asyncio.sleep(0.1)")
    assert len(slurm.live(ENGINES)) == 1
    kernel.run("await rc.cluster.stop_cluster()")


def test_the_how_to_works_as_written(visitor: Visitor, kernel: Kernel, slurm: Slurm) -> None:
    page = (REPO / "docs" / "how-to" / "parallel.md").read_text()
    written = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(written) == 8
    for block in written:
        kernel.run(block)
    assert slurm.live(ENGINES) == []


PROFILE = """
import os, pathlib
def write(name, config, controller=""):
    folder = pathlib.Path.home() / ".ipython" / f"profile_{{name}}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ipcluster_config.py").write_text(config)
    (folder / "ipcontroller_config.py").write_text(controller)
write({name!r}, {config!r}, {controller!r})
"""
RANKS = """
rc = ipp.Cluster(profile="shas", n=2).start_and_connect_sync()
print(rc[:].apply_sync(lambda: __import__("mpi4py.MPI").MPI.COMM_WORLD.size))
rc.cluster.stop_cluster_sync()
"""


def test_a_profile_for_ipyparallels_own_launcher_works_as_written(kernel: Kernel, slurm: Slurm) -> None:
    page = "how-to/ipyparallel-profile.md"
    [config, start], with_mpi = blocks(page), blocks(page, "sh")
    kernel.run(PROFILE.format(name="shas", config=config, controller=""))
    assert len(re.findall(r"'shas010\d'", kernel.run(start))) == 4
    [command] = [line for line in config.splitlines() if line.startswith("srun ")]
    for each in with_mpi:
        changed = config.replace(command, each.strip())
        kernel.run(PROFILE.format(name="shas", config=changed, controller=""))
        assert "[2, 2]" in kernel.run(RANKS), each
    eventually(lambda: not slurm.live("ipengine"))


def test_a_profile_with_the_names_of_older_releases_works_with_ipcluster(
    kernel: Kernel, slurm: Slurm
) -> None:
    config = blocks("how-to/ipyparallel-profile.md")[0]
    template = config[config.index("c.SlurmEngineSetLauncher") :]
    old = f'c = get_config()\nc.IPClusterEngines.engine_launcher_class = "SlurmEngineSetLauncher"\n{template}'
    controller = 'c = get_config()\nc.HubFactory.ip = "*"\n'
    kernel.run(PROFILE.format(name="older", config=old, controller=controller))
    printed = kernel.run(
        """
import subprocess, ipyparallel as ipp
def ipcluster(*words):
    done = subprocess.run(["ipcluster", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
ipcluster("start", "--profile=older", "--n=2", "--daemonize")
rc = await ipp.Cluster.from_file(profile="older").connect_client()
rc.wait_for_engines(2, timeout=60)
print(rc.ids)
rc.close(); ipcluster("stop", "--profile=older")
"""
    )
    assert "[0, 1]" in printed.split("\n")
    eventually(lambda: not slurm.live("ipengine"))


def test_the_tutorial_works_as_written(kernel: Kernel, slurm: Slurm) -> None:
    page = (REPO / "docs" / "tutorial" / "engines.md").read_text()
    printed = [kernel.run(block) for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)]
    assert "'shas0101', 'shas0101', 'shas0101', 'shas0101', 'shas0102'" in "".join(printed)
    assert "8 results, 100 % done" in "".join(printed)
    assert slurm.live(ENGINES) == []
