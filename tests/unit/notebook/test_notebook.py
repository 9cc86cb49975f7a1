"""A notebook without the hub: command line, record, starter, and a job followed on a Slurm in memory."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pwd
import select
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flatirons.errors import FlatironsError, OptionsRefused, SlurmUnreachable
from flatirons.job.node import kinds
from flatirons.job.node.calls import NOT_WANTED
from flatirons.job.script import StarterConfig, notebook
from flatirons.notebook import address, command, listing, run
from flatirons.notebook.arguments import add_arguments, as_typed, options
from flatirons.notebook.command import Session
from flatirons.notebook.plan import clients, plan, server_command
from flatirons.notebook.record import FOLDER, Record, records
from flatirons.site.load import parse
from flatirons.site.schema import Site
from flatirons.slurm import argv
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.polling import PollSchedule
from tests.fakes.slurm import FakeSite, FakeSlurm
from tests.job_scripts import starter_config
from tests.repository import REPO
from tests.waiting import LIMIT_S, until

ME = pwd.getpwuid(os.getuid()).pw_name
SOURCE = REPO / "src"
QUICK = PollSchedule(starting=0.01, waiting=0.01, quiet=0.02, longest=0.05, gap=0.0, burst=1000, doubt=0.05)
DOWN = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n"
SITE = """
[hub]
address = "http://hub.example.org:8081"
[clusters.summit]
[servers]
ports = "30000-31000"
prologue = "module load one"
[environments.python]
image = "/srv/images/base.sif"
prologue = "module load two"
[form.runtime]
default = "1:00:00"
[form.own.threads]
type = "integer"
env = "OMP_NUM_THREADS"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(run, "PACE", QUICK)
    monkeypatch.setattr(run, "READ_SECONDS", 0.01)
    monkeypatch.setattr(run, "READ_SECONDS_UP", 0.01)
    return tmp_path


@pytest.fixture
def slurm() -> FakeSlurm:
    """It accepts our jobs, and doesn't say what it offers, so that all options are accepted."""
    fake = FakeSlurm()
    fake.accounts[ME] = ("ucb-general",)
    fake.uids[ME] = os.getuid()
    for name in ("scontrol", "sacctmgr"):
        fake.fail(name, DOWN, times=99)
    return fake


@pytest.fixture
def site() -> Site:
    return parse(SITE)


@pytest.fixture
def known(site: Site, slurm: FakeSlurm) -> dict[str, SlurmClient]:
    return clients(site, FakeSite({"": slurm}, me=ME))


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_arguments(parser)
    return parser.parse_args(words)


def starter_says(record: Record, call: str, **body: Any) -> None:
    with record.path.open("a") as file:
        file.write(json.dumps({"call": call, **body}) + "\n")


# -- options


def test_options_have_the_names_that_sbatch_gives_them() -> None:
    words = "-p shas -A me -q normal --reservation r -t 2:00:00 -N 2 -n 4 -c 1 --mem 4G --gres gpu:v100:2"
    given = options(arguments(*words.split(), "--option", "threads=4"))
    assert given == {
        **{"partition": "shas", "account": "me", "qos": "normal", "reservation": "r", "runtime": "2:00:00"},
        **{"nodes": "2", "ntasks": "4", "cpus": "1", "memory": "4G", "gpus": "v100:2", "threads": "4"},
    }
    assert as_typed({"runtime": "no", "threads": "no"}) == {"--time": "no", "--option threads": "no"}


def test_gpus_of_the_whole_job_are_taken_on_one_node_only() -> None:
    assert options(arguments("--gpus", "2")) == {"gpus": "2"}
    with pytest.raises(OptionsRefused, match="--gpus-per-node"):
        options(arguments("--gpus", "2", "--nodes", "2"))


@pytest.mark.parametrize(
    ("cmd", "expected"),
    [
        ((), ["jupyter-lab"]),
        (("/opt/venv/bin/jupyterhub-singleuser", "--debug"), ["/opt/venv/bin/jupyter-lab", "--debug"]),
        (("env", "A=1", "jupyter-labhub"), ["env", "A=1", "jupyter-lab"]),
        (("our-own-server",), ["our-own-server"]),
    ],
)
def test_jupyterlab_replaces_the_hubs_server(cmd: tuple[str, ...], expected: list[str]) -> None:
    assert server_command(cmd) == expected


async def test_the_job_is_the_hubs_except_for_the_record(site: Site, known: dict[str, SlurmClient]) -> None:
    made = await plan(site, {"partition": "shas", "memory": "4G", "threads": "4"}, known)
    assert (made.spec.partition, made.spec.memory_mib, made.spec.runtime_minutes) == ("shas", 4096, 60)
    assert made.spec.comment == f"flatirons-notebook:{made.record.id}:python"
    config = starter_config(made.script)
    assert config["command"] == ["apptainer", "exec", "/srv/images/base.sif", "jupyter-lab"]
    assert config["prologue"] == "module load one\nmodule load two"
    assert config["ports"] == [30000, 31000]
    assert config["record"] == f"~/.local/state/flatirons/notebook-{made.record.id}.jsonl"
    assert config["environment"]["OMP_NUM_THREADS"] == "4"
    assert config["environment"]["FLATIRONS_IMAGE"] == "/srv/images/base.sif"
    assert made.record.token not in made.script + repr(made.spec) + repr(made.record)


async def test_node_features_and_memory_for_each_core_reach_sbatch_where_the_site_shows_them(
    known: dict[str, SlurmClient],
) -> None:
    given = options(arguments("--constraint", "haswell&ib", "--mem-per-cpu", "1G"))
    shown = "[form.constraint]\nvisible = true\n[form.mem_per_cpu]\nvisible = true\n"
    made = await plan(parse(SITE + shown), given, known)
    assert {"--constraint=haswell&ib", "--mem-per-cpu=1024M"} <= set(argv.sbatch(made.spec))
    with pytest.raises(OptionsRefused) as refused:
        await plan(parse(SITE), given, known)
    assert as_typed(refused.value.messages).keys() == {"--constraint", "--mem-per-cpu"}


async def test_an_unknown_cluster_gives_a_sentence(site: Site, known: dict[str, SlurmClient]) -> None:
    with pytest.raises(OptionsRefused, match="There is no cluster 'blanca'"):
        await plan(site, {"cluster": "blanca"}, known)


# -- the record


def test_a_record_is_private_and_found_again() -> None:
    record = Record.new("summit", "python", "/lab")
    record.write()
    assert stat.S_IMODE(record.path.stat().st_mode) == 0o600
    starter_says(record, "boot", job_id=7)
    with record.path.open("a") as file:
        file.write('{"ca{"call": "end"}\n{"call": "re')  # cut by a full home; half of what a node writes
    assert record.calls() == [{"call": "boot", "job_id": 7}]
    assert list(records()) == [record]
    record.forget()
    record.forget()
    assert (record.calls(), list(records())) == ([], [])


def test_a_file_that_is_not_a_record_gives_a_sentence(home: Path) -> None:
    (home / FOLDER).mkdir(parents=True)
    (home / FOLDER / "notebook-1.jsonl").write_text("{}\n")
    with pytest.raises(FlatironsError, match="Remove it"):
        list(records())


def test_a_home_in_which_no_record_can_be_written_gives_a_sentence(home: Path) -> None:
    (home / ".local").write_text("a file where a folder should be")
    with pytest.raises(FlatironsError, match="Make room in your home"):
        Record.new("summit", "python", "/lab").write()


# -- the starter


SERVER = """
import os, socket, sys
listener = socket.socket()
host, port = (word.partition("=")[2] for word in sys.argv[1:])
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((host, int(port)))
listener.listen()
print(sorted(name for name in os.environ if name.startswith("JUPYTER")))
print(os.environ["JUPYTER_TOKEN"] == "{token}")
while True:
    listener.accept()
"""


def start_job(home: Path, record: Record) -> subprocess.Popen[bytes]:
    server = [sys.executable, "-uc", SERVER.format(token=record.token)]
    listen = ["--ip={address}", "--port={port}"]
    config = StarterConfig(hub="", code="", command=server, record=record.starters_path, listen=listen)
    env = {"HOME": str(home), "SLURM_JOB_ID": "17", "PATH": os.environ["PATH"]}
    job = subprocess.Popen(["bash"], stdin=subprocess.PIPE, env=env, cwd="/")
    assert job.stdin
    job.stdin.write(notebook(config, sys.executable).encode())
    job.stdin.close()
    return job


async def test_a_starter_uses_the_record_instead_of_the_hub_and_only_once(home: Path) -> None:
    record = Record.new("summit", "python", "/lab")
    record.write()
    job = start_job(home, record)
    await until(lambda: len(record.calls()) > 1 or job.poll() is not None)
    boot, ready = record.calls()
    assert (boot["call"], boot["job_id"], ready["call"]) == ("boot", 17, "ready")
    assert 1024 <= ready["port"] <= 65535
    job.terminate()
    job.wait(20)
    end = record.calls()[-1]
    assert (end["call"], end["kind"]) == ("end", kinds.STOPPED)
    assert end["log"] == ["['JUPYTER_CONFIG_PATH', 'JUPYTER_RUNTIME_DIR', 'JUPYTER_TOKEN']", "True"]
    assert start_job(home, record).wait(20) == NOT_WANTED, "put back into the queue, it would run for nobody"
    assert record.calls()[-1] == end


def test_a_job_whose_record_is_gone_starts_no_server(home: Path) -> None:
    record = Record.new("summit", "python", "/lab")
    assert start_job(home, record).wait(20) == NOT_WANTED
    assert not record.path.exists()
    log = (home / FOLDER / "server-slurm-17.log").read_text()
    assert "the server isn't wanted any more" in log


# -- a job followed


class Output:
    """A session with what it has printed."""

    def __init__(self, site: Site, made: Any) -> None:
        self.session = Session(made, site, "login.example.org", None, 0.0)
        self.lines: list[str] = []
        self.session._print = lambda *lines: self.lines.extend(lines)  # type: ignore[method-assign]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def sentences(self) -> list[str]:
        return [line.partition(" s  ")[2] for line in self.lines if " s  " in line]


@pytest.fixture
async def output(site: Site, known: dict[str, SlurmClient], monkeypatch: pytest.MonkeyPatch) -> Output:
    monkeypatch.setattr(address, "problem", lambda server: None)
    return Output(site, await plan(site, {"partition": "shas"}, known))


async def test_the_output_covers_a_start_from_queue_to_address(output: Output, slurm: FakeSlurm) -> None:
    running = asyncio.create_task(output.session.run(detach=False))
    await until(lambda: "Waiting" in output.text)
    record, job = output.session.plan.record, output.session.job_id
    slurm.change(job, state="CONFIGURING", nodes="shas0101")
    await until(lambda: "Node shas0101 is booting." in output.text)
    slurm.run_job(job)
    await until(lambda: "Running on shas0101." in output.text)
    starter_says(record, "boot", job_id=job)
    await until(lambda: "The container is starting." in output.text)
    starter_says(record, "ready", port=30007)
    await until(lambda: "token=" in output.text)
    assert f"    ssh -L 30007:shas0101:30007 {ME}@login.example.org" in output.lines
    assert f"    http://localhost:30007/lab?token={record.token}" in output.lines
    starter_says(record, "end", exit_code=0, signal=None, message="", log=[])
    slurm.end_job(job)
    assert await running == 0
    kinds = [sentence.split()[0] for sentence in output.sentences()]
    assert kinds == ["Submitted", "Waiting", "Node", "Running", "The", "The", "The"]
    assert not record.path.exists()


async def test_a_job_put_back_into_the_queue_is_cancelled(
    output: Output, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    running = asyncio.create_task(output.session.run(detach=False))
    await until(lambda: output.session.job_id)
    starter_says(output.session.plan.record, "boot", job_id=output.session.job_id)
    slurm.run_job(output.session.job_id)
    await until(lambda: "The container is starting." in output.text)
    slurm.change(output.session.job_id, state="PENDING", nodes="", host="n/a", restarts=1)
    assert await running == 1
    assert "put the job back into the queue" in capsys.readouterr().err
    assert slurm.jobs[output.session.job_id].state == "CANCELLED"


async def test_a_server_that_never_listens_is_given_up(
    site: Site, output: Output, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    output.session.site = parse(SITE.replace("[servers]", '[servers]\nnode_timeout = "1s"'))
    running = asyncio.create_task(output.session.run(detach=False))
    await until(lambda: output.session.job_id)
    slurm.run_job(output.session.job_id)
    assert await running == 1
    assert (
        "it wrote nothing to your home directory within 1 second, so it was cancelled"
        in capsys.readouterr().err
    )
    assert slurm.jobs[output.session.job_id].state == "CANCELLED"


async def up(output: Output, slurm: FakeSlurm) -> asyncio.Task[int]:
    """A notebook whose server listens; the task is its command."""
    running = asyncio.create_task(output.session.run(detach=False))
    await until(lambda: output.session.job_id)
    slurm.run_job(output.session.job_id)
    starter_says(output.session.plan.record, "boot", job_id=output.session.job_id)
    starter_says(output.session.plan.record, "ready", port=30007)
    await until(lambda: "token=" in output.text)
    return running


async def test_a_prolog_that_failed_is_distinguished_from_an_operators_cancellation(
    output: Output, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    slurm._tampers["scontrol"].clear()  # it answers now
    running = asyncio.create_task(output.session.run(detach=False))
    await until(lambda: output.session.job_id)
    slurm.run_job(output.session.job_id)
    await until(lambda: "Running on shas0101." in output.text)
    slurm.node_reasons["shas0101"] = "Prolog error"
    slurm.end_job(output.session.job_id, "CANCELLED", cancelled_by=0)
    assert await running == 1
    assert "Slurm's prolog, which prepares a node for a job, failed" in capsys.readouterr().err


async def test_while_squeue_still_shows_the_job_accounting_knows_why_the_server_ended(
    output: Output, slurm: FakeSlurm, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flatirons.servers.follow.SECONDS_FOR_SLURM", 0.01)
    running = await up(output, slurm)
    job = output.session.job_id
    slurm.end_job(job, "TIMEOUT")
    slurm.jobs[job] = replace(slurm.jobs[job], state="COMPLETING")
    end = {"exit_code": 0, "signal": None, "kind": kinds.STOPPED, "values": {}, "message": "", "log": []}
    starter_says(output.session.plan.record, "end", **end)
    await until(lambda: "Ending job" in output.text)
    slurm.jobs[job] = replace(slurm.jobs[job], state="TIMEOUT")
    assert await running == 1
    assert "reached its time limit" in capsys.readouterr().err


async def test_a_second_ctrl_c_gives_the_server_no_time_to_end_by_itself(
    output: Output, slurm: FakeSlurm
) -> None:
    running = await up(output, slurm)
    os.kill(os.getpid(), signal.SIGINT)
    await until(lambda: slurm.count("scancel") == 1)
    assert slurm.jobs[output.session.job_id].state == "RUNNING", "only its starter got a signal"
    os.kill(os.getpid(), signal.SIGINT)
    assert await running == 0
    assert (slurm.jobs[output.session.job_id].state, slurm.count("scancel")) == ("CANCELLED", 2)


async def test_ctrl_c_before_the_job_is_known_cancels_it_once_it_is(output: Output, slurm: FakeSlurm) -> None:
    gate = slurm.hold("sbatch")
    running = asyncio.create_task(output.session.run(detach=False))
    await until(lambda: slurm.count("sbatch"))
    os.kill(os.getpid(), signal.SIGINT)
    await until(lambda: output.session.interrupts)
    gate.set()
    assert await running == 130
    assert [job.state for job in slurm.jobs.values()] == ["CANCELLED"]
    assert not output.session.plan.record.path.exists()


async def test_a_job_that_a_late_sbatch_left_is_followed(output: Output, slurm: FakeSlurm) -> None:
    comment = output.session.plan.spec.comment
    slurm.hang("sbatch")
    job = slurm.add_job(ME, comment=comment)
    running = asyncio.create_task(output.session.run(detach=True))
    assert (await running, output.session.job_id) == (0, job)


async def test_a_submission_that_fails_leaves_no_record(output: Output, slurm: FakeSlurm) -> None:
    slurm.fail("sbatch", "sbatch: error: " + DOWN)
    with pytest.raises(SlurmUnreachable):
        await output.session.run(detach=False)
    assert not output.session.plan.record.path.exists()


async def test_a_server_without_a_token_is_stopped(
    output: Output, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(address, "problem", lambda server: address.OPEN_TO_ALL)
    running = asyncio.create_task(output.session.run(detach=False))
    await until(lambda: output.session.job_id)
    slurm.run_job(output.session.job_id)
    starter_says(output.session.plan.record, "boot", job_id=1)
    starter_says(output.session.plan.record, "ready", port=30001)
    await until(lambda: slurm.count("scancel"))
    slurm.end_job(output.session.job_id)
    assert await running == 1
    assert "didn't require its token" in capsys.readouterr().err


async def test_a_signal_that_the_shell_ignores_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    heard: list[int] = []
    try:
        with command._signals(lambda: heard.append(1)):
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            await until(lambda: heard)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert heard == [1]


async def test_an_output_that_is_no_longer_read_is_a_hangup(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    heard: list[int] = []
    answers: list[list[tuple[int, int]]] = []
    output_poll = select.poll()

    def poll(timeout: float) -> list[tuple[int, int]]:
        answers.append(output_poll.poll(timeout))
        return answers[-1]

    noted = SimpleNamespace(register=output_poll.register, poll=poll)
    monkeypatch.setattr(command, "select", SimpleNamespace(poll=lambda: noted))
    monkeypatch.setattr(command, "HANGUP_SECONDS", 0.01)
    with os.fdopen(writer, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        async with command._on_hangup(lambda: heard.append(1)):
            await until(lambda: len(answers) > 2)
            assert heard == []
            os.close(reader)
            await until(lambda: heard)
        monkeypatch.undo()


# -- running notebooks


async def test_while_slurm_does_not_answer_no_record_is_removed(
    known: dict[str, SlurmClient], slurm: FakeSlurm
) -> None:
    record = Record.new("summit", "python", "/lab")
    record.write()
    os.utime(record.path, (0, 0))
    slurm.fail("squeue", DOWN)
    with pytest.raises(FlatironsError, match="summit: Slurm does not answer"):
        await listing.show(known, "login", None, print)
    assert record.path.exists()
    await listing.show(known, "login", None, print)
    assert not record.path.exists()


async def test_a_record_that_was_just_made_is_kept(known: dict[str, SlurmClient]) -> None:
    record = Record.new("summit", "python", "/lab")
    record.write()
    await listing.show(known, "login", None, print)
    assert record.path.exists()


async def test_a_job_without_a_record_can_still_be_stopped(
    known: dict[str, SlurmClient], slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    job = slurm.add_job(ME, comment="flatirons-notebook:0123:python")
    slurm.run_job(job)
    await listing.show(known, "login", None, print)
    assert f"Stop it: --stop {job}" in capsys.readouterr().out
    await listing.stop(known, 0, 5, print)
    assert slurm.jobs[job].state == "CANCELLED"


async def test_a_job_of_somebody_else_is_not_stopped(known: dict[str, SlurmClient], slurm: FakeSlurm) -> None:
    slurm.add_job("bob", comment="flatirons-notebook:0123:python")
    with pytest.raises(FlatironsError, match="None of your notebooks runs or waits"):
        await listing.stop(known, 0, 5, print)


REWRITTEN = {"name": "my-run", "comment": "cost-centre-17"}


@pytest.mark.parametrize("by", ["the command", "the starter"])
async def test_a_notebook_is_listed_and_stopped_whatever_its_jobs_name_and_comment_become(
    output: Output,
    known: dict[str, SlurmClient],
    slurm: FakeSlurm,
    capsys: pytest.CaptureFixture[str],
    by: str,
) -> None:
    """Its record was taken for one that was left over, and removed: then the job starts no server."""
    slurm.now = int(time.time())
    slurm.on_submit = lambda job: slurm.change(job.id, **REWRITTEN)
    assert await output.session.run(detach=True) == 0
    record, job = output.session.plan.record, output.session.job_id
    if by == "the starter":
        starter_says(record, "boot", job_id=job)
        record.path.with_suffix(".job").unlink()
    os.utime(record.path, (0, 0))
    await listing.show(known, "login", None, print)
    assert f"Job {job} on summit (python)" in capsys.readouterr().out
    await listing.stop(known, job, 5, print)
    assert slurm.jobs[job].state == "CANCELLED"
    assert list(record.path.parent.iterdir()) == []


async def test_another_job_that_got_the_id_of_a_notebook_is_not_stopped(
    output: Output, known: dict[str, SlurmClient], slurm: FakeSlurm
) -> None:
    slurm.now = int(time.time())
    await output.session.run(detach=True)
    job = output.session.job_id
    slurm.change(job, submit=slurm.now + 3600, **REWRITTEN)
    with pytest.raises(FlatironsError, match=f"Job {job} is none of your notebooks"):
        await listing.stop(known, job, 5, print)
    assert slurm.count("scancel") == 0


async def test_a_job_with_the_comment_of_another_notebook_is_not_taken_for_it(
    output: Output, known: dict[str, SlurmClient], slurm: FakeSlurm
) -> None:
    slurm.now = int(time.time())
    await output.session.run(detach=True)
    copy = slurm.add_job(ME, comment=output.session.plan.spec.comment, submit=slurm.now)
    with pytest.raises(FlatironsError, match="is none of your notebooks"):
        await listing.stop(known, copy, 5, print)


async def test_a_followed_notebook_ends_when_another_job_gets_its_id(
    output: Output, slurm: FakeSlurm
) -> None:
    running = asyncio.create_task(output.session.run(detach=False))
    await until(lambda: "Waiting" in output.text)
    slurm.change(output.session.job_id, submit=slurm.now + 60, state="RUNNING", **REWRITTEN)
    assert await running == 1
    assert slurm.count("scancel") == 0


async def test_ctrl_c_before_the_submission_gives_no_traceback(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    os.mkfifo(site)  # it has no writer, so reading it never ends
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        f"from flatirons.cli import main; sys.exit(main(['notebook', '--site', {str(site)!r}]))"
    )
    env = {"PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, text=True)  # noqa: ASYNC220
    writers: list[int] = []
    await until(lambda: is_read(site, writers))
    await until(lambda: sleeps(process.pid))  # a signal just before its read() would wake nobody
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=LIMIT_S)[1], process.returncode) == ("", 130)
    os.close(*writers)


def is_read(pipe: Path, writers: list[int]) -> bool:
    """Whether somebody reads the pipe; `writers` then holds the descriptor that keeps it open."""
    try:
        writers.append(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def sleeps(pid: int) -> bool:
    """Whether the process is asleep. Source: proc_pid_stat(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


def test_the_command_needs_no_jupyterhub() -> None:
    code = (
        "import sys; sys.modules['jupyterhub'] = sys.modules['sqlalchemy'] = sys.modules['tornado'] = None;"
        "from flatirons.cli import main; import flatirons.notebook.command;"
        "sys.exit(main(['notebook', '--site', '/no/site.toml']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True
    )
    assert done.stderr == "flatirons: /no/site.toml: can't be read: No such file or directory\n"
    assert done.returncode == 2
