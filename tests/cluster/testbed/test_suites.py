"""Other releases of Slurm boot and run a job; an instance leaves nothing behind at its end."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.processes import Process, wait_until
from cluster.tree import cache
from tests.cluster.conftest import SCRIPT, Driver
from tests.full import when_changed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@when_changed("cluster", ":(exclude)cluster/demo")
@pytest.mark.parametrize(("suite", "release"), [("bookworm", "22.05"), ("unstable", "26.05")])
def test_a_job_runs_in_every_suite(suite: str, release: str, make_driver: Callable[[str], Driver]) -> None:
    site = make_driver(suite)
    # The first build of a tree may take longer than the time limit of a driver's command.
    subprocess.run([str(SCRIPT), "tree", "--suite", suite], check=True, stdout=subprocess.DEVNULL)
    site.run("up", "--suite", suite, "--nodes", "1")
    assert site.exec("hub", "sinfo", "-V").stdout.startswith(f"slurm-wlm {release}")
    job = site.exec("hub", "sbatch", "--parsable", "--wait", "--wrap=hostname; id -un", user="alice")
    output = site.exec("hub", "cat", f"slurm-{job.stdout.strip()}.out", user="alice").stdout
    assert output.split() == ["shas0101", "alice"]
    assert site.exec("hub", "sbatch", "--wrap=true", user="dave", check=False).returncode == 1
    gpu = ["srun", "--gres=gpu:v100:1", "printenv", "CUDA_VISIBLE_DEVICES"]
    assert site.exec("hub", *gpu, user="alice").stdout == "0\n"
    assert site.blanca("srun", "hostname", user="carol").stdout == "bnode0101\n"
    site.run("down")


def namespaces(pid: int | str) -> set[str]:
    """The namespaces of a process, as the kernel names them."""
    found = set()
    for kind in ("mnt", "pid", "net"):
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
        except OSError:
            continue
    return found


def network_names() -> set[str]:
    """Every link and named namespace of the host's own network."""
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    named = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    return {line.split(":")[1] for line in links.splitlines()} | set(named.split())


def test_down_leaves_no_process_mount_link_namespace_or_directory(
    make_driver: Callable[[str], Driver],
) -> None:
    site = make_driver("traces")
    before = network_names()
    site.run("up", "--nodes", "2", "--publish", "127.0.0.1:0=hub:8000")
    assert network_names() == before
    run = Path("/run/flatirons") / site.name
    inner = [file.read_text().split()[0] for file in run.glob("nodes/*/inner")]
    theirs = set().union(*(namespaces(pid) for pid in inner)) - namespaces("self")
    assert len(inner) == 5
    site.exec("hub", "sbatch", "--wrap=sleep 1000", user="alice")

    # The kernel reuses the numbers of namespaces, so the test compares processes.
    pids = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and namespaces(pid) & theirs]
    processes = [process for process in map(Process.of, pids) if process]
    assert len(processes) > 20

    site.run("down")
    assert not [process for process in processes if process.is_alive()]
    assert site.name not in Path("/proc/self/mountinfo").read_text()
    assert network_names() == before
    assert not run.exists()
    assert not list(cache().glob(f"instances/{site.name}*"))
    site.run("down")


def test_directories_of_others_in_our_place_stay(make_driver: Callable[[str], Driver]) -> None:
    site = make_driver("foreign")
    run = Path("/run/flatirons") / site.name
    run.mkdir(parents=True)
    try:
        for verb in ("up", "down"):
            done = site.run(verb, check=False)
            assert done.returncode == 1
            assert "not made by this program" in done.stderr
        assert run.is_dir()
    finally:
        run.rmdir()


def test_an_up_that_fails_cleans_up_and_says_where_its_logs_are(make_driver: Callable[[str], Driver]) -> None:
    site = make_driver("fails")
    # /run leads out of the node's root through a link that Debian has there.
    done = site.run("up", "--nodes", "1", "--bind", "/etc/hostname:/var/run/flatirons-test", check=False)
    assert done.returncode == 1
    assert "a link leads out of the node" in done.stderr
    assert not (Path("/run/flatirons") / site.name).exists()
    assert not Path("/run/flatirons-test").exists()


def test_an_up_that_gets_sigterm_cleans_up(make_driver: Callable[[str], Driver]) -> None:
    site = make_driver("ended")
    run = Path("/run/flatirons") / site.name
    with subprocess.Popen([str(SCRIPT), "--name", site.name, "up"]) as process:
        wait_until(run.exists, "the state directory", 60, 0.001)
        process.terminate()
    assert process.returncode == 143
    assert not run.exists()


def test_given_homes_outlive_the_instance(make_driver: Callable[[str], Driver], tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    site = make_driver("homes")
    for _ in range(2):
        site.run("up", "--nodes", "1", "--homes", str(tmp_path / "homes"))
        site.exec("hub", "sh", "-c", "echo again >> note", user="alice")
        site.run("down")
    assert (tmp_path / "homes/alice/note").read_text() == "again\nagain\n"
