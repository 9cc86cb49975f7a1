"""The only module that depends on private or undocumented parts of ipyparallel, traitlets and tqdm.

`tests/unit/parallel/ipp/test_compat.py` fails when one of these parts is gone or has changed its shape in the
installed version; `pyproject.toml` sets the upper bounds. Each docstring says which change in ipyparallel
would make its object needless.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ipyparallel.cluster import Cluster
from ipyparallel.cluster.launcher import LocalProcessLauncher, ipcontroller_cmd_argv, ipengine_cmd_argv
from ipyparallel.controller.app import IPController
from ipyparallel.engine.app import IPEngine
from ipyparallel.engine.nanny import KernelNanny
from tornado.ioloop import IOLoop
from tqdm import tqdm  # type: ignore[import-untyped]

CONTROLLER_COMMAND = ipcontroller_cmd_argv
"""The command of ipyparallel's own controller, the default of a launcher's `controller_cmd`."""
ENGINE_COMMAND = ipengine_cmd_argv
"""The command of ipyparallel's own engine, the default of a launcher's `engine_cmd`."""
CONNECTION_INFO = "IPP_CONNECTION_INFO"
"""Variable in which `Cluster.start_engines` gives the launcher the text of the engines' connection file."""
ENGINE_UNIT = "engine"
"""The unit of the progress bar that `Client.wait_for_engines` draws."""


# -- the cluster


class _RecordedTrait:
    """A trait that remembers, for each object, whether it was set."""

    name: str

    def set(self, obj: Any, value: Any) -> None:
        """Sets the value. traitlets calls this also when the value stays the same."""
        super().set(obj, value)  # type: ignore[misc]
        vars(obj).setdefault("_flatirons_set", set()).add(self.name)


def record_settings(*names: str) -> None:
    """Makes these traits of Cluster remember whether somebody set them; see `is_default`.

    A second call changes nothing. Needless if the defaults of `Cluster.engine_timeout` and `Cluster.delay`
    were the launcher's to choose.
    """
    for name in names:
        trait = getattr(Cluster, name)
        if not isinstance(trait, _RecordedTrait):
            trait.__class__ = type("RecordedTrait", (_RecordedTrait, type(trait)), {})


def is_default(cluster: Any, name: str) -> bool:
    """Whether nobody set this trait of a cluster: no keyword, no assignment, no configuration.

    Comparing with the default value isn't enough: a user may have chosen the same value. Nor is what
    `record_settings` saw: a cluster may be older than its call.
    """
    in_config = any(name in cluster.config.get(section, {}) for section in type(cluster).section_names())
    is_set = in_config or name in vars(cluster).get("_flatirons_set", ())
    return not is_set and getattr(cluster, name) == getattr(type(cluster), name).default_value


def make_default_controller(launcher: type) -> None:
    """Makes a launcher the default for controllers, so that `engines="flatirons"` alone is enough.

    ipyparallel starts the controller before it asks the engines' launcher anything. Needless if an engine
    launcher could name the controller launcher that it needs.
    """
    Cluster.controller_launcher_class.default_value = launcher


def call_with_clients(cluster: Any, callback: Callable[[Any], None]) -> None:
    """Calls `callback` with each client that the cluster connects from now on.

    Needless if Cluster had a hook for new clients.
    """
    connect = cluster.connect_client

    async def connect_client(**kwargs: Any) -> Any:
        client = await connect(**kwargs)
        callback(client)
        return client

    cluster.connect_client = connect_client


# -- the client


def on_engine_event(client: Any, callback: Callable[[dict[str, Any]], None]) -> None:
    """Calls `callback` with {"event": "register" or "unregister", "uuid": NAME, ...} for each engine.

    Needless if Client had a public method for this: `Client.wait_for_engines` uses the same list.
    """
    client._registration_callbacks.append(callback)


def engine_names(client: Any) -> list[str]:
    """The names (uuid) of the engines that a client knows. Needless if Client made them public."""
    return list(client._engines.values())


# -- the launchers


class StopData(dict[str, Any]):
    """How a set of engines ended, for `notify_stop`. Shown as the sentence in its item `why`.

    ipyparallel prints the whole dictionary in an error and in the log. Needless if it printed a message from
    the launcher instead.
    """

    def __repr__(self) -> str:
        return str(self["why"])


class ThreadedProcessLauncher(LocalProcessLauncher):
    """Starts a process and calls `process_ended` in a thread when it ends, with the exit code.

    The code is None when the process isn't our child. LocalProcessLauncher itself reports the end by an event
    loop, which may be over by then. Needless if it could report the end without an event loop.
    """

    process: Any  # a psutil.Process
    pid: int

    def process_ended(self, code: int | None) -> None:
        """Called in the thread, once."""
        raise NotImplementedError

    def find_process(self, pid: int) -> None:
        """Follows a process that another program started. Raises NotRunning when it is gone."""
        self._reconstruct_process({"pid": pid})

    def wait_for_end(self, deadline: float | None = None) -> bool:
        """Whether the process ended within `deadline` seconds; without a deadline, returns when it has."""
        self._wait_thread.join(deadline)
        return not self._wait_thread.is_alive()

    def _start_waiting(self) -> None:
        self._wait_thread = threading.Thread(target=self._wait, name=f"end of {self.pid}", daemon=True)
        self._wait_thread.start()

    def _wait(self) -> None:
        code = self.process.wait()
        if self._popen_process:
            self._popen_process.poll()  # records the end, which psutil has collected
        self.process_ended(code)


def bind_loop(launcher: Any) -> None:
    """Makes the launcher keep the event loop that runs here; in another thread it would find another."""
    launcher.loop.asyncio_loop  # noqa: B018  `loop` is made when it is first used


def report_end(launcher: Any, stop_data: StopData) -> None:
    """Calls `notify_stop` in the launcher's event loop, or here if that loop is closed.

    The loop of a synchronous call in a program without a running loop ends with that call.
    """
    if launcher.loop.asyncio_loop.is_closed():
        launcher.notify_stop(stop_data)
    else:
        launcher.loop.add_callback(launcher.notify_stop, stop_data)


# -- the controller


class HookedController(IPController):
    """An IPController with hooks for subclasses.

    Needless if IPController tried the ports of its pools itself and wrote additional items into connection
    files.
    """

    def before_hub(self) -> None:
        """Called before the hub is set up."""

    def is_free(self, port: int) -> bool:
        """Whether the controller may use a port that it has picked."""
        return True

    def engine_connection_items(self) -> dict[str, Any]:
        """More items for the engines' connection file."""
        return {}

    def init_hub(self) -> None:
        """Sets up the hub."""
        self.before_hub()
        super().init_hub()

    def next_port(self, pool_name: str = "common") -> int:
        """A free port of the configured pool, or a random free port if the pool is used up."""
        while True:
            port: int = super().next_port(pool_name)
            if self.is_free(port):
                return port

    def save_connection_dict(self, fname: str, cdict: dict[str, Any]) -> None:
        """Writes a connection file."""
        if fname == self.engine_json_file:
            cdict.update(self.engine_connection_items())
        super().save_connection_dict(fname, cdict)

    def remove_connection_files(self) -> None:
        """Removes the connection files that exist, unless they are to be reused.

        ipyparallel's own clean-up runs only after an orderly end.
        """
        if self.profile_dir and not self.reuse_files:
            for name in (self.client_json_file, self.engine_json_file):
                Path(self.profile_dir.security_dir, name).unlink(missing_ok=True)

    def connection_file(self, name: str) -> Path:
        """A file beside the connection files, named after the cluster as they are."""
        return Path(self.profile_dir.security_dir, self.engine_json_file.replace("engine.json", name))

    def cluster_file(self) -> Path:
        """The file in which `Cluster` keeps the state of the cluster."""
        return Path(self.profile_dir.security_dir, f"cluster-{self.cluster_id}.json")

    def when_serving(self, callback: Callable[[], None]) -> None:
        """Calls `callback` once the controller serves, after it has forked all its children."""
        self.loop.add_callback(callback)

    def end_when_readable(self, descriptor: int) -> None:
        """Ends the controller as SIGTERM does, once the descriptor is readable."""
        self.loop.add_handler(descriptor, lambda *_: self.handle_signal(signal.SIGTERM, None), IOLoop.READ)


# -- the engine and its nanny


class HookedEngine(IPEngine):
    """An engine that gets its nanny from `request_nanny`, instead of starting another Python for it.

    Needless if IPEngine accepted the address of a nanny that is already running.
    """

    _was_signalled = False

    def request_nanny(self, arguments: dict[str, Any]) -> tuple[str, Any]:
        """The URL at which a nanny listens for this engine, and an object to keep while the engine runs.

        `arguments` are those of EngineNanny, without its pipe; they can be pickled.
        """
        raise NotImplementedError

    def start(self) -> None:
        """Serves until a signal or a client ends the engine; a signal is no error."""
        try:
            super().start()
        except RuntimeError:  # ipyparallel stops the event loop in which it still runs
            if not self._was_signalled:
                raise

    def _signal_stop(self, sig: int, frame: Any) -> None:
        self._was_signalled = True
        super()._signal_stop(sig, frame)

    def start_nanny(self, control_url: str) -> tuple[str, Any]:
        """What ipyparallel calls to get a nanny."""
        return self.request_nanny(
            {
                "pid": os.getpid(),
                "engine_id": self.id,
                "identity": self.bident,
                "control_url": control_url,
                "registration_url": self.registration_url,
                "curve_serverkey": self.curve_serverkey,
                "curve_secretkey": self.curve_secretkey,
                "curve_publickey": self.curve_publickey,
                "config": type(self.config)(Session=self.config.Session),
            }
        )


class EngineNanny(KernelNanny):
    """The nanny of one engine (ipyparallel's word), in a process that serves many engines and waits for them.

    Needless if KernelNanny could share a process with others.
    """

    def __init__(self, arguments: dict[str, Any], pipe: IO[str]) -> None:
        super().__init__(**arguments, pipe=pipe)

    def wait_for_parent_thread(self) -> None:
        """Does nothing, because the process itself waits for its engines."""

    def pipe_handler(self, fd: IO[str], events: int) -> None:
        """Only stops reading: that the engine closed its end doesn't mean that it has ended."""
        self.loop.remove_handler(fd)

    def finish(self) -> None:
        """Tells the controller that the engine has ended, and closes what belongs to this nanny."""
        self.notify_exit()
        self.loop.remove_handler(self.pipe)
        for stream in (self.control_stream, self.parent_stream):
            stream.close(linger=0)
        self.pipe.close()


# -- the progress bar


def open_engine_bars() -> Iterator[Any]:
    """The open progress bars that count engines, those of ipyparallel, the newest first.

    Needless if `Client.wait_for_engines` took a text to show. tqdm knows all open bars in a private set.
    """
    bars = [bar for bar in list(tqdm._instances) if bar.unit == ENGINE_UNIT and not bar.disable]
    yield from sorted(bars, key=lambda bar: float(bar.start_t), reverse=True)
