"""The only place that starts a process: argv lists, as whom, deadline, both streams.

There are four ways to run a command as a user; the site picks one:

`AsSelf`   the caller is the user already (a notebook, a log-in shell);
`AsRoot`   the hub is root and the child drops to the user before it executes;
`AsSudo`   the hub is an ordinary account with sudo rules for exactly sbatch, scancel and squeue;
`OverSsh`  the hub has no Slurm of its own and asks a log-in node, where `AsSudo` rules hold.

No way hands the hub's own environment on: a command sees PATH, a UTF-8 locale, the user's HOME, USER and
LOGNAME where we set them, and what the caller gives in `env`.
"""

from __future__ import annotations

import abc
import asyncio
import os
import pwd
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flatirons.errors import CommandFailed, CommandMissing, CommandTimeout

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Completed:
    """A command that ended with exit code 0; `seconds` is wall-clock time."""

    stdout: str
    stderr: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Launch:
    """What is handed to the operating system: the argv, its environment and extra `Popen` arguments."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    options: Mapping[str, Any]


class Runner(abc.ABC):
    """Runs commands, as a user where one is named."""

    @abc.abstractmethod
    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """How `argv` is started as `user` (None: as ourselves) with `env` on top of the minimum."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        deadline: float = 10.0,
    ) -> Completed:
        """The output of `argv`, once it ended with exit code 0 within `deadline` seconds.

        Raises CommandFailed, CommandMissing or CommandTimeout. When the deadline passes or the caller is
        cancelled the process group is killed and reaped, so nothing is left running.
        """
        launch = self.launch(argv, user, env or {})
        began = time.monotonic()
        process = await _start(launch)
        talk = asyncio.ensure_future(process.communicate(stdin.encode()))
        try:
            out, err = await asyncio.wait_for(asyncio.shield(talk), deadline)
        except TimeoutError:
            out, err = await _kill(process, talk)
            sentence = f"A command didn't end within {deadline:g} seconds."
            raise CommandTimeout(sentence, argv, _text(out), _text(err)) from None
        except asyncio.CancelledError:
            await _kill(process, talk)
            raise
        if process.returncode:
            raise CommandFailed(argv, process.returncode, _text(out), _text(err))
        return Completed(_text(out), _text(err), time.monotonic() - began)


class AsSelf(Runner):
    """Runs commands as the calling process's own user, in its own environment less what `hidden` says."""

    def __init__(self, hidden: Sequence[str] = ()) -> None:
        self.hidden = tuple(hidden)

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """`argv` as it is; raises ValueError for another user than ourselves."""
        if user is not None and user != pwd.getpwuid(os.getuid()).pw_name:
            raise ValueError(f"AsSelf can't run a command as {user!r}")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(self.hidden)}
        return Launch(tuple(argv), {**(kept if self.hidden else os.environ), **env}, {})


class AsRoot(Runner):
    """Drops from root to the user in the child, groups included."""

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """`argv` with the user's ids and home; raises CommandMissing when there is no such account."""
        if user is None:
            return Launch(tuple(argv), {**_minimum(), **env}, {})
        try:
            account = pwd.getpwnam(user)
        except KeyError:
            sentence = f"There is no account {user!r} on this machine."
            raise CommandMissing(sentence, argv) from None
        who = {"HOME": account.pw_dir, "USER": user, "LOGNAME": user}
        options = {
            "user": account.pw_uid,
            "group": account.pw_gid,
            "extra_groups": os.getgrouplist(user, account.pw_gid),
            "cwd": "/",
        }
        return Launch(tuple(argv), {**_minimum(), **who, **env}, options)


class AsSudo(Runner):
    """Asks sudo, without a password and without a terminal; `env` must be kept by the sudo rules."""

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """`sudo -n -u USER NAME=VALUE... argv`, or plain `argv` when no user is named."""
        if user is None:
            return Launch(tuple(argv), {**_minimum(), **env}, {})
        given = [f"{key}={value}" for key, value in env.items()]
        return Launch(("sudo", "-n", "-u", user, *given, "--", *argv), _minimum(), {"cwd": "/"})


class OverSsh(Runner):
    """Runs what `AsSudo` would, on a log-in node; ssh's own configuration holds keys and options."""

    def __init__(self, host: str) -> None:
        if host.startswith("-"):
            raise ValueError(f"not a host name: {host!r}")
        self.host = host

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """ssh takes one shell text, not an argv, so it is quoted here."""
        given = [f"{key}={value}" for key, value in env.items()]
        remote = ["sudo", "-n", "-u", user, *given, "--", *argv] if user else ["env", *given, *argv]
        keep = {key: os.environ[key] for key in ("HOME", "SSH_AUTH_SOCK") if key in os.environ}
        command = ("ssh", "-o", "BatchMode=yes", self.host, "--", shlex.join(remote))
        return Launch(command, {**_minimum(), **keep}, {})


def _minimum() -> dict[str, str]:
    return {"PATH": PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


async def _start(launch: Launch) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    try:
        return await asyncio.create_subprocess_exec(
            *launch.argv,
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            env=dict(launch.env),
            start_new_session=True,
            **launch.options,
        )
    except (FileNotFoundError, PermissionError) as error:
        sentence = f"{launch.argv[0]} can't be run: {error.strerror}."
        raise CommandMissing(sentence, launch.argv) from error


async def _kill(
    process: asyncio.subprocess.Process, talk: asyncio.Future[tuple[bytes, bytes]]
) -> tuple[bytes, bytes]:
    """Ends the process group and gives back what it had printed."""
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass  # it ended by itself meanwhile
    except PermissionError:
        talk.cancel()  # sudo runs as root: an ordinary account can't end it, so it is left to end by itself
        return b"", b""
    return await talk


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
