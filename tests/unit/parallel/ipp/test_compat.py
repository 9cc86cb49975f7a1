"""The private parts of ipyparallel and tqdm that `ipp.compat` uses still exist, in the same shape."""

from __future__ import annotations

import ast
import inspect
import io
import os
import pickle
import signal
import textwrap
from collections.abc import Callable
from contextlib import redirect_stdout
from types import SimpleNamespace
from typing import Any

import ipyparallel
import pytest
from ipyparallel.client.client import Client
from ipyparallel.cluster.launcher import BaseLauncher, LocalProcessLauncher
from ipyparallel.controller.app import IPController
from ipyparallel.engine import app as engine_app
from ipyparallel.engine.app import IPEngine
from ipyparallel.engine.nanny import KernelNanny
from ipyparallel.util import progress
from traitlets import Float, Int, List

from flatirons.parallel.ipp import compat
from flatirons.parallel.ipp.compat import (
    EngineNanny,
    HookedController,
    HookedEngine,
    StopData,
    ThreadedProcessLauncher,
)


def parameters(function: Callable[..., Any]) -> list[str]:
    """The names of a function's parameters."""
    return list(inspect.signature(function).parameters)


def source(thing: Any) -> ast.Module:
    return ast.parse(textwrap.dedent(inspect.getsource(thing)))


def calls(thing: Any) -> list[str]:
    """What a function or class calls, as it is written: `self._wait`."""
    return [ast.unparse(node.func) for node in ast.walk(source(thing)) if isinstance(node, ast.Call)]


def reads(thing: Any) -> set[str]:
    """The attributes that a function or class uses, as they are written."""
    return {ast.unparse(node) for node in ast.walk(source(thing)) if isinstance(node, ast.Attribute)}


# -- the cluster


@pytest.mark.parametrize(("name", "value"), [("engine_timeout", 60), ("delay", 1.0)])
def test_a_cluster_has_these_traits_with_these_defaults(name: str, value: float) -> None:
    trait = getattr(ipyparallel.Cluster, name)
    assert trait.default_value == value
    assert trait.metadata["config"]
    assert isinstance(trait, Int | Float)


def test_a_cluster_waits_with_these_settings() -> None:
    assert "self.engine_timeout" in reads(ipyparallel.Cluster.start_and_connect)
    assert "self.delay" in reads(ipyparallel.Cluster.start_cluster)


def test_a_trait_is_made_to_remember_once() -> None:
    compat.record_settings("engine_timeout")
    before = type(ipyparallel.Cluster.engine_timeout)
    compat.record_settings("engine_timeout")
    assert type(ipyparallel.Cluster.engine_timeout) is before


def test_the_default_of_the_controllers_launcher_is_read_when_a_cluster_needs_it() -> None:
    trait = ipyparallel.Cluster.controller_launcher_class
    before = trait.default_value
    cluster = ipyparallel.Cluster(parent=None, profile_dir="/nonexistent")
    try:
        compat.make_default_controller(LocalProcessLauncher)
        assert cluster.controller_launcher_class is LocalProcessLauncher
    finally:
        trait.default_value = before


def test_a_cluster_makes_its_clients_with_connect_client() -> None:
    assert inspect.iscoroutinefunction(ipyparallel.Cluster.connect_client)
    assert "self.connect_client" in calls(ipyparallel.Cluster.start_and_connect)


async def test_each_new_client_of_a_cluster_is_passed_on() -> None:
    async def connect_client(**words: Any) -> dict[str, Any]:
        return words

    cluster, clients = SimpleNamespace(connect_client=connect_client), []
    compat.call_with_clients(cluster, clients.append)
    assert await cluster.connect_client(timeout=3) == {"timeout": 3}
    assert clients == [{"timeout": 3}]


def test_a_cluster_passes_the_connection_file_on_to_engines_in_this_variable() -> None:
    assert f'environment["{compat.CONNECTION_INFO}"]' in inspect.getsource(ipyparallel.Cluster.start_engines)


def test_a_cluster_registers_for_the_end_of_engines_and_shows_the_data_as_it_is() -> None:
    assert "engine_set.on_stop" in calls(ipyparallel.Cluster.start_engines)
    assert "es.on_stop" in calls(Client.wait_for_engines)
    assert "{stop_data}" in inspect.getsource(ipyparallel.Cluster._engines_stopped)
    assert str(StopData(exit_code=1, why="They ended.")) == "They ended."
    assert StopData(exit_code=1, why="They ended.").get("exit_code") == 1


def test_the_file_of_a_cluster_has_its_sets_where_the_controller_looks() -> None:
    cluster = ipyparallel.Cluster(parent=None, profile_dir="/nonexistent", cluster_id="abc")
    assert cluster.to_dict()["engines"]["sets"] == {}
    assert cluster.cluster_file == "/nonexistent/security/cluster-abc.json"


# -- the client


def test_a_client_has_a_list_of_callbacks_for_engines_that_come_and_go() -> None:
    assert isinstance(Client._registration_callbacks, List)
    for method in (Client._register_engine, Client._unregister_engine):
        assert "self._registration_callbacks" in reads(method)
        [callback] = [node for node in ast.walk(source(method)) if isinstance(node, ast.For)][-1:]
        assert ast.unparse(callback.body[0]) == "callback(event)"


def test_a_client_knows_the_names_of_its_engines_by_their_ids() -> None:
    assert "self._engines" in reads(Client._update_engines)
    client = SimpleNamespace(_engines={0: "a@n1", 1: "b@n2"}, _registration_callbacks=[])
    assert compat.engine_names(client) == ["a@n1", "b@n2"]
    compat.on_engine_event(client, print)
    assert client._registration_callbacks == [print]


# -- the launchers


def test_a_launcher_starts_to_wait_and_reconstructs_processes_by_these_methods() -> None:
    assert "self._start_waiting" in calls(LocalProcessLauncher.start)
    assert {"self._start_waiting", "psutil.Process"} <= set(calls(LocalProcessLauncher._reconstruct_process))
    assert "self.process" in reads(LocalProcessLauncher.start)
    assert {"_wait", "_wait_thread", "_popen_process"} <= set(vars(LocalProcessLauncher))


def test_the_end_of_a_process_is_reported_from_a_thread(tmp_path: Any) -> None:
    ends: list[int | None] = []

    class Launcher(ThreadedProcessLauncher):
        def process_ended(self, code: int | None) -> None:
            ends.append(code)

    words = {"work_dir": str(tmp_path), "output_file": str(tmp_path / "log")}
    launcher = Launcher(cmd_and_args=["sh", "-c", "exit 3"], **words)
    launcher.start()
    assert launcher.wait_for_end(10)
    assert ends == [3]
    again = Launcher(**words)
    again.find_process(os.getpid())
    assert not again.wait_for_end(0)


def test_a_launcher_has_what_a_subclass_uses() -> None:
    assert parameters(BaseLauncher.notify_stop) == ["self", "data"]
    assert parameters(BaseLauncher.notify_start) == ["self", "data"]
    assert {"state", "stop_data", "loop"} <= {*dir(BaseLauncher)}


def test_a_launchers_loop_is_tornados_with_asyncios_inside() -> None:
    launcher = BaseLauncher(work_dir=".")
    compat.bind_loop(launcher)
    assert not launcher.loop.asyncio_loop.is_closed()
    launcher.loop.close()
    ends: list[Any] = []
    launcher.notify_stop = ends.append
    data = StopData(why="over")
    compat.report_end(launcher, data)
    assert ends == [data]


# -- the controller


@pytest.mark.parametrize(
    ("hook", "words"),
    [
        ("init_hub", ["self"]),
        ("next_port", ["self", "pool_name"]),
        ("save_connection_dict", ["self", "fname", "cdict"]),
        ("handle_signal", ["self", "sig", "frame"]),
    ],
)
def test_a_controller_has_the_methods_that_are_replaced_or_called(hook: str, words: list[str]) -> None:
    assert parameters(getattr(IPController, hook)) == words


@pytest.mark.parametrize(
    "name", ["engine_json_file", "client_json_file", "engine_ip", "reuse_files", "profile_dir", "cluster_id"]
)
def test_a_controller_has_these_attributes(name: str) -> None:
    assert hasattr(IPController, name)


def test_a_controller_calls_its_hooks() -> None:
    whole = calls(IPController)
    assert "self.init_hub" in whole
    assert "self.next_port" in whole
    assert "self.save_connection_dict" in whole


def test_ours_adds_nothing_that_ipyparallels_controller_has_by_the_same_name() -> None:
    ours = {"before_hub", "is_free", "engine_connection_items", "cluster_file", "end_when_readable"}
    ours.add("remove_connection_files")
    assert not ours & set(dir(IPController))
    assert ours <= set(vars(HookedController))


# -- the engine and its nanny


def test_an_engine_gets_its_nanny_by_the_method_that_is_replaced() -> None:
    assert parameters(IPEngine.start_nanny) == ["self", "control_url"]
    assert "self.start_nanny" in calls(IPEngine)
    assert "self._signal_stop" in reads(IPEngine)
    assert parameters(IPEngine._signal_stop) == ["self", "sig", "frame"]


def test_the_nanny_takes_what_an_engine_gives_it() -> None:
    requests: list[dict[str, Any]] = []

    class Engine(HookedEngine):
        def request_nanny(self, arguments: dict[str, Any]) -> tuple[str, None]:
            requests.append(arguments)
            return "tcp://127.0.0.1:1", None

    assert Engine(id=3).start_nanny("tcp://127.0.0.1:2") == ("tcp://127.0.0.1:1", None)
    [arguments] = requests
    required = inspect.signature(KernelNanny).parameters.values()
    wanted = {each.name for each in required if each.default is inspect.Parameter.empty}
    assert {*arguments, "pipe"} == wanted
    given = {
        keyword.arg
        for node in ast.walk(source(IPEngine.start_nanny))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
    }
    assert given | {"pid"} == set(arguments), "ipyparallel gives its own nanny something else"
    nanny = EngineNanny(pickle.loads(pickle.dumps(arguments)), io.StringIO())
    assert (nanny.engine_id, nanny.pid) == (3, os.getpid())


def test_a_nanny_has_the_methods_and_attributes_that_are_replaced_or_used() -> None:
    for name, words in {
        "wait_for_parent_thread": ["self"],
        "pipe_handler": ["self", "fd", "events"],
        "finish": ["self"],
        "notify_exit": ["self"],
    }.items():
        assert parameters(getattr(KernelNanny, name)) == words
    used = {f"self.{name}" for name in ("loop", "pipe", "control_stream", "parent_stream")}
    assert used <= reads(KernelNanny.start)
    assert {"self.wait_for_parent_thread", "self.pipe_handler"} <= reads(KernelNanny.start)


def test_ipyparallels_engine_still_starts_a_python_for_each_nanny() -> None:
    """When it doesn't, HookedEngine is needless."""
    assert "Popen" in calls(engine_app.start_nanny)


def test_an_error_of_the_loop_counts_unless_a_signal_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(self: Any) -> None:
        raise RuntimeError("the loop")

    monkeypatch.setattr(IPEngine, "start", fail)
    monkeypatch.setattr(IPEngine, "_signal_stop", lambda self, sig, frame: None)
    engine = HookedEngine()
    with pytest.raises(RuntimeError, match="the loop"):
        engine.start()
    engine._signal_stop(signal.SIGTERM, None)
    engine.start()


# -- the progress bar


def test_ipyparallel_counts_engines_on_a_bar_with_this_unit() -> None:
    assert f"unit='{compat.ENGINE_UNIT}'" in inspect.getsource(Client.wait_for_engines)


def test_tqdm_knows_its_open_bars_with_their_units_and_when_they_began() -> None:
    with redirect_stdout(io.StringIO()):
        bars = [
            progress(widget=False, total=2, unit="engine"),
            progress(widget=False, total=2, unit="engine"),
        ]
        other = progress(widget=False, total=2, unit="file")
        assert list(compat.open_engine_bars()) == bars[::-1]
        for bar in (*bars, other):
            bar.close()
        assert list(compat.open_engine_bars()) == []
