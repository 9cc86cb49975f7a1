"""Starts processes: an argv list, as a user, with a deadline, both streams captured.

All commands of the hub, of the command `flatirons` and of the parallel clusters go through here. Processes
start elsewhere only where there is no runner: in the programs that are sent to a node or into an environment
(job/node/child.py, environments/survey.py, environments/probe.py), and in the launchers of ipyparallel
(parallel/ipp/step.py), dask-jobqueue and PySpark (parallel/spark/compat.py).

There are four ways to run a command as a user; the site chooses one:

`AsSelf`   the caller is the user already (a notebook, a log-in shell);
`AsRoot`   the hub is root, and the child becomes the user before it executes the command;
`AsSudo`   the hub is an ordinary account with sudo rules for sbatch, scancel, squeue and one use of scontrol;
`OverSsh`  the hub has no Slurm and runs the command on a log-in node, which has the rules of `AsSudo`.

A named user is judged by uid, in every one of these ways: see `flatirons.accounts`.

The last three don't pass the hub's own environment on: a command gets PATH, a UTF-8 locale, the user's HOME,
USER and LOGNAME if they are known, and what the caller gives in `env`.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import pwd
import shlex
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flatirons import accounts
from flatirons.errors import AccountRefused, CommandError, CommandFailed, CommandMissing, CommandTimeout

SECONDS_TO_DIE = 2.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Run on the log-in node before sudo: $1 is the account, $2 the uids that are refused as well.
JUDGE = r"""
uid=$(id -u -- "$1" </dev/null) || exit 98
least=$(sed -n 's/^[[:blank:]]*UID_MIN[[:blank:]]\{1,\}\([0-9]\{1,\}\).*/\1/p' /etc/login.defs 2>/dev/null)
refuse() { echo "$uid ${least:-1000}"; exit 97; }
[ "$uid" -ge "${least:-1000}" ] || refuse
for other in 0 $2 $(id -u -- slurm 2>/dev/null; id -u -- munge 2>/dev/null); do
    [ "$uid" -ne "$other" ] || refuse
done
shift 2
exec "$@"
"""
JUDGED, UNKNOWN = 97, 98
"""Its exit codes: the account is refused ("UID UID_MIN" is on stdout), or there is no such account."""


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended with exit code 0; `seconds` is wall-clock time."""

    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Launch:
    """What the operating system gets: the argv, its environment and further arguments of `Popen`."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    options: Mapping[str, Any]


class Runner(abc.ABC):
    """Runs commands, as a user if one is named.

    `umask` is what commands get in place of the calling process's own, -1 for no other: Slurm passes the
    umask of sbatch on to the job.
    """

    umask: int = -1
    refused_uids: frozenset[int] = frozenset()

    def refuse_uid(self, uid: int) -> None:
        """Runs no command as an account with this uid from now on, in addition to those of the system."""
        self.refused_uids |= {uid}

    @abc.abstractmethod
    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """How to start `argv` as `user` (None: as the calling account), with `env` added to the minimum.

        Raises AccountRefused for a user who isn't a person. May ask a server on the network for the account.
        """

    async def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        deadline: float = 10.0,
    ) -> Completed:
        """The output of `argv` after it ended with exit code 0 within `deadline` seconds.

        Raises CommandFailed, CommandMissing or CommandTimeout. If the deadline passes or the caller is
        cancelled, the process group is killed. A daemon that the command left behind, with the streams still
        open, isn't waited for.
        """
        if user is None:
            launch = self.launch(argv, user, env or {})
        else:
            launch = await asyncio.to_thread(self.launch, argv, user, env or {})
        began = time.monotonic()
        with _open_streams(stdin, launch) as streams:
            process = await _start(launch, streams, self.umask)
            try:
                await _wait_or_kill(process, deadline)
            except TimeoutError:
                sentence = f"A command didn't end within {deadline:g} seconds."
                raise CommandTimeout(sentence, argv, *streams.texts()) from None
            out, err = streams.texts()
        if process.returncode:
            raise CommandFailed(argv, process.returncode, out, err)
        return Completed(out, err, time.monotonic() - began)

    async def permits(self, argv: Sequence[str], *, user: str | None) -> bool:
        """May `argv` be run as `user`, as far as this runner can tell without running it?"""
        return True

    async def host_names(self) -> frozenset[str]:
        """The names and addresses of the machine on which commands run; none where they aren't known."""
        return await asyncio.to_thread(names_of, socket.gethostname())


class AsSelf(Runner):
    """Runs commands as the calling account, in its own environment.

    Variables whose names begin with one of the texts in `hidden` are left out.
    """

    def __init__(self, hidden: Sequence[str] = ()) -> None:
        self.hidden = tuple(hidden)

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """`argv` unchanged; raises AccountRefused if `user` isn't the calling account, or isn't a person."""
        if user is not None and accounts.check_account(user, self.refused_uids).pw_uid != os.getuid():
            mine = pwd.getpwuid(os.getuid()).pw_name
            raise AccountRefused(f"This hub starts servers only for {mine}, as whom it runs.", user)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(self.hidden)}
        return Launch(tuple(argv), {**(kept if self.hidden else os.environ), **env}, {})


class AsRoot(Runner):
    """Becomes the user, with the user's groups, in a child of a process that runs as root."""

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """`argv` with the user's ids and home."""
        if user is None:
            return Launch(tuple(argv), {**_minimum(), **env}, {})
        account = accounts.check_account(user, self.refused_uids)
        who = {"HOME": account.pw_dir, "USER": user, "LOGNAME": user}
        options = {
            "user": account.pw_uid,
            "group": account.pw_gid,
            "extra_groups": os.getgrouplist(user, account.pw_gid),
            "cwd": "/",
        }
        return Launch(tuple(argv), {**_minimum(), **who, **env}, options)


class BySudoRules(Runner):
    """A runner that may run only what sudo rules allow."""

    async def permits(self, argv: Sequence[str], *, user: str | None) -> bool:
        """Whether the sudo rules allow it; False where sudo doesn't say so."""
        if user is None:
            return True
        try:
            await self.run(["sudo", "-n", "-u", user, "-l", "--", *argv])
        except CommandError:
            return False
        return True


class AsSudo(BySudoRules):
    """Runs commands with sudo, without password and terminal; the sudo rules must allow `env`."""

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """`sudo -n -u USER NAME=VALUE... argv`, or `argv` unchanged if no user is named."""
        if user is None:
            return Launch(tuple(argv), {**_minimum(), **env}, {})
        given = [f"{key}={value}" for key, value in env.items()]
        name = accounts.check_account(user, self.refused_uids).pw_name
        line = ("sudo", "-n", "-u", name, *given, "--", *argv)
        return Launch(line, _minimum(), {"cwd": "/"})


class OverSsh(BySudoRules):
    """Runs what `AsSudo` would run, on a log-in node; keys and options are in ssh's own configuration."""

    def __init__(self, host: str) -> None:
        if not host or host.startswith("-"):
            raise ValueError(f"not a host name: {host!r}")
        self.host = host

    async def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        deadline: float = 10.0,
    ) -> Completed:
        """As Runner.run; raises AccountRefused as the log-in node says."""
        try:
            return await super().run(argv, user=user, stdin=stdin, env=env, deadline=deadline)
        except CommandFailed as error:
            if user is None or error.returncode not in (JUDGED, UNKNOWN):
                raise
            if error.returncode == UNKNOWN:
                raise AccountRefused(f"There is no account {user!r} on {self.host}.", user) from error
            uid, least = map(int, error.stdout.split())
            raise accounts.refusal(user, accounts.why_refused(uid, least, {uid})) from error

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """`ssh HOST -- TEXT`; ssh takes one text for the remote shell, not an argv, so it is quoted here.

        The log-in node judges the account: this machine may not have it.
        """
        given = [f"{key}={value}" for key, value in env.items()]
        remote = ["env", *given, *argv]
        if user is not None:
            refused = " ".join(map(str, sorted(self.refused_uids)))
            judge = ["sh", "-c", JUDGE, "sh", accounts.check_name(user), refused]
            remote = [*judge, "sudo", "-n", "-u", user, *given, "--", *argv]
        keep = {key: os.environ[key] for key in ("HOME", "SSH_AUTH_SOCK") if key in os.environ}
        command = ("ssh", "-o", "BatchMode=yes", self.host, "--", shlex.join(remote))
        return Launch(command, {**_minimum(), **keep}, {})

    async def host_names(self) -> frozenset[str]:
        """The names that the log-in node has for itself, and those that this machine knows for it."""
        try:
            own = (await self.run(["uname", "-n"])).stdout.strip()
        except CommandError:  # it may admit nothing but Slurm's commands
            return frozenset()
        known = await asyncio.gather(*(asyncio.to_thread(names_of, name) for name in (own, self.host)))
        return frozenset().union(*known)


def names_of(host: str) -> frozenset[str]:
    """The host's names and addresses, as this machine knows them; each name also without domain. May block.

    Slurm goes by the name that its own machine finds for the host's address, without domain. Source:
    auth_p_get_host() in auth_munge.c.
    """
    names, addresses = {host.rpartition("@")[2]}, set()
    with contextlib.suppress(OSError, UnicodeError):
        name, aliases, addresses_found = socket.gethostbyname_ex(*names)
        names |= {name, *aliases}
        addresses |= set(addresses_found)
    for address in addresses:
        with contextlib.suppress(OSError):
            name, aliases, _ = socket.gethostbyaddr(address)
            names |= {name, *aliases}
    return frozenset(names | addresses | {name.partition(".")[0] for name in names})


def _minimum() -> dict[str, str]:
    return {"PATH": PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def _open_streams(stdin: str, launch: Launch) -> _Streams:
    try:
        return _Streams(stdin)
    except OSError as error:
        raise _cannot_run(launch, error) from error


def _cannot_run(launch: Launch, error: OSError) -> CommandMissing:
    return CommandMissing(f"{launch.argv[0]} can't be run: {error.strerror}.", launch.argv)


async def _start(launch: Launch, streams: _Streams, umask: int) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(
            *launch.argv,
            stdin=streams.stdin,
            stdout=streams.out.writer,
            stderr=streams.err.writer,
            env=dict(launch.env),
            start_new_session=True,
            umask=umask,
            **launch.options,
        )
    except OSError as error:
        raise _cannot_run(launch, error) from error
    finally:
        streams.close_childs_ends()


async def _wait_or_kill(process: asyncio.subprocess.Process, deadline: float) -> None:
    """Returns when the process has ended; kills it and raises if the deadline passes or on cancellation."""
    try:
        async with asyncio.timeout(deadline):
            await process.wait()
    except (TimeoutError, asyncio.CancelledError):
        await _kill(process)
        raise


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kills the process group; doesn't wait for what can't be killed, as sudo (root's) or a hanging disk."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SECONDS_TO_DIE):
            await process.wait()


class _Streams:
    """A child's streams: stdin is a text in memory; stdout and stderr are pipes that are read continually."""

    def __init__(self, stdin: str) -> None:
        with contextlib.ExitStack() as undo:
            self.stdin = os.memfd_create("stdin")
            undo.callback(os.close, self.stdin)
            os.pwrite(self.stdin, stdin.encode(), 0)
            self.out = _Pipe()
            undo.callback(self.out.abandon)
            self.err = _Pipe()
            undo.pop_all()

    def __enter__(self) -> _Streams:
        return self

    def __exit__(self, *_: object) -> None:
        self.close_childs_ends()
        self.out.close()
        self.err.close()

    def close_childs_ends(self) -> None:
        """Closes the descriptors that only the child needs; may be called twice."""
        if self.stdin >= 0:
            for descriptor in (self.stdin, self.out.writer, self.err.writer):
                os.close(descriptor)
            self.stdin = -1

    def texts(self) -> tuple[str, str]:
        """(stdout, stderr), as far as they were written."""
        return self.out.text(), self.err.text()


class _Pipe:
    """A pipe whose text can be read at any time, even while another process holds `writer` open."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        self._chunks: list[bytes] = []
        self._loop = asyncio.get_running_loop()
        os.set_blocking(self._reader, False)
        self._loop.add_reader(self._reader, self._read)

    def _read(self) -> bool:
        """Reads one chunk; returns False if there is none now, or at the end."""
        try:
            chunk = os.read(self._reader, 1 << 20)
        except BlockingIOError:
            return False
        if not chunk:
            self._loop.remove_reader(self._reader)
        self._chunks.append(chunk)
        return bool(chunk)

    def text(self) -> str:
        while self._read():
            pass
        return b"".join(self._chunks).decode("utf-8", "replace")

    def close(self) -> None:
        self._loop.remove_reader(self._reader)
        os.close(self._reader)

    def abandon(self) -> None:
        self.close()
        os.close(self.writer)
