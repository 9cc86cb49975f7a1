"""A hub with servers in every phase, on a separate virtual cluster."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import httpx

from cluster import faults
from cluster.demo.service import Demo
from cluster.layout import CONTROLLER, HUB, HUB_ACCOUNT, PEOPLE
from tests.faults.invariants import Job, Key, View, notebook_jobs

SUMMIT = "SLURM_CONF=/etc/slurm/summit/slurm.conf"
STUBS = {"stub": (0, 0, 0), "boots": (6, 0, 0), "stubborn": (0, 4, 0), "brief": (0, 0, 6)}
ACCOUNTS = {"alice": "ucb-general", "bob": "ucb-general", "carol": "csdms"}
KNL = {"alice": "ucb-knl", "carol": "knl-students"}
NODES = ("shas0101", "shas0102")
SMALL_HOME = "/home/bob"
STUB = "/etc/flatirons/stub.py"  # where every node sees it
STATE = "/var/lib/flatirons"
CALM_S = 60.0
LASTING = ("up", "stopping", "waiting")


def site_extra() -> str:
    """What is appended to the demo's site: environments whose servers start at once."""
    return "\n".join(
        f"[environments.{name}]\ncmd = {json.dumps(['python3', STUB, *map(str, seconds)])}\n"
        for name, seconds in STUBS.items()
    )


@dataclass(frozen=True)
class Server:
    """A server and the phase in which a fault hits it: up, waiting, stopping, booting, submitted, ending."""

    user: str
    name: str
    phase: str
    environment: str = "stub"

    @property
    def key(self) -> Key:
        return self.user, self.name

    @property
    def path(self) -> str:
        """Below {hub}/api."""
        return f"/users/{self.user}/servers/{self.name}" if self.name else f"/users/{self.user}/server"

    @property
    def options(self) -> dict[str, str]:
        """As the form would send them."""
        where = (
            {"partition": "sknl", "account": KNL[self.user]}
            if self.phase == "waiting"
            else {"partition": "shas", "account": ACCOUNTS[self.user]}
        )
        memory = "1500M" if self.environment == "python" else "200M"
        own = {"runtime": "1:00:00", "memory": memory, "environment": self.environment}
        return {"cluster": "summit", **where, **own}


FEW = (
    Server("alice", "", "up"),
    Server("alice", "waits", "waiting"),
    Server("bob", "", "stopping", "stubborn"),
    Server("bob", "boots", "booting", "boots"),
    Server("carol", "", "submitted"),
)
MANY = (
    *FEW,
    Server("carol", "up", "up"),
    Server("carol", "waits", "waiting"),
    Server("bob", "up", "up"),
    Server("alice", "ends", "ending", "brief"),
    Server("alice", "lab", "up", "python"),
)


class NoAnswer(Exception):
    """Slurm or the hub doesn't answer at the moment."""


class World:
    """One hub, its cluster and its servers; `born` are the jobs that lived since `begin`."""

    def __init__(self, demo: Demo, servers: Sequence[Server]) -> None:
        self.demo = demo
        self.servers = servers
        self.born: dict[int, Job] = {}
        self.last_id = 0
        self.amiss = ""
        self.hit: set[str] = set()  # the phases of the servers that the present fault befell
        self.asked: dict[Key, tuple[float, Future[str]]] = {}
        self.http = httpx.Client(
            base_url=demo.url, timeout=10, headers={"Authorization": f"token {demo.token}"}
        )
        self.pool = ThreadPoolExecutor(4 * len(servers))

    def settle_in(self) -> None:
        """Adds what a demo lacks: small disks that can be filled, users, a full partition."""
        shutil.copyfile(Path(__file__).with_name("stub.py"), self.demo.etc / Path(STUB).name)
        self.demo.stop_hub()
        owner = f"uid={HUB_ACCOUNT.uid},gid={HUB_ACCOUNT.uid}"
        small = f"mount -t tmpfs -o size=16m,mode=700,{owner} state {STATE}"
        move = f"cp -a {STATE} /run/state; {small}; cp -a /run/state/. {STATE}/"
        self.root(HUB, f"mountpoint -q {STATE} || {{ {move}; }}")
        self.demo.start_hub()
        for node in NODES:
            self.make_small_home(node)
        for user in ACCOUNTS:
            self.http.post(f"/hub/api/users/{user}")

    def make_small_home(self, node: str) -> None:
        """Gives bob a home of one megabyte on a node."""
        uid = next(person.uid for person in PEOPLE if person.name == "bob")
        small = f"mount -t tmpfs -o size=1m,mode=700,uid={uid},gid={uid} home {SMALL_HOME}"
        self.root(node, f"mountpoint -q {SMALL_HOME} || {small}")

    def close(self) -> None:
        """Ends requests that haven't been answered yet."""
        self.pool.shutdown()
        self.http.close()

    # -- the nodes

    def root(self, node: str, script: str) -> str:
        """The output of a shell script that root runs in a node."""
        done = self.demo.exec(node, ["sh", "-ec", script])
        assert done.returncode == 0, f"{script}: {done.stderr}"
        return done.stdout.strip()

    def fault(self, what: str, target: str) -> None:
        """One of `scripts/cluster fault`."""
        faults.apply(self.demo.instance, what, target)

    def slurm(self, *argv: str, user: str = "root") -> str:
        """The output of a Slurm command, which runs where faults of the hub's node have no effect."""
        done = self.demo.exec(CONTROLLER, ["env", SUMMIT, "timeout", "20", *argv], user)
        return done.stdout.strip() if done.returncode == 0 else ""

    def jobs(self) -> dict[int, Job]:
        """All notebook jobs that slurmctld knows; fails while it doesn't answer."""
        rows = self.demo.exec(
            CONTROLLER, ["env", SUMMIT, "timeout", "20", "squeue", "-h", "-t", "all", "-o", "%i|%T|%k|%B"]
        )
        if rows.returncode:
            raise NoAnswer(f"Slurm: {rows.stderr.strip()}")
        return notebook_jobs(rows.stdout)

    def busy_node(self, random: Random) -> str:
        """A node on which servers run."""
        running = (job.node for job in self.jobs().values() if job.state == "RUNNING")
        return random.choice(sorted({node for node in running if node in NODES}))

    # -- the hub

    def models(self) -> dict[Key, dict[str, Any]]:
        """All servers that the hub knows, including stopped ones."""
        users = self.hub("/hub/api/users?include_stopped_servers=true").json()
        return {(user["name"], name): model for user in users for name, model in user["servers"].items()}

    def phases(self) -> dict[int, str]:
        """The phase of each job's server, with the names of the operators' page; raises like `hub`."""
        servers = self.hub("/hub/api/flatirons/operations").json()["servers"]
        return {each["job_id"]: each["phase"] for each in servers}

    def note_hit(self, jobs: Iterable[Job], phases: Mapping[int, str]) -> None:
        """Records that the current fault hits these jobs; jobs that the hub doesn't know have no phase."""
        self.hit = {phases[job.id] for job in jobs if job.id in phases}

    def hub(self, path: str) -> httpx.Response:
        """The hub's answer to a GET; raises NoAnswer while there is none, or an error."""
        try:
            answer = self.http.get(path)
        except httpx.TransportError as error:
            raise NoAnswer(f"the hub: {error!r}") from error
        if answer.is_error and answer.status_code != 404:
            raise NoAnswer(f"the hub: {answer.status_code} {answer.text}")
        return answer

    def look(self) -> View:
        """The current state of everything; raises NoAnswer."""
        view = View(self.jobs(), self.models(), {})
        active = view.active()
        for each in self.servers:
            answer = self.hub(f"/hub/api/flatirons/report/{each.user}/{each.name}".rstrip("/"))
            view.reports[each.key] = answer.json().get("reports", [])
            if each.key in active and active[each.key]["ready"]:
                view.answers[each.key] = self.answer(each, active[each.key])
        return view

    def answer(self, each: Server, model: dict[str, Any]) -> Any:
        """The job id that a server answers; the expected one for a real server, which can't answer that."""
        prefix = f"/user/{each.user}/{each.name}".rstrip("/")
        try:
            answer = self.http.get(f"{prefix}/api")
        except httpx.TransportError as error:
            return repr(error)
        if answer.status_code != 200:
            return f"HTTP {answer.status_code}"
        said = answer.json()
        return said["job"] if "job" in said else model["state"].get("job_id")

    def start(self, each: Server) -> Future[str]:
        """Requests a server, and doesn't wait for the answer."""
        answer = self.pool.submit(self._ask, "POST", each.path, each.options)
        self.asked[each.key] = time.time(), answer
        return answer

    def have_jobs(self) -> bool:
        """Whether every server that was requested has its job, or had it."""
        born = {job.key for job in self.jobs().values() if job.id > self.last_id}
        return self.asked.keys() <= born

    def taken(self) -> dict[Key, float]:
        """When each server was requested; without those whose request the hub refused or didn't survive."""
        return {
            key: when
            for key, (when, answer) in self.asked.items()
            if answer.done() and answer.result().startswith("20")
        }

    def stop(self, each: Server) -> Future[str]:
        """Requests a server's end."""
        return self.pool.submit(self._ask, "DELETE", each.path, None)

    def _ask(self, method: str, path: str, body: Any) -> str:
        try:
            answer = self.http.request(method, f"/hub/api{path}", json=body, timeout=120)
        except httpx.TransportError as error:
            return f"no answer: {error}"
        return f"{answer.status_code} {answer.text}"

    # -- the phases

    def remember(self, view: View) -> None:
        """Records the jobs that were added since the servers were arranged.

        Earlier jobs that exist again are not recorded: a slurmctld that was killed forgets its last seconds.
        Their reports are written, and they are orphans.
        """
        self.born |= {job.id: job for job in view.jobs.values() if job.id > self.last_id}

    def arrange(self) -> None:
        """Brings every server into the phase in which a fault is to hit it, or right before that."""
        self._resume_nodes()
        self._fill_sknl()
        for each in self.servers:
            self._bring(each)
        self.eventually(self._is_arranged, "arranging the servers")
        jobs = self.jobs()
        self.last_id, self.asked, self.hit = max(jobs, default=0), {}, set()
        self.born = {job.id: job for job in jobs.values() if not job.is_over}

    def _bring(self, each: Server) -> None:
        model = self.models().get(each.key)
        if each.phase not in LASTING:
            if is_active(model):
                self.stop(each)
        elif not is_active(model):
            self.start(each)
        elif (model or {}).get("pending") != ("spawn" if each.phase == "waiting" else None):
            self.clear(each)
            self.start(each)

    def clear(self, each: Server) -> None:
        """Stops a server, and returns when it is gone."""
        self.stop(each).result()
        self.eventually(lambda: not is_active(self.models().get(each.key)), f"clearing {each.key}")

    def _is_arranged(self) -> bool:
        self._resume_nodes()
        models, waiting = self.models(), {job.key for job in self.jobs().values() if job.state == "PENDING"}
        wrong = []
        for each in self.servers:
            model = models.get(each.key)
            if each.phase not in LASTING:
                is_right = not is_active(model)
            elif each.phase == "waiting":
                is_right = each.key in waiting
            else:
                is_right = bool(model and model["ready"])
            if not is_right:
                wrong.append(f"{each.key} {model and (model['ready'], model['pending'])}")
                if each.phase in LASTING and not is_active(model):
                    self.start(each)
        self.amiss = ", ".join(wrong)
        return not wrong

    def set_off(self) -> None:
        """Begins what a fault is to interrupt."""
        for each in self.of("booting"):
            self.start(each)
        booting = {each.key for each in self.of("booting")}
        self.eventually(lambda: booting <= self._running(), "running the job that boots")
        for each in (*self.of("ending"), *self.of("submitted")):
            self.start(each)
        for each in self.of("stopping"):
            self.stop(each)

    def of(self, *phases: str) -> list[Server]:
        """The servers that a fault is to hit in these phases."""
        return [each for each in self.servers if each.phase in phases]

    def _running(self) -> set[Key]:
        return {job.key for job in self.jobs().values() if job.state == "RUNNING"}

    def _resume_nodes(self) -> None:
        """As an operator does: Slurm drains a node that still runs a job whose id was assigned again."""
        for node in NODES:
            if self.slurm("sinfo", "-h", "-n", node, "-o", "%T").splitlines()[:1] not in (
                ["idle"],
                ["mixed"],
            ):
                self.slurm("scontrol", "update", f"nodename={node}", "state=resume")

    def _fill_sknl(self) -> None:
        """A job takes all of the partition's only node."""
        rows = ["squeue", "-h", "-n", "blocker", "-t", "R,PD", "-o", "%T"]
        if not self.slurm(*rows):
            wrap = ["-p", "sknl", "-A", "ucb-knl", "--exclusive", "-J", "blocker", "-t", "10:00:00"]
            self.slurm("sbatch", *wrap, "-o", "/dev/null", "--wrap", "sleep 36000", user="alice")
        self.eventually(lambda: self.slurm(*rows) == "RUNNING", "filling sknl")

    def reset(self) -> None:
        """After a failure: no server, no job, all nodes in service."""
        for each in self.servers:
            self.stop(each)
        self.slurm("scancel", "--user=alice,bob,carol")
        self.eventually(
            lambda: (
                not any(map(is_active, self.models().values()))
                and all(job.is_over for job in self.jobs().values())
            ),
            "resetting",
            90,
        )

    @staticmethod
    def _is(is_true: Callable[[], Any]) -> bool:
        try:
            return bool(is_true())
        except NoAnswer:
            return False

    def eventually(self, is_true: Callable[[], Any], what: str, seconds: float = CALM_S) -> float:
        """Returns the seconds until `is_true`; fails with `what` after a while."""
        began = time.monotonic()
        while not self._is(is_true):
            assert time.monotonic() - began < seconds, f"{what}: not within {seconds} s {self.amiss}"
            time.sleep(0.2)
        return time.monotonic() - began


def is_active(model: dict[str, Any] | None) -> bool:
    """Whether the hub shows a server as running or starting."""
    return bool(model and (model["ready"] or model["pending"]))
