"""The only module that depends on undocumented parts of dask-jobqueue, distributed and tornado.

`tests/unit/parallel/dask/test_compat.py` fails when one of these parts is gone or has changed its shape in
the installed version; `pyproject.toml` sets the upper bounds. Each docstring says which change elsewhere
would make its object needless. The other packages are imported late, because each of Dask's processes needs
only some of them.
"""

from __future__ import annotations

import functools
import ssl
import sys
from collections.abc import Callable
from typing import Any

STDOUT, STDERR = "stdout:\n", "stderr:\n"
"""The texts before what sbatch printed, in the RuntimeError of dask_jobqueue's `Job._call`."""
SUBMIT_COMMAND = "sbatch --parsable"
JOB_ID = r"(?m)^\s*(?P<job_id>[0-9]+)(?:;\S+)?\s*$"
"""The line that is only an id. dask_jobqueue takes the first number that sbatch, or a plugin, prints."""
ROOT_CONFIG = "DASK_ROOT_CONFIG"
"""Dask's variable with the directory that it reads before all others, instead of /etc/dask."""
PLUGIN_NAME = "flatirons-losses"


# -- dask_jobqueue


def loaded_job_class() -> Any:
    """dask_jobqueue's class of a worker's job, if this process uses dask_jobqueue; else None."""
    module = sys.modules.get("dask_jobqueue.slurm")
    return module.SLURMJob if module else None


def follow_jobs(
    kind: Any,
    started: Callable[[int, str], None],
    closing: Callable[[int], None],
    explain: Callable[[str, str], Exception],
) -> None:
    """Replaces `start` and `close` of dask_jobqueue's job class; a second call changes nothing.

    Calls `started` with the job's id and the worker's name, and `closing` with the id before Dask cancels the
    job. When sbatch refuses the job, raises `explain` of what sbatch printed on standard output and error.
    Needless if dask_jobqueue used --parsable, had callbacks for submitted and cancelled jobs, and an error
    with sbatch's output.
    """
    if kind.start.__module__ != __name__:
        kind.submit_command, kind.job_id_regexp = SUBMIT_COMMAND, JOB_ID
        kind.start = _reporting_start(kind.start, started, explain)
        kind.close = _reporting_close(kind.close, closing)


def _reporting_start(
    start: Any, started: Callable[[int, str], None], explain: Callable[[str, str], Exception]
) -> Any:
    async def start_and_report(self: Any) -> None:
        try:
            await start(self)
        except RuntimeError as error:
            printed = sbatch_output(error)
            raise (error if printed is None else explain(*printed)) from None
        started(int(self.job_id), str(self.name))

    return start_and_report


def _reporting_close(close: Any, closing: Callable[[int], None]) -> Any:
    async def report_and_close(self: Any) -> None:
        if self.job_id:
            closing(int(self.job_id))
        await close(self)

    return report_and_close


def sbatch_output(error: RuntimeError) -> tuple[str, str] | None:
    """What sbatch printed on standard output and error, from dask_jobqueue's error; None for any other."""
    before, found, stderr = str(error).partition(STDERR)
    return (before.partition(STDOUT)[2], stderr) if found else None


def change_headers(kind: Any, change: Callable[[str, str], str]) -> None:
    """Makes the jobs of dask_jobqueue's class pass their header through `change`, with their log directory.

    The directory is "" for jobs without one. A second call changes nothing. Needless if dask_jobqueue quoted
    the paths in the lines #SBATCH -o and -e, and let a site choose the options for cores and memory.
    """
    if kind.job_script.__module__ == __name__:
        return
    original = kind.job_script

    def job_script(self: Any) -> str:
        header = self.job_header
        self.job_header = change(header, str(self.log_directory or ""))
        try:
            script: str = original(self)
        finally:
            self.job_header = header
        return script

    kind.job_script = job_script


# -- distributed


def was_expected(scheduler: Any, worker: str) -> bool:
    """Whether Dask itself ended the worker that it has just removed.

    Distributed logs that as an event of the worker. Needless if it passed `expected` on to `remove_worker`.
    """
    _, event = scheduler.get_events(worker)[-1]
    return bool(event.get("expected"))


def add_plugin(scheduler: Any, plugin: Any) -> None:
    """Makes the scheduler call an object's `add_worker` and `remove_worker`, as those of a SchedulerPlugin.

    Needless if the scheduler took any object with these methods.
    """
    from distributed.diagnostics.plugin import SchedulerPlugin

    class Plugin(SchedulerPlugin):  # type: ignore[misc,unused-ignore]
        add_worker = staticmethod(plugin.add_worker)
        remove_worker = staticmethod(plugin.remove_worker)

    scheduler.add_plugin(Plugin(), name=PLUGIN_NAME)


# -- tornado, and Python's ssl


def repair_tls_reads(stream: Any = None) -> None:
    """Makes a read that raises BrokenPipeError read again, once; a second call changes nothing.

    `stream` is the class to repair, by default tornado's SSLIOStream. OpenSSL has one queue of errors for
    each thread. When a peer disappears at the wrong moment, an error of its connection stays in the queue.
    Python before the fix of https://github.com/python/cpython/issues/148594 takes it for an error of the
    connection that is used next, and raises BrokenPipeError, which reading can't cause. With Python 3.13.5
    and OpenSSL 3.5 that ended most clusters of two workers within a second. Needless with a Python that has
    the fix.
    """
    if stream is None:
        from tornado.iostream import SSLIOStream as stream

    original = stream.read_from_fd
    if original.__module__ == __name__:
        return

    def read_from_fd(self: Any, buffer: Any) -> Any:
        try:
            return original(self, buffer)
        except BrokenPipeError:
            _clear_openssl_errors()
            return original(self, buffer)

    stream.read_from_fd = read_from_fd


def _clear_openssl_errors() -> None:
    """Empties this thread's queue of errors: making an SSL object does that. Python has no simpler way."""
    _tls_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())


@functools.cache
def _tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    return context
