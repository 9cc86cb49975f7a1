"""A standalone Spark cluster as one Slurm job, from its submission to its end.

Master and workers run in the notebook's image, one container on each node. They and the driver share a random
secret. It is in a file of mode 0600 in the user's home directory, and in no argv and no script.

The cluster ends with the session, with the kernel and with the notebook: its job holds a connection to the
liveness port of this process, which the operating system closes when the process ends for whatever reason.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import sys
import threading
import time
from pathlib import Path

from flatirons.errors import FlatironsError, SlurmError
from flatirons.files import write_atomically
from flatirons.parallel import address, messages
from flatirons.parallel.background import run_sync
from flatirons.parallel.container import login_lines, task_container
from flatirons.parallel.job_context import read_spelling, slurm_client
from flatirons.parallel.job_specs import open_log
from flatirons.parallel.job_watch import JobWatch
from flatirons.parallel.liveness import LivenessPort
from flatirons.parallel.login_environment import job_environment
from flatirons.parallel.node_health import NodeHealth
from flatirons.parallel.options import EngineOptions
from flatirons.parallel.spark import job as spark_job
from flatirons.parallel.spark.node import MASTER_TIMEOUT, POLL_PAUSE, find_master
from flatirons.slurm.hostlist import expanded
from flatirons.slurm.model import Job

FOLDER = Path(".local/state/flatirons/spark")
LINES_SHOWN = 12


class SparkCluster:
    """A master and its workers. The caller must call `end`, at the latest when the process ends."""

    def __init__(self, nodes: int, size: spark_job.NodeSize, options: EngineOptions) -> None:
        self.nodes, self.size, self.options = nodes, size, options
        self.address = address.of_this_node(job_environment(os.environ))
        self.secret = secrets.token_hex(32)
        self.job_id = 0
        self.folder = Path.home() / FOLDER / secrets.token_hex(8)
        self.log = self.folder.with_suffix(".log")
        self.liveness = LivenessPort(self.address)
        self._watch: JobWatch | None = None
        self._health: NodeHealth | None = None
        self._last: Job | None = None
        self._shown = ""
        self._lost: set[str] = set()
        self._is_over = threading.Event()
        self._is_up = False

    def submit(self) -> None:
        """Submits the job, and watches it from then on. Raises SubmitRefused, SlurmUnreachable."""
        atexit.register(self.end)
        self.folder.mkdir(mode=0o700, parents=True)
        write_atomically(self.folder / spark_job.CONFIG, spark_job.daemon_settings(self.secret))
        self.liveness.write_key(self.folder / spark_job.LIVENESS_KEY)
        self.liveness.start()
        comment = f"flatirons-spark:{job_environment(os.environ).get('SLURM_JOB_ID', '')}"
        spec = spark_job.job_spec(self.nodes, self.size, self.options, comment=comment, log=str(self.log))
        script = spark_job.job_script(
            self.nodes,
            self.size,
            [*task_container(os.environ, {}), sys.executable],
            folder=str(self.folder),
            notebook=(self.liveness.host, self.liveness.port),
            login=open_log(str(self.log)) + login_lines(os.environ),
            spelling=read_spelling(os.environ),
        )
        self.job_id = run_sync(slurm_client(os.environ).submit(spec, script, user=None))
        print(f"Spark is job {self.job_id}: {self.nodes} nodes with {self.size.cores} cores each.")
        self._watch = JobWatch(
            lambda: slurm_client(os.environ), self.job_id, self._job_changed, self._job_ended
        )
        self._watch.start()

    def wait_for_settings(self) -> dict[str, str]:
        """The driver's settings, as soon as the master listens. Raises FlatironsError."""
        master = self._wait_for_master()
        self._is_up = True
        return spark_job.cluster_settings(master, self.nodes, self.size, self.address, self.secret)

    def _wait_for_master(self) -> str:
        """The master's URL. Raises FlatironsError when the job ends first, or the master doesn't start."""
        deadline = 0.0
        while True:
            if url := find_master(self.folder):
                return url
            if self._is_over.wait(POLL_PAUSE):
                raise FlatironsError(self._describe_end())
            if not deadline and self._last and self._last.state.is_running:
                deadline = time.monotonic() + MASTER_TIMEOUT
            if deadline and time.monotonic() > deadline:
                raise FlatironsError(f"Spark (job {self.job_id}) did not start.{self._read_log_end()}")

    def _report_lost(self, node: str) -> None:
        if node not in self._lost:
            self._lost.add(node)
            print(messages.executor_lost(node, self.nodes - len(self._lost)))

    def _job_changed(self, job: Job) -> None:
        lost, self._last = messages.find_lost_nodes(self._last, job), job
        for node in lost:
            self._report_lost(node)
        if lost:
            return
        if job.state.is_waiting and job.reason not in ("", "None"):
            before, self._shown = self._shown, messages.waiting(job, "Spark", " waits")
            print(messages.new_part(self._shown, before))
        elif job.state.is_running:
            print(f"Spark (job {job.id}) starts on {job.nodes}.")
            self._health = NodeHealth(expanded(job.nodes), self._report_lost)
            self._health.start()

    def _job_ended(self, job: Job) -> None:
        self._last = job
        self._is_over.set()
        if self._is_up:
            print(
                f"Spark (job {job.id}) has ended: {messages.why_ended(job)} "
                "For a new cluster, call session() again."
            )

    def _describe_end(self) -> str:
        why = messages.why_ended(self._last) if self._last else ""
        return f"Spark (job {self.job_id}) ended before it had started. {why}{self._read_log_end()}"

    def _read_log_end(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-LINES_SHOWN:]
        except OSError:
            return ""
        return "\n".join(["", f"The end of its log, {self.log}:", *lines]) if lines else ""

    def end(self) -> None:
        """Cancels the job and removes its files from the home directory. A second call changes nothing."""
        atexit.unregister(self.end)
        for work in (self._watch, self._health):
            if work:
                work.stop()
        self.liveness.close()
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._is_up:
            self.log.unlink(missing_ok=True)
        if not self.job_id:
            return
        job_id, self.job_id = self.job_id, 0
        try:
            run_sync(slurm_client(os.environ).cancel(job_id, user=None))
        except SlurmError as error:  # the job ends anyway, because the liveness port is closed
            print(f"Spark (job {job_id}) can't be cancelled: {error.user}", file=sys.stderr)
