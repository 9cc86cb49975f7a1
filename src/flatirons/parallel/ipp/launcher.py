"""What ipyparallel starts by the name `flatirons`: engines as a Slurm job, and a controller for them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ipyparallel.cluster.launcher import EngineLauncher, LocalControllerLauncher, NotRunning
from traitlets import Integer, Unicode, default

from flatirons.errors import FlatironsError, OptionsRefused, SlurmError, SlurmUnreachable
from flatirons.parallel import address, login_environment, messages
from flatirons.parallel.background import run_sync
from flatirons.parallel.container import login_lines, task_container
from flatirons.parallel.ipp import compat, engines
from flatirons.parallel.ipp.compat import StopData
from flatirons.parallel.ipp.engine_registry import EngineRegistry
from flatirons.parallel.ipp.option_traits import OptionTraits
from flatirons.parallel.ipp.set_progress import EngineSetProgress
from flatirons.parallel.ipp.step import SrunStep
from flatirons.parallel.job_context import OWNER_PID, find_job, read_spelling, signal_steps, slurm_client
from flatirons.parallel.job_specs import open_log
from flatirons.parallel.job_watch import JobWatch, query_job
from flatirons.parallel.options import EngineOptions, resolve
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Job, JobSpec, JobState

NO_TIMEOUT = -1
STOPPED = "they were stopped."
STOP_PAUSE = 0.5  # seconds between two queries for a job that was cancelled


class FlatironsEngineSetLauncher(OptionTraits, EngineLauncher):
    """Starts a set of engines in the notebook's own container: as one Slurm job, or in the notebook's job."""

    entrypoint_name = "flatirons"

    job_id = Integer(help="Id of the set's own Slurm job; 0 before it is submitted.").tag(to_dict=True)
    output_file = Unicode(config=True, help="File for the engines' output.").tag(to_dict=True)
    step_pid = Integer(help="Process id of srun, for engines in the notebook's job.").tag(to_dict=True)

    watch: JobWatch | None = None
    step: SrunStep | None = None
    progress: EngineSetProgress | None = None
    output = ""

    @default("output_file")
    def _default_output_file(self) -> str:
        return str(Path(self.profile_dir) / "log" / f"{self.identifier}.log")

    @property
    def is_forked(self) -> bool:
        """Whether the engines of a node are forked from one process: neither MPI nor another engine_cmd."""
        return not self.mpi and self.engine_cmd == compat.ENGINE_COMMAND

    def find_args(self) -> list[str]:
        """The argv of a task, which is all engines of a node or one engine, in the notebook's container."""
        return self._task_argv(self.environment_without_keys())

    def _task_argv(self, given: Mapping[str, str]) -> list[str]:
        """The same; `given` are the variables that the notebook or its user set for the task."""
        is_ours = self.is_forked or self.engine_cmd == compat.ENGINE_COMMAND
        command = [sys.executable, "-m", "flatirons.parallel.ipp.node"] if is_ours else self.engine_cmd
        more = [*(["--mpi"] if self.mpi else []), *self.engine_args]
        engine = engines.engine_argv(command, self.profile_dir, self.cluster_id, more)
        return [*task_container(os.environ, given), *engine]

    # -- start

    async def start(self, n: int) -> int:
        """Starts the set; its job may still have to wait. Returns the id of its job, or srun's process id.

        Raises FlatironsError.
        """
        self.n = n
        try:
            options = resolve(self.engine_options(), self._job())
            Path(self.output_file).parent.mkdir(parents=True, exist_ok=True)
            if options.inside:
                self._start_inside(n, options)
            else:
                self.job_id = await self._submit(n, options)
                self._start_watching()
        except FlatironsError as error:
            self.notify_stop(StopData(exit_code=1, why=error.user))
            raise
        self.notify_start(self.job_id or self.step_pid)
        self._remove_timeout()
        return self.job_id or self.step_pid

    async def _submit(self, n: int, options: EngineOptions) -> int:
        spec = engines.job_spec(
            n,
            options,
            read_spelling(os.environ),
            comment=self._comment(),
            folder=os.getcwd(),
            log=self.output_file,
        )
        job_id = await self._send(spec, self._script(n, options))
        self.log.info("Engines are job %s%s.", job_id, f" in {spec.partition}" if spec.partition else "")
        return job_id

    def _start_inside(self, n: int, options: EngineOptions) -> None:
        """Starts a step of the notebook's own job."""
        engines.refuse_job_options(self.engine_options())
        if not self.is_forked:
            raise OptionsRefused(
                {"inside": "Engines with MPI or with another engine_cmd need a separate job."}
            )
        job = self._job()
        placed = engines.place_inside(n, options, job)
        task = self._task_argv({**os.environ, **self.environment_without_keys()})
        line = engines.step_argv(
            job["SLURM_JOB_ID"],
            self._step_name(),
            placed,
            task,
            self._controller(),
            read_spelling(os.environ),
        )
        self.step = self._make_step(cmd_and_args=[*login_environment.env_command(os.environ), *line])
        self.step.start()
        self.step_pid = self.step.pid
        self.log.info("Engines start inside the notebook's job (%s).", job["SLURM_JOB_ID"])

    def _make_step(self, **traits: Any) -> SrunStep:
        compat.bind_loop(self)
        return SrunStep(
            parent=self.parent,
            log=self.log,
            output_file=self.output_file,
            environment=self.environment_without_keys(),
            on_end=self._step_ended,
            **traits,
        )

    def _step_name(self) -> str:
        return f"ipengines-{self.engine_set_id}"

    def _job(self) -> Mapping[str, str]:
        return login_environment.job_environment(os.environ)

    def _comment(self) -> str:
        """The job's comment, by which it can be found again; it names the notebook's job."""
        notebook = self._job().get("SLURM_JOB_ID", "")
        return f"flatirons-engines:{notebook}:{self.cluster_id}:{self.engine_set_id}"

    def _controller(self) -> engines.ControllerAddress | None:
        return engines.ControllerAddress.parse(self.environment.get(compat.CONNECTION_INFO, ""))

    def _script(self, n: int, options: EngineOptions) -> str:
        """The batch script. Slurm keeps scripts, so keys stay in the profile's connection file."""
        return engines.job_script(
            n,
            options,
            self.find_args(),
            environment=self.environment_without_keys(),
            controller=self._controller(),
            is_forked=self.is_forked,
            login=open_log(self.output_file) + login_lines(os.environ),
            spelling=read_spelling(os.environ),
        )

    async def _send(self, spec: JobSpec, script: str) -> int:
        slurm = slurm_client(os.environ)
        try:
            return await slurm.submit(spec, script, user=None)
        except SlurmUnreachable:  # Slurm may have accepted the job although its answer was lost
            job_id = await find_job(slurm, spec.comment)
            if not job_id:
                raise
            return job_id

    def environment_without_keys(self) -> dict[str, str]:
        """The variables that the user set for the engines."""
        return {name: text for name, text in self.environment.items() if not name.startswith("IPP_")}

    def _remove_timeout(self) -> None:
        """Waits for the engines for as long as their job lasts, unless the user set `engine_timeout`.

        ipyparallel's default of a minute doesn't allow for a queue.
        """
        if self.parent is not None and compat.is_default(self.parent, "engine_timeout"):
            self.parent.engine_timeout = NO_TIMEOUT

    # -- stop

    async def stop(self) -> None:
        """Ends the set and returns when it is gone. Raises SlurmError, TimeoutError."""
        if self.watch:
            self.watch.stop()
        if self.progress:
            self.progress.close_bar("stopped")
        if self.state != "running":
            return
        if self.step:
            await self._stop_step(self.step)
        else:
            await self._stop_job()

    async def _stop_step(self, step: SrunStep) -> None:
        if not await asyncio.to_thread(step.end, self.stop_timeout):
            raise TimeoutError(f"srun (process {self.step_pid}) did not end in {self.stop_timeout} seconds.")
        self.notify_stop(StopData(pid=self.step_pid, exit_code=0, why=STOPPED))

    async def _stop_job(self) -> None:
        slurm = slurm_client(os.environ)
        await slurm.cancel(self.job_id, user=None)
        async with asyncio.timeout(self.stop_timeout):
            state = await self._wait_for_end(slurm)
        self.notify_stop(StopData(job_id=self.job_id, state=state.value, exit_code=0, why=STOPPED))

    async def _wait_for_end(self, slurm: SlurmClient) -> JobState:
        while True:
            job = await slurm.job(self.job_id)
            if job is None or job.state.is_over:
                return job.state if job else JobState.VANISHED
            await asyncio.sleep(STOP_PAUSE)

    async def signal(self, sig: int | str) -> None:
        """Sends a signal, given by its number or name, to every engine."""
        if self.state == "running":
            job = int(self._job()["SLURM_JOB_ID"]) if self.step else self.job_id
            name = self._step_name() if self.step else ""
            text = str(int(sig)) if isinstance(sig, int) else sig
            await signal_steps(os.environ, job, text, name)

    async def join(self, timeout: float | None = None) -> None:
        """Returns when the set has ended. Raises TimeoutError."""
        wait = self.step.wait_for_end if self.step else self.watch.join if self.watch else None
        if wait and not await asyncio.to_thread(wait, timeout):
            raise TimeoutError(f"Engines (job {self.job_id}) did not end in {timeout} seconds.")

    def poll(self) -> int | None:
        """The set's exit code, or None as long as it isn't known to have ended. Does not query Slurm."""
        return self.stop_data.get("exit_code") if self.state == "after" else None

    def get_output(self, remove: bool = False) -> str:
        """What the engines have printed so far, or had printed when their log was removed."""
        path = Path(self.output_file)
        if path.is_file():
            self.output = path.read_text(errors="replace")
        if remove:
            path.unlink(missing_ok=True)
        return self.output

    # -- found again by another process

    @classmethod
    def from_dict(cls, d: dict[str, Any], **kwargs: Any) -> FlatironsEngineSetLauncher:
        """The set that another process has started. Raises NotRunning when its job is over.

        If Slurm doesn't answer, the set counts as running: a failed query says nothing about a job.
        """
        self: FlatironsEngineSetLauncher = super().from_dict(d, **kwargs)
        if not self.job_id and not self.step_pid:
            raise NotRunning("The engines were never submitted.")
        if self.step_pid:
            self.step = self._make_step()
            self.step.find_process(self.step_pid)
        else:
            self._start_watching(self._query())
        return self

    def _query(self) -> Job | None:
        try:
            job = run_sync(query_job(slurm_client(os.environ), self.job_id))
        except SlurmError as error:
            self.log.warning("Job %s of engines may have ended: %s", self.job_id, error)
            return None
        if job.state.is_over:
            raise NotRunning(f"Job {self.job_id} has ended: {job.state.value}.")
        return job

    # -- while it runs

    def _start_watching(self, known: Job | None = None) -> None:
        compat.bind_loop(self)
        registry = EngineRegistry.of(self.parent) if self.parent is not None else None
        self.progress = progress = EngineSetProgress(self.log, registry, known)
        self.watch = JobWatch(
            lambda: slurm_client(os.environ),
            self.job_id,
            progress.log_change,
            self._job_ended,
            known,
            progress.update_bar,
        )
        self.watch.start()

    def on_stop(self, f: Any) -> Any:
        """Registers `f`, to be called when the set has ended.

        ipyparallel calls this also when it has just opened a progress bar to wait for engines.
        """
        result = super().on_stop(f)
        if self.progress and self.state == "running":
            self.progress.attach_to_newest_bar()
        return result

    def _job_ended(self, job: Job) -> None:
        status = job.exit_code or job.signal or int(job.state is not JobState.COMPLETED)
        why = f"Engines (job {job.id}) have ended: {messages.why_ended(job)}"
        if self.progress:
            self.progress.close_bar()
        compat.report_end(self, StopData(job_id=job.id, state=job.state.value, exit_code=status, why=why))

    def _step_ended(self, code: int | None) -> None:
        why = "The engines inside the notebook's job have ended. See their log, then start the set again."
        compat.report_end(self, StopData(pid=self.step_pid, exit_code=code or 0, why=why))


class FlatironsControllerLauncher(LocalControllerLauncher):
    """Starts a controller in the notebook's job. For our engines it listens on the node's own address only.

    For other engines it is ipyparallel's own controller, which listens on the loopback address.
    """

    entrypoint_name = "flatirons"

    controller_args: Any  # traits of ipyparallel's class
    controller_cmd: Any
    environment: Any

    async def start(self) -> None:
        """Starts the controller. Raises FlatironsError when the node has no address to listen on."""
        if self._is_for_our_engines():
            await self._set_address()
            self._set_command()
            self._remove_delay()
        super().start()

    async def _set_address(self) -> None:
        if not any(word.startswith(("--ip=", "--IPController.ip=")) for word in self.controller_args):
            job = login_environment.job_environment(os.environ)
            own = await asyncio.to_thread(address.of_this_node, job)
            self.controller_args = [*self.controller_args, f"--ip={own}", f"--location={own}"]

    def _set_command(self) -> None:
        """Chooses the controller that ends its engines; it ends with this process, unless it is to outlive
        it."""
        if self.controller_cmd == compat.CONTROLLER_COMMAND:
            self.controller_cmd = [sys.executable, "-m", "flatirons.parallel.ipp.controller"]
        if getattr(self.parent, "shutdown_atexit", False):
            self.environment = {**self.environment, OWNER_PID: str(os.getpid())}

    def _remove_delay(self) -> None:
        """Removes the pause before the engines start, unless the user set `delay`.

        They are submitted when the connection files exist, so they need no pause.
        """
        if self.parent.send_engines_connection_env and compat.is_default(self.parent, "delay"):
            self.parent.delay = 0

    def _is_for_our_engines(self) -> bool:
        launcher = getattr(self.parent, "engine_launcher_class", None)
        return isinstance(launcher, type) and issubclass(launcher, FlatironsEngineSetLauncher)


# ipyparallel imports this module when the name `flatirons` is first used.
compat.record_settings("engine_timeout", "delay")
compat.make_default_controller(FlatironsControllerLauncher)
