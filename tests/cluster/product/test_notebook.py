"""`flatirons notebook` on the log-in node of the virtual cluster, and ssh to it from another node."""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from cluster.demo import visitor
from tests.conftest import RealCluster
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

LOGIN, LAPTOP = "hub", "bnode0101"  # not a node of the job's cluster
RECORDS = ".local/state/flatirons"
# ssh asks it whether to trust an unknown host, then for the password
ASK = '#!/bin/sh\ncase "$1" in *yes/no*) echo yes;; *) echo alice;; esac\n'
RUN_CELL = """
import sys
print(Kernel(sys.argv[1], sys.argv[2]).run(
    "import os, socket; print(sum(range(10)), socket.gethostname(), os.environ['FLATIRONS_IMAGE'])"))
"""


RUNNING: list[Command] = []


class Command:
    """`flatirons notebook` in alice's shell on the log-in node, with what it has printed so far."""

    def __init__(self, cluster: RealCluster, *words: str, before: str = "") -> None:
        line = shlex.join(["flatirons", "notebook", *words])
        self.cluster = cluster
        self.process = subprocess.Popen(
            [*cluster.demo.enter(LOGIN, "alice"), "sh", "-c", f"echo $$; {before} exec {line}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout
        self.pid = self.process.stdout.readline().strip()
        self.text = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        RUNNING.append(self)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.text += line

    def until(self, words: str) -> str:
        """The match of the pattern, once it is printed."""
        last = time.monotonic() + 60
        while not (found := re.search(words, self.text)):
            assert time.monotonic() < last and self._reader.is_alive(), f"no {words!r} in {self.text}"
            self._reader.join(0.05)
        return found[0]

    def send(self, signal: str) -> None:
        """Sends a signal, as the terminal does for Ctrl-C (INT) or when it is closed (HUP)."""
        assert self.cluster.exec(LOGIN, ["kill", f"-{signal}", self.pid]).returncode == 0

    def wait(self) -> int:
        """Its exit code; all that it printed is in `text` then."""
        code = self.process.wait(60)
        self.close()
        return code

    def close(self) -> None:
        """Ends it if it still runs, and reads the rest."""
        self.process.terminate()
        self._reader.join()
        if self.process.stdout:
            self.process.stdout.close()
        self.process.wait(60)
        RUNNING.remove(self)

    @property
    def job(self) -> str:
        """The number of its job."""
        return self.until(r"Submitted as job \d+").rpartition(" ")[2]


def run(cluster: RealCluster, *words: str, before: str = "") -> tuple[int, str]:
    """Runs a command to its end."""
    command = Command(cluster, *words, before=before)
    return command.wait(), command.text


def ask(cluster: RealCluster, *argv: str, user: str | None = None) -> str:
    done = cluster.exec(LOGIN, argv, user)
    assert done.returncode == 0, done
    return done.stdout.strip()


def jobs(cluster: RealCluster) -> list[str]:
    return ask(cluster, "squeue", "-h", "-u", "alice", "-n", "jupyter", "-o", "%i").split()


def records(cluster: RealCluster) -> list[str]:
    return ask(cluster, "sh", "-c", f"ls {RECORDS} | grep ^notebook- || true", user="alice").split()


@pytest.fixture(autouse=True)
def nothing_is_left(cluster: RealCluster) -> Iterator[None]:
    """Removes all jobs and records of alice before a test, and requires that the test leaves none."""
    yield
    for command in RUNNING[:]:  # of a test that failed
        command.close()
    left = jobs(cluster)
    ask(cluster, "scancel", "-u", "alice")
    eventually(lambda: not jobs(cluster), 60)
    forgotten = records(cluster)
    ask(cluster, "sh", "-c", f"rm -f {RECORDS}/notebook-*", user="alice")
    assert (left, forgotten) == ([], [])


@pytest.fixture
def sknl_is_taken(cluster: RealCluster) -> Iterator[Sequence[str]]:
    """Keeps the only node of sknl in use; returns the options with which a job waits for it."""
    words = ("-p", "sknl", "-A", "ucb-knl", "--exclusive", "-J", "blocker", "--wrap", "sleep 600")
    job = ask(cluster, "sbatch", "--parsable", "-o", "/dev/null", *words, user="alice")
    eventually(lambda: ask(cluster, "squeue", "-h", "-j", job, "-o", "%T") == "RUNNING")
    yield "--partition", "sknl", "--account", "ucb-knl"
    ask(cluster, "scancel", job)


@pytest.fixture
def laptop(cluster: RealCluster) -> str:
    """A program that answers ssh's questions, on the user's own machine."""
    path = "/tmp/ask"
    cluster.exec(LAPTOP, ["sh", "-c", f"cat > {path}; chmod 755 {path}"], stdin=ASK)
    return path


def through_ssh(cluster: RealCluster, laptop: str, line: str) -> subprocess.Popen[bytes]:
    """Runs the printed line, as alice would on her own machine."""
    env = ["env", f"SSH_ASKPASS={laptop}", "SSH_ASKPASS_REQUIRE=force"]
    return subprocess.Popen(
        [*cluster.demo.enter(LAPTOP, "alice"), *env, "sh", "-c", f"exec {line}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_the_printed_ssh_line_leads_to_a_kernel_and_ctrl_c_ends_the_job(
    cluster: RealCluster, laptop: str
) -> None:
    words = ("--environment", "python", "--partition", "shas", "--time", "2:00:00")
    command = Command(cluster, *words)
    url = command.until(r"http://localhost:\d+/lab\?token=\S+")
    line = command.until(r"ssh -L (\d+):shas010\d:\1 alice@hub")
    for sentence in (
        r"Waiting in the queue of shas|Running on",
        r"up on shas010\d: \d+ seconds? in the queue, ",
    ):
        assert re.search(sentence, command.text), command.text
    tunnel = through_ssh(cluster, laptop, line)
    fetch = ["curl", "-sSL", "--cookie-jar", "/dev/null", "--retry-connrefused", "--retry", "20"]
    page = cluster.exec(LAPTOP, [*fetch, "--retry-delay", "1", url], "alice")
    assert "jupyter-config-data" in page.stdout, page
    server, _, token = url.partition("/lab?token=")
    strangers = cluster.exec(LAPTOP, ["curl", "-sS", f"{server}/api/kernels"], "alice")
    assert "Forbidden" in strangers.stdout
    cell = Path(visitor.__file__).read_text() + RUN_CELL
    python = ["apptainer", "exec", "/srv/images/base.sif", "python", "-"]
    printed = cluster.exec(LAPTOP, [*python, server, token], "alice", stdin=cell)
    assert re.fullmatch(r"45 shas010\d /srv/images/base.sif\s*", printed.stdout), printed
    command.send("INT")
    assert command.wait() == 0
    assert command.text.endswith(f"Job {command.job} is gone.\n")
    assert jobs(cluster) == []
    tunnel.terminate()
    tunnel.communicate()


def test_two_notebooks_are_listed_and_stopped_and_no_token_is_visible_to_others(cluster: RealCluster) -> None:
    first, second = Command(cluster, "--detach"), Command(cluster, "--detach", "--mem", "1G")
    assert (first.wait(), second.wait()) == (0, 0)

    def listed() -> str:
        return run(cluster, "--list", "--local-port", "8899")[1]

    eventually(lambda: listed().count("http://localhost:8899/lab?token=") == 2, 60)
    tokens = re.findall(r"token=(\S+)", listed())
    assert len(set(tokens)) == 2
    assert set(re.findall(r"Job (\d+) on summit \(python\): up on shas", listed())) == {first.job, second.job}
    seen = cluster.exec("shas0101", ["ps", "-eo", "args"]).stdout + listed_log(cluster)
    for job in (first.job, second.job):
        seen += ask(cluster, "scontrol", "show", "job", job)
        seen += ask(cluster, "scontrol", "write", "batch_script", job, "-")
    assert "flatirons-notebook:" in seen and "jupyter-lab" in seen
    assert not any(token in seen for token in tokens)
    code, text = run(cluster, "--stop")
    assert (code, "You have several notebooks. Say which: --stop " in text) == (2, True)
    assert run(cluster, "--stop", first.job) == (0, f"Job {first.job} is gone.\n")
    assert run(cluster, "--stop") == (0, f"Job {second.job} is gone.\n")
    assert run(cluster, "--list") == (0, "None of your notebooks runs or waits.\n")


def listed_log(cluster: RealCluster) -> str:
    return ask(cluster, "sh", "-c", f"cat {RECORDS}/server-*.log", user="alice")


def test_the_end_of_a_detached_notebook_is_listed_once(cluster: RealCluster) -> None:
    command = Command(cluster, "--detach", "--environment", "gone")
    assert command.wait() == 0
    eventually(lambda: not jobs(cluster))
    over = (
        f"Job {command.job} on summit (gone) has ended. The image /srv/images/gone.sif doesn't exist on shas"
    )
    assert run(cluster, "--list")[1].startswith(over)
    assert run(cluster, "--list") == (0, "None of your notebooks runs or waits.\n")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--environment", "gone"], 1, "The image /srv/images/gone.sif doesn't exist on shas"),
        (["--environment", "nosuch"], 2, '--environment: "nosuch" isn\'t offered here. Choose from python'),
        (["--time", "30-0"], 2, "--time: Must be between 0:01:00 and 1-00:00:00."),
        (["--constraint", "avx512"], 2, "Slurm refused the job: Invalid feature specification."),
        (["--option", "nosuch=1"], 2, '--option nosuch: There is no option "nosuch".'),
        (["--site", "/etc/no.toml"], 2, "/etc/no.toml: can't be read: No such file or directory"),
        (["--environment", "broken"], 1, "exit code 3 before it listened"),
    ],
)
def test_impossible_options_give_a_sentence_and_an_exit_code(
    cluster: RealCluster, words: list[str], code: int, sentence: str
) -> None:
    told = run(cluster, *words)
    assert told[0] == code
    assert sentence in told[1]


def test_a_slurm_that_does_not_answer_gives_a_sentence_and_leaves_no_record(cluster: RealCluster) -> None:
    conf = "/etc/slurm/summit/slurm.conf"
    before = (
        f"sed s/^SlurmctldPort=.*/SlurmctldPort=9/ {conf} > silent.conf;"
        f"sed s,{conf},/home/alice/silent.conf, /etc/flatirons/site.toml > silent.toml;"
    )
    code, text = run(cluster, "--site", "silent.toml", before=before)
    assert code == 3
    assert "Slurm does not answer at the moment." in text


def test_a_job_that_waits_says_why_and_ends_with_ctrl_c(
    cluster: RealCluster, sknl_is_taken: Sequence[str]
) -> None:
    command = Command(cluster, *sknl_is_taken)
    command.until("Waiting in the queue of sknl: .*(Resources|free|first|nodes|turn)")
    listed = run(cluster, "--list")[1]
    assert f"Job {command.job} on summit (python): Waiting in the queue of sknl:" in listed
    command.send("INT")
    assert command.wait() == 130
    assert command.job not in jobs(cluster)


def test_a_job_that_others_cancel_while_it_waits_gives_a_sentence(
    cluster: RealCluster, sknl_is_taken: Sequence[str]
) -> None:
    command = Command(cluster, *sknl_is_taken)
    command.until("Waiting in the queue of sknl")
    ask(cluster, "scancel", command.job)
    assert command.wait() == 1
    assert "cancelled" in command.text.splitlines()[-1]


def test_ctrl_c_before_the_job_is_known_leaves_no_job(cluster: RealCluster) -> None:
    slow = '#!/bin/sh\n/usr/bin/sbatch "$@"; touch submitted; until [ -e interrupted ]; do sleep 0.1; done\n'
    before = (
        f"mkdir -p slow; printf %s {shlex.quote(slow)} > slow/sbatch;"
        "chmod +x slow/sbatch; export PATH=$HOME/slow:$PATH;"
    )
    ask(cluster, "rm", "-f", "submitted", "interrupted", user="alice")
    command = Command(cluster, before=before)
    eventually(lambda: cluster.exec(LOGIN, ["test", "-e", "submitted"], "alice").returncode == 0)
    command.send("INT")
    ask(cluster, "touch", "interrupted", user="alice")
    assert command.wait() == 130
    assert jobs(cluster) == []


def test_a_terminal_that_is_closed_ends_the_job(cluster: RealCluster) -> None:
    command = Command(cluster)
    command.until("token=")
    command.send("HUP")
    command.wait()
    assert jobs(cluster) == []


def test_a_connection_that_is_lost_ends_the_job(cluster: RealCluster, laptop: str) -> None:
    connection = through_ssh(cluster, laptop, "ssh alice@hub flatirons notebook")
    eventually(lambda: jobs(cluster))
    connection.kill()
    connection.communicate()
    eventually(lambda: not (jobs(cluster) or records(cluster)))


def test_a_node_that_fails_gives_a_sentence(cluster: RealCluster) -> None:
    command = Command(cluster)
    host = command.until(r"up on shas\d+").rpartition(" ")[2]
    ask(cluster, "scontrol", "update", f"nodename={host}", "state=down", "reason=test")
    try:
        assert command.wait() == 1
        assert f"flatirons: Its node {host} failed. Start again" in command.text, command.text
    finally:
        eventually(lambda: is_in_service(cluster, host))


def is_in_service(cluster: RealCluster, host: str) -> bool:
    """Whether a node accepts jobs again; it may return by itself, before it is resumed."""
    state = ask(cluster, "sinfo", "-h", "-n", host, "-p", "shas", "-o", "%T")
    if state.startswith("down"):
        cluster.exec(LOGIN, ["scontrol", "update", f"nodename={host}", "state=resume"])
    return state in ("idle", "mixed", "reserved")


def test_a_server_whose_configuration_turns_its_token_off_is_stopped(cluster: RealCluster) -> None:
    before = "mkdir -p .jupyter; echo 'c.IdentityProvider.token = \"\"' > .jupyter/jupyter_server_config.py;"
    try:
        code, text = run(cluster, before=before)
    finally:
        ask(cluster, "rm", "-r", ".jupyter", user="alice")
    assert code == 1
    assert "flatirons: The server didn't require its token" in text
