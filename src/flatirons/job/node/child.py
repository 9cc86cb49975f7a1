"""A child process as `subprocess` makes it, whose import takes longer than starting Python."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flatirons.job.node.interpreter import signal

if TYPE_CHECKING:
    import subprocess


class Child:
    """A program that runs in a session of its own, with no input, and with our output."""

    def __init__(self, argv: list[str], env: dict[str, str]) -> None:
        """Raises OSError when the program, which is searched for on the PATH of `env`, can't be run."""
        self.pid = spawn(argv, env)
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """None while it runs, then its exit code, or the negative number of the signal that ended it."""
        if self.returncode is None:
            self._look(os.WNOHANG)
        return self.returncode

    def wait(self) -> int:
        """The same, once it has ended."""
        while self.returncode is None:
            self._look(0)
        return self.returncode

    def _look(self, options: int) -> None:
        try:
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:  # the handler of a signal has looked meanwhile, or SIGCHLD is ignored
            pid, status = self.pid, 0
        if pid and self.returncode is None:
            is_killed = os.WIFSIGNALED(status)
            self.returncode = -os.WTERMSIG(status) if is_killed else os.WEXITSTATUS(status)


def start(argv: list[str], env: dict[str, str], kept: list[int]) -> Child | subprocess.Popen[bytes]:
    """Starts a program; `kept` are the descriptors that it gets besides its output. Raises OSError."""
    if hasattr(os, "posix_spawn"):
        close_others(kept)
        try:
            return Child(argv, env)
        except NotImplementedError:  # no new session: glibc before 2.26
            pass
    import subprocess

    return subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, start_new_session=True, pass_fds=kept)


def close_others(kept: list[int]) -> None:
    """Has a program that is started from now on inherit no descriptors besides output and `kept`."""
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2:
            try:
                os.set_inheritable(number, number in kept)
            except OSError:  # that of the list itself
                continue


def spawn(argv: list[str], env: dict[str, str]) -> int:
    """The id of a new process that runs `argv`. posix_spawn doesn't copy our memory, as fork does.

    Raises OSError: that of the first place on PATH where the program is, else of the last place.
    """
    program, found = argv[0], None
    folders = [""] if "/" in program else env.get("PATH", os.defpath).split(os.pathsep)
    for folder in folders:
        try:
            return os.posix_spawn(
                os.path.join(folder, program),
                argv,
                env,
                file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)],
                setsid=True,
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # Python ignores them
            )
        except OSError as error:
            if found is None or isinstance(found, (FileNotFoundError, NotADirectoryError)):
                found = error
    raise found or FileNotFoundError(2, os.strerror(2), program)
