"""The runner: a command's account, environment and deadline, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from flatirons import accounts
from flatirons.errors import AccountRefused, CommandFailed, CommandMissing, CommandTimeout
from flatirons.runner import JUDGE, AsRoot, AsSelf, AsSudo, OverSsh, Runner, names_of
from tests.waiting import until

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="drops from root to another account")
PYTHON = [sys.executable, "-c"]
WHO = "import json, os, sys; print(json.dumps([os.getuid(), os.getgroups(), os.getcwd(), dict(os.environ)]))"


@pytest.fixture
def system_python() -> str:
    """A Python that other accounts can execute as well."""
    path = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if path is None:
        pytest.skip("no python3 of the system's")
    return path


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()


# -- results


async def test_both_streams_and_the_time_are_returned() -> None:
    done = await AsSelf().run([*PYTHON, "import sys; print('out'); print('err', file=sys.stderr)"])
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert 0 < done.seconds < 10


async def test_stdin_is_the_given_text_and_then_ends() -> None:
    script = "#!/bin/sh\nécho 日本\n" * 10_000
    done = await AsSelf().run(["cat"], stdin=script)
    assert done.stdout == script


async def test_a_command_that_does_not_read_its_stdin_succeeds() -> None:
    done = await AsSelf().run(["true"], stdin="x" * 1_000_000)
    assert done.stdout == ""


async def test_a_lot_on_both_streams_does_not_block() -> None:
    code = "import sys; sys.stdout.write('o' * 300000); sys.stderr.write('e' * 300000)"
    done = await AsSelf().run([*PYTHON, code])
    assert (len(done.stdout), len(done.stderr)) == (300_000, 300_000)


async def test_bytes_that_are_not_text_are_replaced() -> None:
    done = await AsSelf().run(["printf", r"a\377b"])
    assert done.stdout == "a\ufffdb"


async def test_a_word_of_the_command_reaches_it_unchanged() -> None:
    hostile = ["$(id)", "; reboot", "a b", "*", "'\"", "\n", "--x", "日本"]
    done = await AsSelf().run([*PYTHON, "import json, sys; print(json.dumps(sys.argv[1:]))", *hostile])
    assert json.loads(done.stdout) == hostile


async def test_a_failure_is_raised_with_code_and_both_streams() -> None:
    with pytest.raises(CommandFailed) as caught:
        await AsSelf().run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    error = caught.value
    assert (error.returncode, error.stdout, error.stderr) == (3, "out\n", "err\n")
    assert error.argv[0] == "sh"
    assert "err" in error.detail
    assert "err" not in error.user.replace("error", "")


async def test_a_command_ended_by_a_signal_has_a_negative_code() -> None:
    with pytest.raises(CommandFailed) as caught:
        await AsSelf().run(["sh", "-c", "kill -9 $$"])
    assert caught.value.returncode == -9


@pytest.mark.parametrize("command", ["/no/such/command", "no-such-command", "/etc/passwd", "/"])
async def test_a_command_that_cannot_be_executed_is_missing(command: str) -> None:
    with pytest.raises(CommandMissing, match="can't be run"):
        await AsSelf().run([command])


async def test_a_command_line_that_is_too_long_is_a_command_error() -> None:
    with pytest.raises(CommandMissing, match="can't be run"):
        await AsSelf().run(["true", "x" * 5_000_000])


async def test_running_out_of_descriptors_is_a_command_error_and_leaks_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def before() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))

    await AsSelf().run(["true"])
    open_before = before()
    real, calls = os.pipe, []

    def pipe() -> tuple[int, int]:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(24, "Too many open files")
        return real()

    monkeypatch.setattr(os, "pipe", pipe)
    with pytest.raises(CommandMissing, match="Too many open files"):
        await AsSelf().run(["true"])
    monkeypatch.undo()
    assert before() == open_before


# -- deadlines


async def test_a_late_command_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    code = f"sleep 60 & echo $$ $! > {note}; echo started; wait"
    with pytest.raises(CommandTimeout) as caught:
        await AsSelf().run(["sh", "-c", code], deadline=0.5)
    assert caught.value.stdout == "started\n"
    pids = [int(pid) for pid in note.read_text().split()]
    await until(lambda: not any(map(is_alive, pids)))


async def test_a_late_command_that_ignores_signals_is_killed_nevertheless() -> None:
    with pytest.raises(CommandTimeout):
        await AsSelf().run(["sh", "-c", "trap '' TERM INT HUP; while :; do sleep 1; done"], deadline=0.2)


async def test_a_cancelled_caller_leaves_nothing_running(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    task = asyncio.ensure_future(AsSelf().run(["sh", "-c", f"echo $$ > {note}; exec sleep 60"]))
    await until(lambda: note.exists() and note.read_text().endswith("\n"))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not is_alive(int(note.read_text())))


async def test_a_daemon_that_keeps_the_streams_open_does_not_delay_the_answer(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"echo answer; setsid sleep 60 & echo $! > {note}"
    try:
        done = await AsSelf().run(["sh", "-c", code], deadline=20.0)
        assert done.stdout == "answer\n"
        assert done.seconds < 10
    finally:
        os.kill(int(note.read_text()), signal.SIGKILL)


async def test_a_daemon_that_survives_the_kill_does_not_delay_the_error(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"setsid sleep 60 & echo $! > {note}; sleep 60"
    try:
        with pytest.raises(CommandTimeout):
            await AsSelf().run(["sh", "-c", code], deadline=0.3)
    finally:
        os.kill(int(note.read_text()), signal.SIGKILL)


async def test_fifty_commands_run_in_parallel() -> None:
    runs = await asyncio.gather(*(AsSelf().run(["echo", str(number)]) for number in range(50)))
    assert [run.stdout for run in runs] == [f"{number}\n" for number in range(50)]


# -- as ourselves


async def test_as_self_a_command_gets_our_environment_and_the_given_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLATIRONS_TEST", "ours")
    done = await AsSelf().run([*PYTHON, WHO], env={"SLURM_CONF": "/x"})
    uid, _, cwd, env = json.loads(done.stdout)
    assert (uid, cwd) == (os.getuid(), os.getcwd())
    assert (env["FLATIRONS_TEST"], env["SLURM_CONF"]) == ("ours", "/x")


async def test_as_self_variables_can_be_hidden_by_their_prefix(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SBATCH_PARTITION", "x")
    done = await AsSelf(hidden=("SLURM_", "SBATCH_")).run([*PYTHON, WHO], env={"SLURM_CONF": "/x"})
    env = json.loads(done.stdout)[3]
    assert "SLURM_JOB_ID" not in env
    assert "SBATCH_PARTITION" not in env
    assert env["SLURM_CONF"] == "/x"


async def test_as_self_no_other_user_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flatirons.runner.os.getuid", lambda: pwd.getpwnam("nobody").pw_uid)
    assert (await AsSelf().run(["echo", "yes"], user="nobody")).stdout == "yes\n"
    with people(monkeypatch), pytest.raises(AccountRefused, match="only for nobody, as whom it runs"):
        await AsSelf().run(["true"], user="alice")


# -- as root


@needs_root
async def test_as_root_a_command_runs_with_the_users_ids_and_without_the_hubs_environment(
    monkeypatch: pytest.MonkeyPatch, system_python: str
) -> None:
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "secret")
    nobody = pwd.getpwnam("nobody")
    done = await AsRoot().run([system_python, "-c", WHO], user="nobody", env={"SLURM_CONF": "/x"})
    uid, groups, cwd, env = json.loads(done.stdout)
    assert uid == nobody.pw_uid
    assert 0 not in groups
    assert cwd == "/"
    assert "CONFIGPROXY_AUTH_TOKEN" not in env
    assert (env["USER"], env["LOGNAME"], env["HOME"]) == ("nobody", "nobody", nobody.pw_dir)
    assert env["SLURM_CONF"] == "/x"
    assert "/usr/bin" in env["PATH"]


@needs_root
async def test_as_root_the_user_cannot_become_root_again(system_python: str) -> None:
    with pytest.raises(CommandFailed, match="exit code"):
        await AsRoot().run([system_python, "-c", "import os; os.setuid(0)"], user="nobody")


@needs_root
async def test_as_root_a_users_late_command_is_killed() -> None:
    with pytest.raises(CommandTimeout):
        await AsRoot().run(["sleep", "60"], user="nobody", deadline=0.2)


@needs_root
async def test_as_root_without_a_user_the_command_runs_as_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "secret")
    uid, _, _, env = json.loads((await AsRoot().run([*PYTHON, WHO])).stdout)
    assert uid == 0
    assert "CONFIGPROXY_AUTH_TOKEN" not in env


async def test_as_root_an_unknown_account_is_named() -> None:
    with pytest.raises(AccountRefused, match="no account 'no-such-user'"):
        await AsRoot().run(["true"], user="no-such-user")


# -- whose commands are run

ACCOUNTS = {
    **{"alice": 10001, "nobody": 65534, "1a": 10003},
    **{"root": 0, "toor": 0, "daemon": 1, "www-data": 33, "nearly": 999, "0": 0, "10001": 10001, "0x0": 0},
    **{"slurm": 64030, "munge": 1001, "controller": 64030, "slurmadm": 1200},
}
NOT_A_NAME = [
    "#0",
    "#-1",
    "#10001",
    "0",
    "00",
    "10001",
    "0x0",
    "-1",
    "+0",
    "-x",
    "%wheel",
    "+grp",
    "",
    "a\nb",
    "a\0b",
]
SYSTEM = ["root", "toor", "daemon", "www-data", "nearly", "slurm", "munge", "controller", "slurmadm"]
LOCAL: list[type[Runner]] = [AsSelf, AsRoot, AsSudo]


@contextlib.contextmanager
def people(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Inside, this machine has the accounts above."""

    def getpwnam(name: str) -> pwd.struct_passwd:
        return pwd.struct_passwd((name, "x", ACCOUNTS[name], 100, "", f"/home/{name}", "/bin/sh"))

    with monkeypatch.context() as patch:
        patch.setattr(accounts, "pwd", SimpleNamespace(getpwnam=getpwnam))
        yield


@pytest.fixture
def with_people(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with people(monkeypatch):
        yield


def make(way: type[Runner]) -> Runner:
    """A runner that knows SlurmUser, as Slurm has named it."""
    runner = way()
    runner.refuse_uid(1200)
    return runner


@pytest.mark.parametrize("way", LOCAL)
@pytest.mark.parametrize("user", NOT_A_NAME)
def test_a_text_with_another_meaning_for_sudo_or_slurm_is_not_a_name(
    with_people: None, way: type[Runner], user: str
) -> None:
    with pytest.raises(AccountRefused, match="isn't the name of an account") as caught:
        make(way).launch(["sbatch"], user, {})
    assert repr(user) in caught.value.detail


@pytest.mark.parametrize("user", NOT_A_NAME)
def test_a_log_in_node_is_not_asked_about_a_text_that_is_not_a_name(user: str) -> None:
    with pytest.raises(AccountRefused, match="isn't the name of an account"):
        OverSsh("login1").launch(["sbatch"], user, {})


@pytest.mark.parametrize("way", LOCAL)
@pytest.mark.parametrize("user", SYSTEM)
def test_privileges_are_judged_by_uid_whatever_the_account_is_called(
    with_people: None, monkeypatch: pytest.MonkeyPatch, way: type[Runner], user: str
) -> None:
    monkeypatch.setattr("flatirons.runner.os.getuid", lambda: ACCOUNTS[user])
    with pytest.raises(
        AccountRefused, match=rf"nothing as {user}: it .*\(uid {ACCOUNTS[user]}\b.* account of your own"
    ):
        make(way).launch(["sbatch"], user, {})


@pytest.mark.parametrize("way", [AsSudo, AsSelf])
@pytest.mark.parametrize("user", ["alice", "1a"])
def test_people_are_let_through(
    with_people: None, monkeypatch: pytest.MonkeyPatch, way: type[Runner], user: str
) -> None:
    monkeypatch.setattr("flatirons.runner.os.getuid", lambda: ACCOUNTS[user])
    assert make(way).launch(["sbatch"], user, {}).argv[-1] == "sbatch"


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("UID_MIN 500\n", 500),
        ("  UID_MIN\t\t  2000  \nSYS_UID_MIN 100\nSUB_UID_MIN 100000\n", 2000),
        ("#UID_MIN 5\n", 1000),
        ("UID_MIN x\n", 1000),
        ("", 1000),
        (None, 1000),
    ],
)
def test_the_smallest_uid_of_people_is_that_of_login_defs(
    tmp_path: Path, text: str | None, least: int
) -> None:
    file = tmp_path / "login.defs"
    if text is not None:
        file.write_text(text)
    assert accounts.least_uid(file) == least


def test_even_where_people_may_have_any_uid_root_is_refused() -> None:
    assert "root" in accounts.why_refused(0, 0, ())


# -- sudo and ssh: their command lines


def test_sudo_runs_without_password_and_with_the_given_variables(with_people: None) -> None:
    launch = AsSudo().launch(["sbatch", "--parsable"], "alice", {"SLURM_CONF": "/x"})
    assert launch.argv == ("sudo", "-n", "-u", "alice", "SLURM_CONF=/x", "--", "sbatch", "--parsable")
    assert set(launch.env) == {"PATH", "LANG", "LC_ALL"}


@pytest.mark.parametrize(("code", "answer"), [(0, True), (1, False)])
async def test_sudo_says_what_it_permits_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, answer: bool
) -> None:
    (tmp_path / "sudo").write_text(f'#!/bin/sh\necho "$*" > {tmp_path}/asked\nexit {code}\n')
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setattr("flatirons.runner.PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert await AsSudo().permits(["/bin/scontrol", "update"], user="alice") is answer
    assert (tmp_path / "asked").read_text() == "-n -u alice -l -- /bin/scontrol update\n"


async def test_what_needs_no_rules_is_permitted() -> None:
    assert await AsRoot().permits(["/bin/scontrol"], user="alice")
    assert await AsSudo().permits(["/bin/scontrol"], user=None)


def test_sudo_is_not_used_if_no_user_is_named() -> None:
    launch = AsSudo().launch(["squeue"], None, {"SLURM_CONF": "/x"})
    assert launch.argv == ("squeue",)
    assert launch.env["SLURM_CONF"] == "/x"
    assert "HOME" not in launch.env


def test_ssh_gets_one_quoted_text_in_which_the_log_in_node_judges_the_account_first() -> None:
    runner = OverSsh("login1")
    runner.refuse_uid(64030)
    launch = runner.launch(["sbatch", "--comment=a b; $(id)"], "alice", {"SLURM_CONF": "/x y"})
    assert launch.argv[:-1] == ("ssh", "-o", "BatchMode=yes", "login1", "--")
    assert shlex.split(launch.argv[-1]) == [
        *("sh", "-c", JUDGE, "sh", "alice", "64030"),
        *("sudo", "-n", "-u", "alice", "SLURM_CONF=/x y", "--", "sbatch", "--comment=a b; $(id)"),
    ]


@pytest.fixture
def login_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OverSsh:
    """A log-in node with the accounts above; its sudo prints its arguments and its input."""
    known = "\n".join(f"{name}) echo {uid} ;;" for name, uid in ACCOUNTS.items())
    programs = {
        "ssh": 'for text; do :; done; eval "$text"',
        "id": f'[ "$1 $2" = "-u --" ] || exit 9\ncase $3 in\n{known}\n*) exit 1 ;;\nesac',
        "sudo": "printf '%s\\n' \"$*\"; cat",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    for name in ("PATH", "flatirons.runner.PATH"):
        place = monkeypatch.setenv if name == "PATH" else monkeypatch.setattr
        place(name, f"{tmp_path}:/usr/bin:/bin")
    runner = OverSsh("login1")
    runner.refuse_uid(1200)
    return runner


@pytest.mark.parametrize("user", SYSTEM)
async def test_over_ssh_the_log_in_node_judges_by_uid(login_node: OverSsh, user: str) -> None:
    with pytest.raises(
        AccountRefused, match=rf"nothing as {user}: it .*\(uid {ACCOUNTS[user]}\b.* account of your own"
    ):
        await login_node.run(["sbatch"], user=user)


async def test_over_ssh_people_are_let_through_with_their_input(login_node: OverSsh) -> None:
    done = await login_node.run(["sbatch", "--comment=a  b"], user="alice", stdin="script\n")
    assert done.stdout == "-n -u alice -- sbatch --comment=a  b\nscript\n"


async def test_over_ssh_an_unknown_account_is_named(login_node: OverSsh) -> None:
    with pytest.raises(AccountRefused, match="no account 'bob' on login1"):
        await login_node.run(["sbatch"], user="bob")


def test_over_ssh_a_query_needs_no_sudo() -> None:
    launch = OverSsh("login1").launch(["squeue"], None, {"SLURM_TIME_FORMAT": "%s"})
    assert launch.argv[-1] == "env SLURM_TIME_FORMAT=%s squeue"


@pytest.mark.parametrize("host", ["-oProxyCommand=id", ""])
def test_a_host_that_ssh_would_read_as_an_option_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="host"):
        OverSsh(host)


async def test_the_error_has_the_message_of_sudo_or_ssh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "ssh"
    fake.write_text('#!/bin/sh\necho "ssh: connect to host $3 port 22: Connection refused" >&2\nexit 255\n')
    fake.chmod(0o755)
    monkeypatch.setattr("flatirons.runner.PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(CommandFailed) as caught:
        await OverSsh("login1").run(["squeue"])
    assert caught.value.returncode == 255
    assert "Connection refused" in caught.value.stderr


def test_a_machine_is_known_by_its_names_with_and_without_domain_and_by_its_addresses() -> None:
    assert {"localhost", "127.0.0.1"} <= names_of("localhost")
    assert {"hub", "hub.invalid"} <= names_of("flatirons@hub.invalid"), "without DNS its own names count"


async def test_a_log_in_node_that_admits_only_slurms_commands_has_no_known_names() -> None:
    assert await OverSsh("no-such-host.invalid").host_names() == frozenset()
