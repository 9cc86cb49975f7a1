"""A SparkSession on a standalone cluster of its own: `spark = session(nodes=2)`.

Master and workers are a Slurm job in the notebook's image, one container on each node; the notebook's process
is the driver. All of them prove by a random secret that they belong together. The secret is in a file of mode
0600 in the user's home and reaches the driver's Java over its own connection: it is in no argv and no script.

The cluster ends with the session, with the kernel, and with the notebook: the job holds a connection to a
socket of this process, which the operating system ends when the process ends, however that happens.
"""

from __future__ import annotations

import atexit
import contextlib
import html
import os
import secrets
import shutil
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flatirons.errors import FlatironsError, OptionsRefused, SlurmError
from flatirons.parallel import address, messages
from flatirons.parallel.container import container, log_in
from flatirons.parallel.job_context import slurm_of
from flatirons.parallel.login_environment import of_own_job
from flatirons.parallel.node_health import Vigil
from flatirons.parallel.options import EngineOptions, resolve, typed
from flatirons.parallel.spark import job as spark_job
from flatirons.parallel.spark.node import PATIENCE, PAUSE, url_of_master
from flatirons.parallel.watch import Watch, wait_for
from flatirons.slurm import explain
from flatirons.slurm.model import Job
from flatirons.slurm.parse_cluster import expanded

FOLDER = Path(".local/state/flatirons/spark")
KEYWORDS = ("partition", "account", "qos", "reservation", "runtime", "cpus", "memory")
LINES_SHOWN = 12
_BACKLOG = 8  # connections that the operating system keeps; none is ever accepted


def session(
    nodes: int = 1, *, name: str = "notebook", conf: Mapping[str, Any] | None = None, **asked: Any
) -> Any:
    """A SparkSession: with one node in the notebook's own job, with more on a cluster in a job of its own.

    `asked`, each optional: `cpus` and `memory` (MiB, or "4G") of each node, as much as the notebook has if
    nothing is said; `partition`, `account`, `qos`, `reservation`, `runtime` as for engines. `conf` holds
    settings of Spark. Waits as long as the job does, and says why; an interrupt cancels it. Raises
    OptionsRefused, SubmitRefused or another FlatironsError with a sentence that says what to do.
    """
    options = _options(nodes, asked)
    job = of_own_job(os.environ)
    own = spark_job.own_size(job, len(os.sched_getaffinity(0)))
    _refuse_a_second()
    spark_job.with_users({}, conf or {})  # before a job is submitted for nothing
    with contextlib.ExitStack() as undo:
        java = undo.enter_context(contextlib.ExitStack())
        if nodes == 1:
            settings = spark_job.local_settings(spark_job.local_size(options, own))
            gateway = _launch(_driver_heap(own), java)
        else:
            cluster = Cluster(nodes, spark_job.node_size(options, own), resolve(options, job))
            undo.callback(cluster.end)
            cluster.submit()
            gateway = _launch(_driver_heap(own), java)  # while the job starts
            settings = cluster.settings()
        made = _made(name, spark_job.with_users(settings, conf or {}), gateway)
        _also_end(made, java.pop_all())
        _also_end(made.sparkContext, undo.pop_all())  # whose stop() the session's calls, and others may
    _show(made.sparkContext)
    return made


def _options(nodes: Any, asked: Mapping[str, Any]) -> EngineOptions:
    """What is asked of Slurm, as its types. Raises TypeError, OptionsRefused."""
    for name in asked:
        if name not in KEYWORDS:
            known = ", ".join(("nodes", "name", "conf", *KEYWORDS))
            raise TypeError(f"session() has no keyword {name!r}; it takes {known}.")
    refused, values = {}, {}
    if isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 1:
        refused["nodes"] = f"This is a whole number from 1 up, not {nodes!r}."
    for name, value in asked.items():
        try:
            if value not in ("", None):
                values[name] = typed(name, value)
        except ValueError as error:
            refused[name] = str(error)
    if refused:
        raise OptionsRefused(refused)
    return EngineOptions(**values)


def _refuse_a_second() -> None:
    try:
        from pyspark import SparkContext
    except ImportError:
        raise FlatironsError(
            "There is no PySpark here. Start a notebook in an environment that has it, such as pyspark."
        ) from None
    if SparkContext._active_spark_context is not None:
        raise FlatironsError("A Spark session is there already; end it first: spark.stop().")


def _driver_heap(own: tuple[int, int]) -> int:
    """MiB for the driver's Java: half of the notebook's memory, the rest is for the notebook itself."""
    return max(spark_job.LEAST_HEAP_MIB, own[1] // 2 or 2 * spark_job.LEAST_HEAP_MIB)


def _launch(heap_mib: int, undo: contextlib.ExitStack) -> Any:
    """A new Java for the driver, to be ended by `undo`: with it go its memory and what it knew of secrets.

    It starts without the settings: it would get them in its argv, which everybody on the node sees.
    """
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway

    if SparkContext._gateway is not None:  # of a session that wasn't ours, and is stopped
        _end_java(SparkContext._gateway)
    before = os.environ.get("SPARK_LOCAL_IP")
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"  # for the pages: no one else is to see them
    try:
        boot = SparkConf(loadDefaults=False).set("spark.driver.memory", f"{heap_mib}m")
        gateway = launch_gateway(boot)
    finally:
        if before is None:
            del os.environ["SPARK_LOCAL_IP"]
        else:
            os.environ["SPARK_LOCAL_IP"] = before
    undo.callback(_end_java, gateway)
    return gateway


def _end_java(gateway: Any) -> None:
    """Ends the driver's Java, and lets PySpark start another."""
    from pyspark import SparkContext

    gateway.shutdown()
    if gateway.proc is not None:
        gateway.proc.stdin.close()  # the sign for it to exit
        gateway.proc.wait()
    if SparkContext._gateway is gateway:
        SparkContext._gateway = SparkContext._jvm = None


def _made(name: str, settings: Mapping[str, str], gateway: Any) -> Any:
    """The session, as PySpark makes it."""
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession

    conf = SparkConf(loadDefaults=False).setAll(list(settings.items())).setAppName(name)
    return SparkSession(SparkContext(conf=conf, gateway=gateway))


def _also_end(thing: Any, undo: contextlib.ExitStack) -> None:
    """Makes `thing.stop()` end what belongs to it as well."""
    stop = thing.stop

    def stop_all() -> None:
        with undo:
            stop()

    thing.stop = stop_all


def _show(context: Any) -> None:
    """Tells where Spark's pages are for the user's browser: behind the notebook server."""
    port = str(context.uiWebUrl or "").rpartition(":")[2]
    if not port:
        return
    base = f"{os.environ.get('JUPYTERHUB_SERVICE_PREFIX', '/')}proxy/{port}"
    context._jvm.java.lang.System.setProperty("spark.ui.proxyBase", base)
    page = f"{base}/jobs/"
    text = f"Spark's pages: {page}"
    if "ipykernel" not in sys.modules:
        print(text)
        return
    from IPython.display import display

    link = f'<a href="{html.escape(page)}" target="_blank">Spark\'s pages</a>'
    display({"text/plain": text, "text/html": link}, raw=True)  # type: ignore[no-untyped-call]


class Cluster:
    """A standalone cluster as one Slurm job, from its submission to its end."""

    def __init__(self, nodes: int, size: spark_job.Size, options: EngineOptions) -> None:
        self.nodes, self.size, self.options = nodes, size, options
        self.address = address.of_this_node(of_own_job(os.environ))
        self.secret = secrets.token_hex(32)
        self.job_id = 0
        self.folder = Path.home() / FOLDER / secrets.token_hex(8)
        self.log = self.folder.with_suffix(".log")
        self.lifeline = socket.create_server((self.address, 0), backlog=_BACKLOG)
        os.register_at_fork(after_in_child=self.lifeline.close)  # a child that lives on must not keep it open
        self._watch: Watch | None = None
        self._last: Job | None = None
        self._told = ""
        self._vigil: Vigil | None = None
        self._lost: set[str] = set()
        self._over = threading.Event()
        self._is_up = False

    def submit(self) -> None:
        """Submits the job, and follows it from then on. Raises SubmitRefused, SlurmUnreachable."""
        atexit.register(self.end)
        self._write()
        spec = spark_job.job_spec(
            self.nodes, self.size, self.options, comment=self._comment(), log=str(self.log)
        )
        python = [*container(os.environ), sys.executable]
        script = spark_job.job_script(
            self.nodes,
            self.size,
            python,
            folder=str(self.folder),
            lifeline=self.lifeline.getsockname(),
            log_in=log_in(os.environ),
        )
        self.job_id = wait_for(slurm_of(os.environ).submit(spec, script, user=None))
        print(f"Spark is job {self.job_id}: {self.nodes} nodes with {self.size.cores} cores each.")
        self._watch = Watch(lambda: slurm_of(os.environ), self.job_id, self._changed, self._ended)
        self._watch.start()

    def settings(self) -> dict[str, str]:
        """The driver's settings, once the job runs and its master listens. Raises FlatironsError."""
        master = self._await_master()
        self._is_up = True
        return spark_job.cluster_settings(master, self.nodes, self.size, self.address, self.secret)

    def _comment(self) -> str:
        return f"flatirons-spark:{of_own_job(os.environ).get('SLURM_JOB_ID', '')}"

    def _write(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True)
        file = self.folder / spark_job.CONFIG
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(spark_job.daemons_settings(self.secret))

    def _await_master(self) -> str:
        """Its URL. Raises FlatironsError when the job ends before, or its master doesn't come up."""
        late = 0.0
        while True:
            if url := url_of_master(self.folder):
                return url
            if self._over.wait(PAUSE):
                raise FlatironsError(self._end_sentence())
            if not late and self._last and self._last.state.is_running:
                late = time.monotonic() + PATIENCE
            if late and time.monotonic() > late:
                raise FlatironsError(f"Spark (job {self.job_id}) didn't come up.{self._log_says()}")

    def _lose(self, node: str) -> None:
        if node not in self._lost:
            self._lost.add(node)
            print(messages.spark_lost(node, self.nodes - len(self._lost)))

    def _changed(self, job: Job) -> None:
        lost, self._last = messages.lost_nodes(self._last, job), job
        for node in lost:
            self._lose(node)
        if lost:
            return
        if job.state.is_waiting and job.reason not in ("", "None"):
            before, self._told = self._told, messages.waiting(job, "Spark", " waits")
            print(messages.news(self._told, before))
        elif job.state.is_running:
            print(f"Spark (job {job.id}) starts on {job.nodes}.")
            self._vigil = Vigil(expanded(job.nodes), self._lose)
            self._vigil.start()

    def _ended(self, job: Job) -> None:
        self._last = job
        self._over.set()
        if self._is_up:
            print(f"Spark (job {job.id}) is gone: {explain.end(job)} Call session() again to go on.")

    def _end_sentence(self) -> str:
        why = explain.end(self._last) if self._last else ""
        return f"Spark (job {self.job_id}) ended before it was up. {why}{self._log_says()}"

    def _log_says(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-LINES_SHOWN:]
        except OSError:
            return ""
        return "\n".join(["", f"The end of its log, {self.log}:", *lines]) if lines else ""

    def end(self) -> None:
        """Cancels the job and removes what it left in the home directory. A second time is no error."""
        atexit.unregister(self.end)
        if self._watch:
            self._watch.stop()
        if self._vigil:
            self._vigil.stop()
        self.lifeline.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._is_up:
            self.log.unlink(missing_ok=True)
        if not self.job_id:
            return
        job_id, self.job_id = self.job_id, 0
        try:
            wait_for(slurm_of(os.environ).cancel(job_id, user=None))
        except SlurmError as error:  # the lifeline ends it all the same
            print(f"Spark (job {job_id}) can't be cancelled: {error.user}", file=sys.stderr)
