"""A Slurm that lives in memory, at the runner's seam: it understands the command lines that argv.py makes.

It answers as Slurm 24.11 does on the virtual cluster, exactly where we read the answer. A test can make it
fail, hang, print garbage, or lose its records. The contract tests run the same cases on it and on the real
Slurm, so that it can't drift.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flatirons.errors import CommandFailed, CommandTimeout
from flatirons.runner import Completed, Launch, Runner

EPOCH = 1_790_000_000
REFUSED = "sbatch: error: Batch job submission failed: "


@dataclass
class FakeJob:
    """A job as slurmctld has it; times are seconds since 1970."""

    id: int
    user: str
    name: str = "sbatch"
    comment: str = "(null)"
    account: str = "ucb-general"
    partition: str = "shas"
    qos: str = "normal"
    state: str = "PENDING"
    reason: str = "None"
    nodes: str = ""
    host: str = "n/a"
    submit: int = EPOCH
    start: int = 0
    end: int = 0
    limit: str = "1:00:00"
    exit_code: str = "0:0"
    max_rss: str = ""
    memory: str = "1000M"
    cancelled_by: int | None = None
    restarts: int = 0
    tres: str = "cpu=1,mem=1000M,node=1,billing=1"
    script: str = ""
    chdir: str = ""
    options: dict[str, str] = field(default_factory=dict)

    def field(self, name: str) -> str:
        """One field of `squeue --Format`."""
        facts = {
            **{"JobID": self.id, "State": self.state, "UserName": self.user, "Account": self.account},
            **{"Partition": self.partition, "QOS": self.qos, "Reason": self.reason, "NodeList": self.nodes},
            **{"BatchHost": self.host, "SubmitTime": self.submit, "StartTime": self.start or "N/A"},
            **{"EndTime": self.end or "N/A", "TimeLimit": self.limit, "exit_code": self.exit_code},
            **{"PriorityLong": 1000, "RestartCnt": self.restarts, "tres-alloc": self.tres},
            **{"Name": self.name, "Comment": self.comment},
        }
        return str(facts[name])

    def accounting_lines(self) -> list[str]:
        """What sacct prints for it: the job, and its batch step if it ever ran."""
        by = f" by {self.cancelled_by}" if self.state == "CANCELLED" and self.cancelled_by is not None else ""
        elapsed = self.end - self.start if self.start and self.end else 0
        nodes = self.nodes or "None assigned"
        told = f"{self.exit_code}|{elapsed}"
        used, when = f"{nodes}|1|00:00.500|1", self.submit
        lines = [f"{self.id}|{self.state}{by}|{told}||{self.memory}|{used}|{self.user}|{when}"]
        if self.start:
            lines.append(f"{self.id}.batch|{self.state}|{told}|{self.max_rss}||{used}||{when}")
        return lines


@dataclass
class Partition:
    """What sbatch checks a job against."""

    name: str
    max_memory_mib: int = 16000
    max_cpus: int = 8
    max_nodes: int = 2
    max_minutes: int = 10080
    accounts: tuple[str, ...] = ()
    gpus: dict[str, int] = field(default_factory=dict)

    def problem(self, options: Mapping[str, str]) -> str:
        """Why no node of it could ever run the job, or nothing."""
        if int(options.get("time", "0")) > self.max_minutes:
            return f"{REFUSED}Requested time limit is invalid (missing or exceeds some limit)"
        cpus, nodes = (int(options.get(key, "0")) for key in ("cpus-per-task", "nodes"))
        if cpus > self.max_cpus or nodes > self.max_nodes:
            return f"{REFUSED}More processors requested than permitted"
        unavailable = f"{REFUSED}Requested node configuration is not available"
        if int(options.get("mem", "0M").rstrip("M")) > self.max_memory_mib:
            return f"sbatch: error: Memory specification can not be satisfied\n{unavailable}"
        _, kind, count = (":" + options.get("gres", "gpu:0")).rsplit(":", 2)
        offered = max(self.gpus.values(), default=0) if kind == "gpu" else self.gpus.get(kind, 0)
        return unavailable if int(count) > offered else ""


@dataclass(frozen=True)
class Call:
    """One command that was run."""

    argv: tuple[str, ...]
    user: str | None
    stdin: str
    env: Mapping[str, str]

    @property
    def command(self) -> str:
        """The command's bare name."""
        return self.argv[0].rpartition("/")[2]


Streams = tuple[str, str]  # stdout, stderr
Answer = Callable[[Call], Streams]


class FakeSlurm(Runner):
    """The runner of a cluster that doesn't exist: by default like the virtual cluster's `summit`."""

    def __init__(self) -> None:
        self.partitions = {
            "shas": Partition("shas", gpus={"v100": 2}),
            "sknl": Partition("sknl", max_nodes=1, max_minutes=1440, accounts=("ucb-knl",), gpus={"a100": 2}),
        }
        self.default_partition = "shas"
        self.node_reasons: dict[str, str] = {}
        self.node_addresses: dict[
            str, tuple[str, str]
        ] = {}  # NodeAddr and NodeHostName  # why nodes are out of service
        self.accounts = {"alice": ("ucb-general", "ucb-knl"), "bob": ("ucb-general",), "carol": ("csdms",)}
        self.reservations = {"workshop": ("alice", "carol")}
        self.uids = {"root": 0, "alice": 10001, "bob": 10002, "carol": 10003, "dave": 10004}
        self.jobs: dict[int, FakeJob] = {}
        self.accounting: dict[int, FakeJob] = {}
        self.has_accounting = True
        self.hides_from_others = False
        self.plays_scripts = False
        self.now = EPOCH
        self.calls: list[Call] = []
        self.under_way = 0
        self.most_at_once = 0
        self.on_submit: Callable[[FakeJob], None] = lambda job: None
        self._next_id = 1
        self._tampers: dict[str, list[Answer]] = {}
        self._gates: dict[str, asyncio.Event] = {}

    # -- what a test sets

    def run_job(self, job_id: int, node: str = "shas0101") -> None:
        """The job gets its node and its script begins."""
        self.change(job_id, state="RUNNING", nodes=node, host=node.split(",")[0], start=self.now)

    def end_job(self, job_id: int, state: str = "COMPLETED", **facts: object) -> None:
        """The job ends; slurmctld keeps its record for a while, accounting for ever."""
        self.change(job_id, state=state, end=self.now, **facts)

    def change(self, job_id: int, **facts: object) -> None:
        """Sets fields of a job, in slurmctld and in accounting."""
        job = replace(self.jobs[job_id], **facts)  # type: ignore[arg-type]  # the test's own typing
        self.jobs[job_id] = job
        self.accounting[job_id] = job

    def requeue(self, job_id: int) -> None:
        """The job is put back into the queue."""
        facts = {"state": "PENDING", "reason": "BeginTime", "nodes": "", "host": "n/a", "start": 0}
        self.change(job_id, **facts, submit=self.now, restarts=self.jobs[job_id].restarts + 1)

    def forget(self, job_id: int) -> None:
        """slurmctld drops the job's record (MinJobAge); accounting keeps it."""
        self.jobs.pop(job_id)

    def lose(self, job_id: int) -> None:
        """Nobody knows the job any more."""
        self.jobs.pop(job_id, None)
        self.accounting.pop(job_id, None)

    def add_job(self, user: str, **facts: object) -> int:
        """Somebody else's job, or one that is older than the hub."""
        job = FakeJob(self._next_id, user, **facts)  # type: ignore[arg-type]  # the test's own typing
        self._next_id += 1
        self.jobs[job.id] = self.accounting[job.id] = job
        return job.id

    def fail(self, command: str, stderr: str, *, stdout: str = "", code: int = 1, times: int = 1) -> None:
        """The next `times` runs of `command` end with `code` and change nothing."""

        def answer(call: Call) -> Streams:
            raise CommandFailed(call.argv, code, stdout, stderr)

        self._tampers.setdefault(command, []).extend([answer] * times)

    def hang(self, command: str, *, times: int = 1) -> None:
        """The next `times` runs of `command` don't end before their deadline."""

        def answer(call: Call) -> Streams:
            raise CommandTimeout("A command didn't end within its deadline.", call.argv)

        self._tampers.setdefault(command, []).extend([answer] * times)

    def tamper(self, command: str, change: Callable[[str], str], *, times: int = 1) -> None:
        """The next `times` runs of `command` work, but their output is changed."""

        def answer(call: Call) -> Streams:
            out, err = self._answer(call)
            return change(out), err

        self._tampers.setdefault(command, []).extend([answer] * times)

    def heal(self) -> None:
        """Everything works from now on."""
        self._tampers.clear()

    def hold(self, command: str) -> asyncio.Event:
        """Runs of `command` wait until the event that this returns is set."""
        return self._gates.setdefault(command, asyncio.Event())

    def count(self, command: str) -> int:
        """How often `command` was run."""
        return sum(call.command == command for call in self.calls)

    # -- the runner

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """Not used: nothing is started."""
        raise NotImplementedError

    async def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        deadline: float = 10.0,
    ) -> Completed:
        """As a real runner, but at once."""
        call = Call(tuple(argv), user, stdin, dict(env or {}))
        self.calls.append(call)
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await asyncio.sleep(0)
            if call.command in self._gates:
                await self._gates[call.command].wait()
            tampers = self._tampers.get(call.command)
            out, err = tampers.pop(0)(call) if tampers else self._answer(call)
        finally:
            self.under_way -= 1
        return Completed(out, err, 0.01)

    def _answer(self, call: Call) -> Streams:
        if call.command == "sbatch":
            return self._sbatch(call)
        only_stdout = {
            **{"scancel": self._scancel, "squeue": self._squeue, "sacct": self._sacct},
            "scontrol": self._update if "update" in call.argv else self._node,
        }
        return only_stdout[call.command](call), ""

    def _node(self, call: Call) -> str:
        *words, name = call.argv
        assert words == ["scontrol", "--oneliner", "show", "node"], call
        reason = self.node_reasons.get(name)
        told = f" Reason={reason} [slurm@2026-11-25T13:15:36]" if reason else ""
        address, host = self.node_addresses.get(name, (name, name))
        state = "IDLE+DRAIN" if reason else "IDLE"
        return (
            f"NodeName={name} Arch=x86_64 NodeAddr={address} NodeHostName={host} State={state} "
            f"ThreadsPerCore=1{told}\n"
        )

    def _update(self, call: Call) -> str:
        words = dict(word.split("=", 1) for word in call.argv[2:])
        number = int(words.pop("JobId"))
        job = self.jobs.get(number)
        changed = {_UPDATED[key]: value for key, value in words.items() if key in _UPDATED}
        problem = "Invalid job id specified"
        if job:
            problem = self._problem_of_update(job, call.user or "root", changed)
        if job is None or problem:
            raise CommandFailed(call.argv, 1, "", f"{problem} for job {number}\n")
        if "time" in changed:
            changed["limit"] = _duration(int(changed.pop("time")))
        self.change(job.id, **changed)
        return ""

    def _problem_of_update(self, job: FakeJob, user: str, changed: Mapping[str, str]) -> str:
        """The refusal of scontrol, if any, in the words of Slurm 24.11."""
        if user not in ("root", job.user):
            return "Invalid user id"
        if job.state in _FINAL:
            return "Job has already finished"
        if job.state != "PENDING" and changed.keys() != {"time"}:
            return "Job is no longer pending execution"
        refused = self._problem(job.user, {"account": job.account, "partition": job.partition, **changed})
        last = refused.split("\n")[-1].removeprefix(REFUSED)
        return last

    def _sbatch(self, call: Call) -> Streams:
        options = _options(call)
        user = call.user or "root"
        problem = self._problem(user, options)
        if problem:
            raise CommandFailed(call.argv, 1, "", problem + "\n")
        if "test-only" in options:
            where = "using 1 processors on nodes shas0101 in partition shas"
            return "", f"sbatch: Job {self._next_id} to start at 2026-12-27T16:39:51 {where}\n"
        job_id = self.add_job(
            user,
            **{key: options[option] for key, option in _AS_GIVEN.items() if option in options},
            script=call.stdin,
            options=options,
            tres=_tres(options),
            submit=self.now,
            account=options.get("account", self.accounts[user][0]),
            partition=options.get("partition", self.default_partition),
        )
        if "time" in options:
            self.change(job_id, limit=_duration(int(options["time"])))
        if self.plays_scripts:
            self._play(job_id, options)
        self.on_submit(self.jobs[job_id])
        return f"{job_id}\n", ""

    def _play(self, job_id: int, options: Mapping[str, str]) -> None:
        """Starts the job, and ends it when its script is one that ends at once."""
        if "hold" in options:
            self.change(job_id, reason="JobHeldUser")
        elif "begin" in options:
            self.change(job_id, reason="BeginTime", start=self.now + 3600)
        else:
            self.run_job(job_id)
            last = self.jobs[job_id].script.split("\n")[-2]
            if options.get("output", "").startswith("/nonexistent/"):
                self.end_job(
                    job_id, "FAILED", exit_code="0:53", reason="RaisedSignal:53(Real-time signal 19)"
                )
            elif last == "exit 0":
                self.end_job(job_id, "COMPLETED")
            elif last.startswith("exit "):
                self.end_job(job_id, "FAILED", exit_code=f"{last[5:]}:0", reason="NonZeroExitCode")
            elif last == "kill -9 $$":
                self.end_job(job_id, "FAILED", exit_code="0:9", reason="RaisedSignal:9(Killed)")

    def _problem(self, user: str, options: Mapping[str, str]) -> str:
        """The refusal of sbatch, if any, in the words of Slurm 24.11."""
        mine = self.accounts.get(user, ())
        if not mine or options.get("account", mine[0]) not in mine:
            return f"{REFUSED}Invalid account or account/partition combination specified"
        partition = self.partitions.get(options.get("partition", self.default_partition))
        if partition is None:
            first = f"sbatch: error: invalid partition specified: {options['partition']}"
            return f"{first}\n{REFUSED}Invalid partition name specified"
        if partition.accounts and options.get("account", mine[0]) not in partition.accounts:
            return f"{REFUSED}Invalid account or account/partition combination specified"
        if options.get("qos", "normal") not in ("normal", "long", "debug"):
            return f"{REFUSED}Invalid qos specification"
        if "reservation" in options and options["reservation"] not in self.reservations:
            return f"{REFUSED}Requested reservation is invalid"
        if "reservation" in options and user not in self.reservations[options["reservation"]]:
            return f"{REFUSED}Access denied to requested reservation"
        return partition.problem(options)

    def _scancel(self, call: Call) -> str:
        job = self.jobs.get(int(call.argv[-1]))
        if job is None or job.state in _FINAL:
            return ""  # Slurm 24.11 doesn't mind
        if call.user not in (None, "root", job.user):
            raise CommandFailed(
                call.argv,
                210,
                "",
                f"scancel: error: Kill job error on job id {job.id}: Access/permission denied\n",
            )
        if "signal" not in _options(call):
            self.end_job(job.id, "CANCELLED", cancelled_by=self.uids[call.user or "root"])
        elif "trap 'exit 7' TERM" in job.script:
            self.end_job(job.id, "FAILED", exit_code="7:0", reason="NonZeroExitCode")
        return ""

    def _squeue(self, call: Call) -> str:
        options = _options(call)
        fields = [item.split(":0", 1) for item in options["Format"].split(",")]
        jobs = [
            job for job in self.jobs.values() if not self.hides_from_others or call.user in ("root", job.user)
        ]
        if "jobs" in options:
            jobs = [job for job in jobs if job.id == int(options["jobs"])]
            if not jobs:
                raise CommandFailed(call.argv, 1, "", "slurm_load_jobs error: Invalid job id specified\n")
        if "name" in options:
            jobs = [job for job in jobs if job.name in options["name"].split(",")]
        heading = "".join(name.upper() + mark for name, mark in fields)
        lines = ["".join(job.field(name) + mark for name, mark in fields) for job in jobs]
        return "".join(line + "\n" for line in [heading, *lines])

    def _sacct(self, call: Call) -> str:
        if not self.has_accounting:
            raise CommandFailed(call.argv, 1, "", "Slurm accounting storage is disabled\n")
        wanted = [int(number) for number in _options(call)["jobs"].split(",")]
        known = [self.accounting[number] for number in wanted if number in self.accounting]
        return "".join(line + "\n" for job in known for line in job.accounting_lines())


class FakeSite(Runner):
    """Several clusters, chosen by SLURM_CONF as for Slurm's own commands; `me` is the own account."""

    def __init__(self, clusters: Mapping[str, FakeSlurm], me: str | None = None) -> None:
        self.clusters = clusters
        self.me = me

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        """Not used: nothing is started."""
        raise NotImplementedError

    async def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        deadline: float = 10.0,
    ) -> Completed:
        """Passes the command to the cluster that SLURM_CONF names."""
        slurm = self.clusters[(env or {}).get("SLURM_CONF", "")]
        return await slurm.run(argv, user=user or self.me, stdin=stdin, env=env, deadline=deadline)


_FINAL = (
    "COMPLETED",
    "CANCELLED",
    "FAILED",
    "TIMEOUT",
    "NODE_FAIL",
    "PREEMPTED",
    "OUT_OF_MEMORY",
    "DEADLINE",
)
_AS_GIVEN = {
    **{"name": "job-name", "comment": "comment", "qos": "qos", "memory": "mem", "chdir": "chdir"},
}


_UPDATED = {"TimeLimit": "time", "Partition": "partition", "Account": "account", "QOS": "qos"}
"""The settings of `scontrol update` that are understood, by the options of sbatch."""


def _tres(options: Mapping[str, str]) -> str:
    """What a job with these options gets, as squeue prints it; by DefMemPerCPU, 1000 MB for each core."""
    nodes = int(options.get("nodes", "1"))
    cpus = int(options.get("ntasks", nodes)) * int(options.get("cpus-per-task", "1"))
    memory = nodes * int(options["mem"].rstrip("M")) if "mem" in options else 1000 * cpus
    found = f"cpu={cpus},mem={memory}M,node={nodes},billing={cpus}"
    _, kind, count = (":" + options.get("gres", "gpu:0")).rsplit(":", 2)
    gpus = nodes * int(count)
    typed = f",gres/gpu:{kind}={gpus}" if kind != "gpu" else ""
    return f"{found},gres/gpu={gpus}{typed}" if gpus else found


def _options(call: Call) -> dict[str, str]:
    pairs = (word[2:].partition("=") for word in call.argv[1:] if word.startswith("--"))
    return {key: value for key, _, value in pairs}


def _duration(minutes: int) -> str:
    """Minutes as squeue prints them."""
    days, rest = divmod(minutes, 1440)
    hours, mins = divmod(rest, 60)
    if days:
        return f"{days}-{hours:02}:{mins:02}:00"
    return f"{hours}:{mins:02}:00" if hours else f"{mins}:00"
