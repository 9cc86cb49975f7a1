"""What ipyparallel starts by the name `flatirons`: engines as a Slurm job, a controller that they reach."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ipyparallel.cluster import Cluster
from ipyparallel.cluster.launcher import (
    EngineLauncher,
    LocalControllerLauncher,
    NotRunning,
    ipcontroller_cmd_argv,
    ipengine_cmd_argv,
)
from traitlets import Integer, Unicode, default

from flatirons.errors import FlatironsError, OptionsRefused, SlurmError, SlurmUnreachable
from flatirons.parallel import address, login_environment, messages
from flatirons.parallel.container import container, log_in
from flatirons.parallel.ipp import engines
from flatirons.parallel.ipp.engine_registry import Roll
from flatirons.parallel.ipp.progress_bar import Bar, beside_bars
from flatirons.parallel.ipp.step import Step
from flatirons.parallel.ipp.traits import Asked
from flatirons.parallel.job_context import OWNER, find, signal_steps, slurm_of
from flatirons.parallel.options import EngineOptions, resolve
from flatirons.parallel.watch import Watch, look, wait_for
from flatirons.slurm import explain
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Job, JobSpec, JobState

IPYPARALLELS_PATIENCE = 60  # seconds; default of Cluster.engine_timeout
IPYPARALLELS_DELAY = 1.0  # seconds; default of Cluster.delay
NO_LIMIT = -1
STOPPED = "they were stopped."
STOP_PAUSE = 0.5  # seconds between two looks at a job that was cancelled


class Ending(dict[str, Any]):
    """How a set ended. ipyparallel prints it as it is, in an error and in the log: as its sentence, `why`."""

    def __repr__(self) -> str:
        return str(self["why"])


class FlatironsEngineSetLauncher(Asked, EngineLauncher):
    """Starts a set of engines as one Slurm job, or inside the notebook's, in the notebook's own container."""

    entrypoint_name = "flatirons"

    job_id = Integer(help="The set's own Slurm job, 0 before there is one.").tag(to_dict=True)
    output_file = Unicode(config=True, help="Where the engines' output goes.").tag(to_dict=True)

    step_pid = Integer(help="Of srun, for engines inside the notebook's job.").tag(to_dict=True)

    watch: Watch | None = None
    step: Step | None = None
    output = ""
    bar: Bar | None = None
    on_bar = ""
    told = ""

    @default("output_file")
    def _default_output_file(self) -> str:
        return str(Path(self.profile_dir) / "log" / f"{self.identifier}.log")

    @property
    def is_forked(self) -> bool:
        """Whether the engines of a node are forked from one process: not MPI's, no command of the user's."""
        return not self.mpi and self.engine_cmd == ipengine_cmd_argv

    def find_args(self) -> list[str]:
        """The argv of a task, container included: all engines of a node, or one."""
        ours = self.is_forked or self.engine_cmd == ipengine_cmd_argv
        command = [sys.executable, "-m", "flatirons.parallel.ipp.node"] if ours else self.engine_cmd
        more = [*(["--mpi"] if self.mpi else []), *self.engine_args]
        engine = engines.engine_argv(command, self.profile_dir, self.cluster_id, more)
        return [*container(os.environ), *engine]

    # -- the life of a set

    async def start(self, n: int) -> int:
        """Starts the set and gives its job's id, or srun's; the job may still have to wait.

        Raises FlatironsError.
        """
        self.n = n
        try:
            options = resolve(self.asked(), self._job())
            Path(self.output_file).parent.mkdir(parents=True, exist_ok=True)
            if options.inside:
                self._start_inside(n, options)
            else:
                self.job_id = await self._submit(n, options)
                self._start_watching()
        except FlatironsError as error:
            self.notify_stop(Ending(exit_code=1, why=error.user))
            raise
        self.notify_start(self.job_id or self.step_pid)
        self._be_patient()
        return self.job_id or self.step_pid

    async def _submit(self, n: int, options: EngineOptions) -> int:
        spec = engines.job_spec(n, options, comment=self._comment(), folder=os.getcwd(), log=self.output_file)
        job_id = await self._send(spec, self._script(n, options))
        self.log.info("Engines are job %s%s.", job_id, f" in {spec.partition}" if spec.partition else "")
        return job_id

    def _start_inside(self, n: int, options: EngineOptions) -> None:
        """A step of the notebook's own job, with its cores and memory."""
        engines.refuse_a_jobs_wishes(self.asked())
        if not self.is_forked:
            raise OptionsRefused(
                {"inside": "MPI engines, and those of another engine_cmd, need a job of theirs."}
            )
        job = self._job()
        placed = engines.places(n, options, job)
        name, control = f"ipengines-{self.engine_set_id}", self._controller()
        line = engines.step_argv(job["SLURM_JOB_ID"], name, placed, self.find_args(), control)
        self.step = self._step(cmd_and_args=[*login_environment.clean(os.environ), *line])
        self.step.start()
        self.step_pid = self.step.pid
        self.log.info("Engines start inside the notebook's job (%s).", job["SLURM_JOB_ID"])

    def _step(self, **traits: Any) -> Step:
        self.loop.asyncio_loop  # noqa: B018  found now, for in the step's thread it would be another
        return Step(
            parent=self.parent,
            log=self.log,
            output_file=self.output_file,
            environment=self.environment_without_keys(),
            ended=self._step_ended,
            **traits,
        )

    def _job(self) -> Mapping[str, str]:
        return login_environment.of_own_job(os.environ)

    def _comment(self) -> str:
        """By which the job is found again, and known to belong to the notebook's."""
        notebook = self._job().get("SLURM_JOB_ID", "")
        return f"flatirons-engines:{notebook}:{self.cluster_id}:{self.engine_set_id}"

    def _controller(self) -> engines.Controller | None:
        return engines.Controller.of(self.environment.get("IPP_CONNECTION_INFO", ""))

    def _script(self, n: int, options: EngineOptions) -> str:
        """Slurm keeps scripts, so keys stay in the profile's connection file."""
        return engines.job_script(
            n,
            options,
            self.find_args(),
            environment=self.environment_without_keys(),
            controller=self._controller(),
            is_forked=self.is_forked,
            log_in=log_in(os.environ),
        )

    async def _send(self, spec: JobSpec, script: str) -> int:
        slurm = slurm_of(os.environ)
        try:
            return await slurm.submit(spec, script, user=None)
        except SlurmUnreachable:  # Slurm may have taken the job, and only its answer was lost
            job_id = await find(slurm, spec.comment)
            if not job_id:
                raise
            return job_id

    def environment_without_keys(self) -> dict[str, str]:
        """What the user wants engines to find in their environment."""
        return {name: text for name, text in self.environment.items() if not name.startswith("IPP_")}

    def _be_patient(self) -> None:
        """Waiting for engines ends when the job does, not by ipyparallel's clock, which knows no queue."""
        if getattr(self.parent, "engine_timeout", None) == IPYPARALLELS_PATIENCE:
            self.parent.engine_timeout = NO_LIMIT

    async def stop(self) -> None:
        """Cancels the job and returns when Slurm says that it is gone. Raises SlurmError, TimeoutError."""
        if self.watch:
            self.watch.stop()
        self._close_bar("stopped")
        if self.state != "running":
            return
        if self.step:
            if not await asyncio.to_thread(self.step.end, self.stop_timeout):
                raise TimeoutError(
                    f"srun (process {self.step_pid}) did not end in {self.stop_timeout} seconds."
                )
            self.notify_stop(Ending(pid=self.step_pid, exit_code=0, why=STOPPED))
            return
        slurm = slurm_of(os.environ)
        await slurm.cancel(self.job_id, user=None)
        async with asyncio.timeout(self.stop_timeout):
            state = await self._last_state(slurm)
        self.notify_stop(Ending(job_id=self.job_id, state=state.value, exit_code=0, why=STOPPED))

    async def _last_state(self, slurm: SlurmClient) -> JobState:
        while True:
            job = await slurm.job(self.job_id)
            if job is None or job.state.is_over:
                return job.state if job else JobState.VANISHED
            await asyncio.sleep(STOP_PAUSE)

    async def signal(self, sig: int | str) -> None:
        """Sends every engine a signal, by number or name."""
        if self.state == "running":
            job = int(self._job()["SLURM_JOB_ID"]) if self.step else self.job_id
            name = f"ipengines-{self.engine_set_id}" if self.step else ""
            text = str(int(sig)) if isinstance(sig, int) else sig
            await signal_steps(os.environ, job, text, name)

    async def join(self, timeout: float | None = None) -> None:
        """Returns when the set has ended. Raises TimeoutError."""
        over = self.step.is_over if self.step else self.watch.join if self.watch else None
        if over and not await asyncio.to_thread(over, timeout):
            raise TimeoutError(f"Engines (job {self.job_id}) did not end in {timeout} seconds.")

    def poll(self) -> int | None:
        """None while the set isn't known to have ended, else its exit code. Asks nobody."""
        return self.stop_data.get("exit_code") if self.state == "after" else None

    def get_output(self, remove: bool = False) -> str:
        """What the engines printed so far, or until their log was removed."""
        path = Path(self.output_file)
        if path.is_file():
            self.output = path.read_text(errors="replace")
        if remove:
            path.unlink(missing_ok=True)
        return self.output

    # -- found again by another process

    @classmethod
    def from_dict(cls, d: dict[str, Any], **kwargs: Any) -> FlatironsEngineSetLauncher:
        """The set as another process left it. Raises NotRunning when its job is over.

        When Slurm doesn't answer the set is taken to live: a failed query says nothing about a job.
        """
        self: FlatironsEngineSetLauncher = super().from_dict(d, **kwargs)
        seen = None
        if not self.job_id and not self.step_pid:
            raise NotRunning("The engines were never submitted.")
        if self.step_pid:
            self.step = self._step()
            self.step._reconstruct_process({"pid": self.step_pid})
            return self
        try:
            seen = wait_for(look(slurm_of(os.environ), self.job_id))
        except SlurmError as error:
            self.log.warning("Job %s of engines may have ended: %s", self.job_id, error)
        else:
            if seen.state.is_over:
                raise NotRunning(f"Job {self.job_id} has ended: {seen.state.value}.")
        self._start_watching(seen)
        return self

    # -- what the watch sees, in its thread

    def _start_watching(self, seen: Job | None = None) -> None:
        self.loop.asyncio_loop  # noqa: B018  found now, for in the watch's thread it would be another
        self.watch = Watch(
            lambda: slurm_of(os.environ), self.job_id, self._changed, self._ended, seen, self._looked
        )
        self.watch.start()
        if self.parent is not None:
            Roll.of(self.parent)

    def on_stop(self, f: Any) -> Any:
        """Calls `f` when the set has ended. ipyparallel does this once it has drawn a bar to wait beside."""
        known = super().on_stop(f)
        if self.watch and self.state == "running":
            self.bar = Bar.newest()
            if self.bar and self.on_bar:
                self.bar.say(self.on_bar)
        return known

    def _looked(self, job: Job) -> None:
        before, self.on_bar = self.on_bar, messages.on_bar(job, datetime.now(UTC))
        if self.bar and before != self.on_bar:
            self.bar.say(self.on_bar)

    def _close_bar(self, text: str) -> None:
        if self.bar:
            self.bar.close(text)
            self.bar = None

    def _changed(self, job: Job) -> None:
        lost = messages.lost_nodes(self.watch.seen if self.watch else None, job)
        with beside_bars():
            if job.state.is_waiting and job.reason not in ("", "None"):
                before, self.told = self.told, messages.waiting(job)
                self.log.info(messages.news(self.told, before))
            elif lost:
                self._lost(lost, job)
            elif job.state.is_running:
                self.log.info("Engines (job %s) start on %s.", job.id, job.nodes)

    def _lost(self, nodes: tuple[str, ...], job: Job) -> None:
        news = tuple(filter(Roll.of(self.parent).is_news, nodes)) if self.parent is not None else nodes
        if news:
            self.log.warning(messages.slurm_lost(news, job))

    def _ended(self, job: Job) -> None:
        status = job.exit_code or job.signal or int(job.state is not JobState.COMPLETED)
        why = f"Engines (job {job.id}) have ended: {explain.end(job)}"
        self._close_bar(self.on_bar)
        self._tell_end(Ending(job_id=job.id, state=job.state.value, exit_code=status, why=why))

    def _step_ended(self, code: int | None) -> None:
        why = "The engines inside the notebook's job have ended; their log says more. Start the set again."
        self._tell_end(Ending(pid=self.step_pid, exit_code=code or 0, why=why))

    def _tell_end(self, data: Ending) -> None:
        if self.loop.asyncio_loop.is_closed():  # that of a synchronous call, in a program without a loop
            self.notify_stop(data)
        else:
            self.loop.add_callback(self.notify_stop, data)


class FlatironsControllerLauncher(LocalControllerLauncher):
    """A controller beside the notebook; for our engines it listens on the node's own address, and only there.

    For any other engines it is what ipyparallel starts by default, which listens on loopback.
    """

    entrypoint_name = "flatirons"

    controller_args: Any  # declared by ipyparallel
    controller_cmd: Any
    environment: Any

    async def start(self) -> None:
        """Starts the controller. Raises FlatironsError when the node has no address to listen on."""
        if self._is_for_our_engines():
            await self._listen_to_other_nodes()
            self._end_together()
            self._lose_no_time()
        super().start()

    async def _listen_to_other_nodes(self) -> None:
        if not any(word.startswith(("--ip=", "--IPController.ip=")) for word in self.controller_args):
            job = login_environment.of_own_job(os.environ)
            own = await asyncio.to_thread(address.of_this_node, job)
            self.controller_args = [*self.controller_args, f"--ip={own}", f"--location={own}"]

    def _end_together(self) -> None:
        """With the controller the engines end, and with this process the controller, if it is meant to."""
        if self.controller_cmd == ipcontroller_cmd_argv:
            self.controller_cmd = [sys.executable, "-m", "flatirons.parallel.ipp.controller"]
        if getattr(self.parent, "shutdown_atexit", False):
            self.environment = {**self.environment, OWNER: str(os.getpid())}

    def _lose_no_time(self) -> None:
        """Engines are submitted once the connection files are there, so no pause before that is needed."""
        if self.parent.send_engines_connection_env and self.parent.delay == IPYPARALLELS_DELAY:
            self.parent.delay = 0

    def _is_for_our_engines(self) -> bool:
        wanted = getattr(self.parent, "engine_launcher_class", None)
        return isinstance(wanted, type) and issubclass(wanted, FlatironsEngineSetLauncher)


def offer_controller() -> None:
    """Makes our controller ipyparallel's default, so that engines="flatirons" alone is enough.

    ipyparallel starts the controller before it asks the engines' launcher anything, and on loopback, where
    other nodes can't reach it. It imports this module when the name `flatirons` is first used.
    """
    Cluster.controller_launcher_class.default_value = FlatironsControllerLauncher


offer_controller()
