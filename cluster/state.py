"""The state directory of an instance: its paths, its marker, and the lock for changes."""

import errno
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .errors import ClusterError
from .layout import Site, make_site
from .processes import Process
from .tree import MARKER, RUN, cache, remove

DEFAULT_NAME = "flatirons"


@dataclass(frozen=True)
class Bind:
    """A file or directory of the host that every node shows at `target`."""

    source: str
    target: str
    writable: bool = True


@dataclass(frozen=True)
class Settings:
    """The settings of an `up`, stored in the instance's marker.

    `constrained` is what Slurm enforces with control groups, in the words of cgroup.conf; empty without them.
    """

    suite: str
    tree: str
    store: str
    summit_nodes: int = 3
    cpus: int = 8
    homes: str = ""
    binds: list[Bind] = field(default_factory=list)
    publish: list[str] = field(default_factory=list)
    constrained: list[str] = field(default_factory=list)

    @property
    def site(self) -> Site:
        """The nodes, clusters and users of this instance."""
        return make_site(self.summit_nodes, self.cpus)


def _draft(name: str) -> Path:
    """A new directory next to those of the instances, to be renamed to one of them."""
    while True:
        RUN.mkdir(mode=0o700, exist_ok=True)
        with suppress(FileNotFoundError):  # the last instance to go down removes the common directory
            return Path(tempfile.mkdtemp(prefix=f".{name}-", dir=RUN))


class Instance:
    """The paths of one virtual cluster; creating the object changes no files."""

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", name):
            raise ClusterError(f"{name!r} is not a valid name for an instance: use 1 to 32 of a-z, 0-9 and -")
        self.name = name
        self.run = RUN / name
        self.marker = self.run / MARKER
        self.network = self.run / "net"
        self.forwarders = self.run / "forwarders"

    def node(self, name: str) -> Path:
        """The state directory of a node."""
        return self.run / "nodes" / name

    def settings(self) -> Settings:
        """The settings of the running instance; ClusterError if it isn't up or not made by this program."""
        try:
            stored = json.loads(self.marker.read_text())
        except FileNotFoundError as error:
            self.require_ours()
            raise ClusterError(f"the virtual cluster {self.name} is not up") from error
        binds = [Bind(**bind) for bind in stored.pop("binds")]
        return Settings(**stored, binds=binds)

    def write_settings(self, settings: Settings) -> None:
        """Creates the state directory with its marker; if this is interrupted, nothing incomplete is left."""
        place = self.run if self.run.exists() else _draft(self.run.name)
        draft = place / f"{MARKER}.draft"
        try:
            draft.write_text(json.dumps(asdict(settings), indent=1))
            os.replace(draft, place / MARKER)
            if place != self.run:
                os.rename(place, self.run)
        except BaseException:
            if place != self.run:
                remove(place)
            raise

    def require_ours(self) -> None:
        """Raises ClusterError if the state directory exists and wasn't made by this program."""
        if self.run.exists() and not self.marker.exists():
            raise ClusterError(f"{self.run} was not made by this program, so it is not changed")

    def recorded_processes(self) -> dict[str, Process]:
        """File name in the state directory -> process, for every process that was started on the host."""
        found = [*self.run.glob("nodes/*/outer"), *self.run.glob("nodes/*/inner"), *self.forwarders.glob("*")]
        return {str(file.relative_to(self.run)): Process.parse(file.read_text()) for file in found}

    def remove_state(self) -> None:
        """Removes the state directory, and the common directory if this was the last instance."""
        remove(self.run)
        try:
            RUN.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.ENOENT):
                raise

    def is_running(self) -> bool:
        """Whether any of its processes is alive."""
        return any(process.is_alive() for process in self.recorded_processes().values())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Locks the instance for a change; ClusterError if another command has locked it."""
        locks = cache() / "locks"
        locks.mkdir(exist_ok=True)
        with (locks / self.name).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ClusterError(f"another command is changing the virtual cluster {self.name}") from error
            yield
