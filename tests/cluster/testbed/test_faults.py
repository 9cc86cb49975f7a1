"""Each fault breaks only what it names, and can be repaired."""

import time
from collections.abc import Callable

import pytest

from tests.cluster.conftest import Driver
from tests.waiting import eventually

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def site(make_driver: Callable[[str], Driver]) -> Driver:
    """Both clusters of the default suite."""
    driver = make_driver("faults")
    driver.run("up")
    return driver


def answers(site: Driver, cluster: str = "summit") -> bool:
    """Whether the controller answers within a second."""
    conf = f"SLURM_CONF=/etc/slurm/{cluster}/slurm.conf"
    return site.exec("hub", "env", conf, "timeout", "1", "squeue", check=False).returncode == 0


def wait_until_saved(site: Driver, job: str) -> None:
    """Returns once summit's controller has written the current state of a job to its disk."""
    mark = f"saved-{time.monotonic_ns()}"
    site.exec("hub", "scontrol", "update", f"job={job}", f"comment={mark}")
    grep = ["grep", "-q", mark, "/var/lib/slurm/summit/job_state"]
    eventually(lambda: site.exec("ctl", *grep, check=False).returncode == 0, what=f"job {job} is saved")


def test_a_killed_controller_does_not_affect_the_other_cluster_and_starts_again(site: Driver) -> None:
    site.run("fault", "kill", "slurmctld")
    assert site.status()["ctl"]["daemons"]["slurmctld@summit"] == "down"
    assert not answers(site)
    assert answers(site, "blanca")
    assert site.run("status", check=False).returncode == 1
    site.run("fault", "start", "slurmctld")
    eventually(lambda: answers(site), what="summit answers again")


def test_a_job_survives_the_death_of_the_controller(site: Driver) -> None:
    wait = ["sbatch", "--parsable", "--wrap=until test -f go; do sleep 0.1; done"]
    job = site.exec("hub", *wait, user="alice").stdout.strip()
    state = ["timeout", "2", "squeue", "-h", "-o", "%T", "-j", job]
    eventually(lambda: site.exec("hub", *state).stdout == "RUNNING\n", what="the job runs")
    wait_until_saved(site, job)
    site.run("fault", "kill", "slurmctld@summit")
    site.run("fault", "start", "slurmctld@summit")
    eventually(
        lambda: site.exec("hub", *state, check=False).stdout == "RUNNING\n", what="the job is known again"
    )
    site.exec("hub", "touch", "go", user="alice")
    eventually(
        lambda: site.exec("hub", *state, check=False).stdout in ("", "COMPLETED\n"), what="the job ends"
    )


def test_a_stopped_daemon_is_silent_until_it_continues(site: Driver) -> None:
    site.run("fault", "stop", "slurmctld@blanca")
    assert not answers(site, "blanca")
    site.run("fault", "cont", "slurmctld@blanca")
    eventually(lambda: answers(site, "blanca"), what="blanca answers again")


def test_without_munge_on_one_node_only_that_node_is_shut_out(site: Driver) -> None:
    site.run("fault", "kill", "munged@hub")
    assert not answers(site)
    assert site.exec("shas0101", "timeout", "5", "squeue", check=False).returncode == 0
    site.run("fault", "start", "munged@hub")
    eventually(lambda: answers(site), what="the hub is let in again")


def test_jobs_are_accepted_while_accounting_is_down(site: Driver) -> None:
    for daemon in ("slurmdbd", "mariadbd"):
        site.run("fault", "kill", daemon)
    assert site.exec("hub", "srun", "hostname", user="bob").stdout.startswith("shas")
    for daemon in ("mariadbd", "slurmdbd"):
        site.run("fault", "start", daemon)
    listed = ["timeout", "5", "sacctmgr", "-nP", "list", "user"]
    eventually(
        lambda: "bob" in site.exec("hub", *listed, check=False).stdout, what="accounting answers again"
    )


def test_a_cut_node_cannot_be_reached_until_it_is_mended(site: Driver) -> None:
    ping = ["ping", "-c1", "-W1", "shas0102"]
    assert site.exec("hub", *ping).returncode == 0
    site.run("fault", "cut", "shas0102")
    assert site.exec("hub", *ping, check=False).returncode
    assert site.exec("shas0102", "hostname").stdout == "shas0102\n"
    site.run("fault", "mend", "shas0102")
    eventually(lambda: site.exec("hub", *ping, check=False).returncode == 0, what="the node is reached again")


def test_two_nodes_that_are_cut_apart_still_reach_all_others(site: Driver) -> None:
    def reaches(one: str, other: str) -> bool:
        return site.exec(one, "ping", "-c1", "-W1", other, check=False).returncode == 0

    assert reaches("hub", "shas0102")
    site.run("fault", "cut", "hub:shas0102")
    assert not reaches("hub", "shas0102") and not reaches("shas0102", "hub")
    assert reaches("hub", "shas0101") and reaches("shas0102", "ctl")
    site.run("fault", "mend", "hub:shas0102")
    assert reaches("hub", "shas0102") and reaches("shas0102", "hub")


@pytest.mark.parametrize(
    ("how", "code", "is_right"),
    [
        ("garble", 0, lambda out: "502" in out and "normal" not in out),
        ("halve", 0, lambda out: "PARTITION".startswith(out[:9]) and "shas" not in out),
        ("fail", 1, lambda out: out == ""),
    ],
)
def test_a_faulty_command_answers_wrongly_on_one_node_until_it_is_mended(
    site: Driver, how: str, code: int, is_right: Callable[[str], bool]
) -> None:
    def asked(node: str) -> tuple[int, str]:
        ask = "sinfo -p shas -o %P%a > /tmp/asked; echo $?; tr -cd '[:print:]' < /tmp/asked"
        code, _, out = site.exec(node, "sh", "-c", ask).stdout.partition("\n")
        return int(code), out

    whole = asked("hub")
    site.run("fault", how, "sinfo@hub")
    assert "already" in site.run("fault", how, "sinfo@hub", check=False).stderr
    returned, out = asked("hub")
    assert returned == code and is_right(out), out
    assert asked("shas0101") == whole
    site.run("fault", "mend", "sinfo@hub")
    assert asked("hub") == whole


def test_a_slow_command_answers_after_a_while(site: Driver) -> None:
    site.run("fault", "slow", "sinfo@hub")
    assert site.exec("hub", "timeout", "1", "sinfo", check=False).returncode == 124
    site.run("fault", "mend", "sinfo@hub")
    assert site.exec("hub", "sinfo").stdout


def test_a_small_disk_is_filled_and_a_large_one_is_not(site: Driver) -> None:
    write = ["sh", "-c", "head -c 9000 /dev/zero > /mnt/more"]
    site.exec("hub", "mount", "-t", "tmpfs", "-o", "size=1m", "small", "/mnt")
    site.run("fault", "fill", "/mnt@hub")
    assert "No space left" in site.exec("hub", *write, check=False).stderr
    site.run("fault", "mend", "/mnt@hub")
    site.exec("hub", *write)
    assert "only a small disk" in site.run("fault", "fill", "/var/lib@hub", check=False).stderr


def test_a_killed_node_is_off_and_starts_again_with_what_it_had_written(site: Driver) -> None:
    site.exec("sknl0701", "sh", "-c", "echo kept > /var/tmp/note")
    site.run("fault", "kill", "sknl0701")
    assert not site.status()["sknl0701"]["running"]
    assert "is off" in site.exec("sknl0701", "true", check=False).stderr
    site.run("fault", "start", "sknl0701")
    assert site.exec("sknl0701", "cat", "/var/tmp/note").stdout == "kept\n"
    words = ["timeout", "20", "srun", "-p", "sknl", "-A", "ucb-knl", "hostname"]
    eventually(
        lambda: site.exec("hub", *words, user="alice", check=False).stdout == "sknl0701\n",
        what="it runs jobs again",
    )


def test_the_controller_node_starts_again_with_its_jobs_and_accounts(site: Driver) -> None:
    job = site.exec("hub", "sbatch", "--parsable", "--hold", "--wrap=true", user="carol").stdout.strip()
    wait_until_saved(site, job)
    site.run("fault", "kill", "ctl")
    site.run("fault", "start", "ctl")
    eventually(lambda: answers(site), what="summit answers again")
    listed = site.exec("hub", "squeue", "-h", "-o", "%i %u %a")
    assert f"{job} carol csdms\n" in listed.stdout
    site.exec("hub", "scancel", job, user="carol")


@pytest.mark.parametrize(
    ("what", "target", "why"),
    [
        ("kill", "nosuch", "names no daemons"),
        ("kill", "slurmd", "names several daemons"),
        ("cut", "slurmdbd", "cut applies to a node"),
        ("start", "hub", "already running"),
        ("cut", "hub:nosuch", "not of the form NODE:NODE"),
        ("kill", "hub:ctl", "only cut and mend do"),
        ("slow", "squeue", "not of the form COMMAND@NODE"),
        ("fill", "var/lib@hub", "not of the form COMMAND@NODE"),
        ("fail", "squeue@nosuch", "no running node nosuch"),
    ],
)
def test_an_impossible_fault_is_refused(site: Driver, what: str, target: str, why: str) -> None:
    done = site.run("fault", what, target, check=False)
    assert done.returncode == 1
    assert why in done.stderr
    assert done.stderr.count("\n") == 1
