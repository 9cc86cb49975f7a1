"""The undocumented parts of dask-jobqueue, distributed and tornado that `dask.compat` uses exist."""

from __future__ import annotations

import inspect
import ssl
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from dask_jobqueue.core import Job
from dask_jobqueue.slurm import SLURMJob
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.scheduler import Scheduler
from tornado.iostream import IOStream, SSLIOStream

from flatirons.parallel.dask import compat


def parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_a_workers_job_is_submitted_and_cancelled_by_the_methods_that_are_replaced() -> None:
    assert compat.loaded_job_class() is SLURMJob
    for name in ("start", "close"):
        method = getattr(SLURMJob, name)
        assert inspect.iscoroutinefunction(method)
        assert parameters(method) == ["self"]
    assert "self.job_id = self._job_id_from_submit_output(" in inspect.getsource(Job.start)
    assert "self.name = name" in inspect.getsource(Job)


def test_a_jobs_script_is_made_of_its_header_with_its_log_directory() -> None:
    assert parameters(SLURMJob.job_script) == ["self"]
    assert '"job_header": self.job_header' in inspect.getsource(SLURMJob.job_script)
    assert "self.job_script()" in inspect.getsource(Job.job_file)
    header = inspect.getsource(SLURMJob.__init__)
    assert '"#SBATCH -o %s/%s-%%J.out"' in header and '"#SBATCH -e %s/%s-%%J.err"' in header


async def test_the_error_of_a_command_ends_with_what_it_printed() -> None:
    code = "import sys; print('out'); print('sbatch: error: No.', file=sys.stderr); sys.exit(1)"
    with pytest.raises(RuntimeError) as failed:
        await Job._call([sys.executable, "-c", code])
    assert compat.sbatch_output(failed.value) == ("out\n\n", "sbatch: error: No.\n\n")
    assert compat.sbatch_output(RuntimeError("something else")) is None


@pytest.mark.parametrize("printed", ["7\n", "You have 50 jobs.\n7;summit\n", "7\n--> up to 2.00 SU\n"])
def test_a_workers_job_has_the_id_that_stands_alone_on_a_line(printed: str) -> None:
    kind = type("Followed", (SLURMJob,), {"start": SLURMJob.start, "close": SLURMJob.close})
    compat.follow_jobs(kind, lambda *_: None, lambda _: None, lambda *_: ValueError())
    assert kind.submit_command == "sbatch --parsable"
    assert SLURMJob.submit_command == "sbatch", "only the class that is followed is changed"
    assert SLURMJob._job_id_from_submit_output(kind.__new__(kind), printed) == "7"


def test_a_plugin_is_notified_of_workers_by_these_methods() -> None:
    assert parameters(SchedulerPlugin.add_worker) == ["self", "scheduler", "worker"]
    assert parameters(SchedulerPlugin.remove_worker) == [
        "self",
        "scheduler",
        "worker",
        "stimulus_id",
        "kwargs",
    ]
    assert parameters(Scheduler.add_plugin)[:2] == ["self", "plugin"]
    assert "name" in parameters(Scheduler.add_plugin)


def test_our_object_becomes_a_plugin_of_the_scheduler() -> None:
    calls: list[tuple[Any, ...]] = []
    ours = SimpleNamespace(
        add_worker=lambda scheduler, worker: calls.append(("add", worker)),
        remove_worker=lambda scheduler, worker, *, stimulus_id, **_: calls.append(("remove", worker)),
    )
    added: list[Any] = []
    compat.add_plugin(SimpleNamespace(add_plugin=lambda plugin, name: added.append((plugin, name))), ours)
    [(plugin, name)] = added
    assert isinstance(plugin, SchedulerPlugin) and name == compat.PLUGIN_NAME
    plugin.add_worker(scheduler=None, worker="tls://a")
    plugin.remove_worker(scheduler=None, worker="tls://a", stimulus_id="x")
    assert calls == [("add", "tls://a"), ("remove", "tls://a")]


def test_the_scheduler_logs_whether_a_workers_end_was_expected_before_it_notifies_plugins() -> None:
    code = inspect.getsource(Scheduler.remove_worker)
    assert '"expected": expected' in code
    assert code.index("self.log_event(address, event_msg") < code.index("plugin.remove_worker")
    assert parameters(Scheduler.get_events) == ["self", "topic"]
    events = ((0.0, {"action": "add-worker"}), (1.0, {"action": "remove-worker", "expected": True}))
    assert compat.was_expected(SimpleNamespace(get_events=lambda topic: events), "tls://a")


def test_dask_reads_the_directory_of_this_variable_first() -> None:
    import dask.config

    assert f'os.getenv("{compat.ROOT_CONFIG}", "/etc/dask")' in inspect.getsource(dask.config)


def test_dask_imports_preloads_and_calls_their_dask_setup() -> None:
    import distributed.preloading

    assert '"dask_setup"' in inspect.getsource(distributed.preloading)


def test_tornado_reads_from_an_encrypted_connection_by_the_method_that_is_repaired() -> None:
    assert "read_from_fd" in vars(SSLIOStream)
    assert parameters(SSLIOStream.read_from_fd) in (["self", "buf"], ["self", "buffer"])
    assert parameters(IOStream.read_from_fd) == ["self", "buf"]


def test_the_method_of_tornado_is_repaired_once_and_passes_reads_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SSLIOStream, "read_from_fd", SSLIOStream.read_from_fd)
    compat.repair_tls_reads()
    repaired = SSLIOStream.read_from_fd
    compat.repair_tls_reads()
    assert SSLIOStream.read_from_fd is repaired
    stream = SimpleNamespace(_ssl_accepting=False, socket=SimpleNamespace(recv_into=lambda buf, size: size))
    assert repaired(stream, bytearray(5)) == 5


def test_python_empties_openssls_queue_of_errors_when_it_makes_an_object() -> None:
    """The only way that Python offers; see the docstring of `repair_tls_reads`."""
    compat._clear_openssl_errors()
    assert issubclass(ssl.SSLObject, object)


async def test_a_real_scheduler_loads_our_module_and_has_our_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("start", "close", "submit_command", "job_id_regexp"):
        monkeypatch.setattr(SLURMJob, name, getattr(SLURMJob, name))
    words = {"host": "127.0.0.1", "port": 0, "dashboard": False, "preload": ["flatirons.parallel.dask.jobs"]}
    async with Scheduler(**words) as scheduler:
        plugin = scheduler.plugins[compat.PLUGIN_NAME]
        assert isinstance(plugin, SchedulerPlugin)
        assert SLURMJob.start.__module__ == compat.__name__
        scheduler.log_event("tls://a", {"action": "remove-worker", "expected": True})
        assert compat.was_expected(scheduler, "tls://a")
