"""Plays a user from log-in to the end, and prints how long each step took.

Also checks that server and engines run as the user, on compute nodes, and in a container where nodes have
Apptainer. Runs in the tools' environment: `python -m cluster.demo.smoke [--name NAME]`.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from .. import logs
from ..errors import ClusterError
from ..layout import HUB, PEOPLE
from ..recipe import APPTAINER_SUITES
from .service import Demo
from .visitor import SmokeFailure, Visitor

USER = PEOPLE[0]
ENGINES = 8
OPTIONS = {"cluster": "summit", "partition": "shas", "account": "ucb-general", "runtime": "20m"}

# Where and as whom a process runs.
PROBE = """
def probe():
    import os, socket
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get("FLATIRONS_JOB_ID", "")  # engine, server
    return {"host": socket.gethostname(), "uid": os.getuid(), "job": job,
            "container": os.environ.get("APPTAINER_CONTAINER", ""),
            "inside": os.path.exists("/.singularity.d")}
"""
IN_KERNEL = PROBE + "import json; print(json.dumps(probe()))"
ON_ENGINES = f"""
import ipyparallel as ipp, json
rc = ipp.Cluster(engines="flatirons", n={ENGINES}).start_and_connect_sync()
print(json.dumps(rc[:].apply_sync(probe)))
"""
END_ENGINES = "rc.cluster.stop_cluster_sync(); print('ended')"


class Table:
    """Steps with their seconds, printed as they end."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    @contextmanager
    def step(self, name: str) -> Iterator[list[str]]:
        """Times a step and prints it, with the notes that the caller adds to the list."""
        began, notes = time.monotonic(), list[str]()
        yield notes
        self.row(name, time.monotonic() - began, *notes)

    def row(self, name: str, seconds: float, *notes: str) -> None:
        """Prints one line."""
        print(f"  {name:<28}{seconds:7.2f} s   {' '.join(notes)}".rstrip(), flush=True)


def jobs(demo: Demo) -> list[dict[str, str]]:
    """The user's live jobs on summit, as squeue lists them."""
    names = ("id", "user", "state", "name", "nodes")
    done = demo.exec(HUB, ["squeue", "--noheader", f"--user={USER.name}", "--format=%i|%u|%T|%j|%N"])
    if done.returncode:
        raise SmokeFailure(f"squeue failed: {done.stderr.strip()}")
    return [dict(zip(names, line.split("|"), strict=True)) for line in done.stdout.splitlines()]


def last_line_as_json(printed: str) -> Any:
    """The last line that a cell printed, read as JSON; ipyparallel prints its progress before it."""
    try:
        return json.loads(printed.strip().rpartition("\n")[2])
    except json.JSONDecodeError as error:
        raise SmokeFailure(f"a cell printed something unexpected: {printed!r}") from error


@dataclass(frozen=True)
class ComputeNodes:
    """Where servers and engines may run, and whether these nodes have Apptainer."""

    names: set[str]
    run_containers: bool


def require_user_on(nodes: ComputeNodes, what: str, found: dict[str, Any], job: str) -> None:
    """Raises SmokeFailure unless a process runs as the user, in the job, and contained where nodes can."""
    if found["uid"] != USER.uid:
        raise SmokeFailure(f"{what} runs as uid {found['uid']}, not as {USER.name} ({USER.uid})")
    if nodes.run_containers and not (found["container"] and found["inside"]):
        raise SmokeFailure(f"{what} on {found['host']} is not in a container")
    if found["host"] not in nodes.names:
        raise SmokeFailure(f"{what} runs on {found['host']}, which isn't a compute node")
    if job and found["job"] != job:
        raise SmokeFailure(f"{what} runs in job {found['job'] or 'none'}, not in {job}")


def start_server(demo: Demo, visitor: Visitor, table: Table) -> str:
    """Starts a server by the form, and returns its job id when it is ready."""
    with table.step("form submitted") as notes:
        began = time.monotonic()
        visitor.submit_form(**OPTIONS)
        notes.append(" ".join(f"{key}={value}" for key, value in OPTIONS.items()))
    for event in visitor.progress():
        name = next((n for n in ("Submitted", "Waiting", "Running") if event["message"].startswith(n)), "")
        if name or event.get("ready"):
            table.row(
                f"  {'ready' if event.get('ready') else name.lower()}",
                time.monotonic() - began,
                event["message"],
            )
    running = jobs(demo)
    if [(job["user"], job["state"]) for job in running] != [(USER.name, "RUNNING")]:
        raise SmokeFailure(f"the server is ready, but Slurm lists {running or 'no job'} for {USER.name}")
    return running[0]["id"]


def use_engines(demo: Demo, kernel: Any, table: Table, nodes: ComputeNodes, server_job: str) -> None:
    """Starts eight engines, checks that they answer from two nodes, and ends them."""
    with table.step(f"{ENGINES} engines answer") as notes:
        found = last_line_as_json(kernel.run(ON_ENGINES))
        hosts = sorted({each["host"] for each in found})
        notes.append(f"on {', '.join(hosts)}")
    engine_jobs = [job["id"] for job in jobs(demo) if job["id"] != server_job]
    if len(found) != ENGINES or len(hosts) != 2 or len(engine_jobs) != 1:
        raise SmokeFailure(
            f"{len(found)} engines answered from {hosts} in jobs {engine_jobs}, wanted 8 from 2 nodes in one"
        )
    for each in found:
        require_user_on(nodes, "an engine", each, engine_jobs[0])
    with table.step("engines ended"):
        kernel.run(END_ENGINES)


def compute_nodes(demo: Demo) -> ComputeNodes:
    """The nodes of the cluster in which the user starts a server."""
    settings = demo.instance.settings()
    names = {node.name for node in settings.site.cluster(OPTIONS["cluster"]).nodes}
    return ComputeNodes(names, run_containers=settings.suite in APPTAINER_SUITES)


def play(demo: Demo, table: Table) -> None:
    """Plays all steps. Raises SmokeFailure, with one sentence, when one of them fails."""
    nodes = compute_nodes(demo)
    visitor = Visitor(demo.url, USER.name)
    with table.step("logged in") as notes:
        visitor.log_in()
        notes.append(f"as {USER.name}")
    if visitor.has_server():
        raise SmokeFailure(
            f"{USER.name} has a server already; stop it, or give the smoke test a --name of its own"
        )
    job = start_server(demo, visitor, table)
    with table.step("kernel answers") as notes:
        kernel = visitor.kernel()
        found = last_line_as_json(kernel.run(IN_KERNEL))
        notes.append(f"on {found['host']}, uid {found['uid']}, in {found['container'] or 'no container'}")
    require_user_on(nodes, "the kernel", found, job)
    use_engines(demo, kernel, table, nodes, job)
    with table.step("stopped, jobs gone"):
        visitor.stop()
        wait_until_no_jobs(demo)


def wait_until_no_jobs(demo: Demo, deadline_s: float = 60) -> None:
    """Raises SmokeFailure when the user still has jobs after the deadline."""
    until = time.monotonic() + deadline_s
    while left := jobs(demo):
        if time.monotonic() > until:
            raise SmokeFailure(f"Slurm still lists {left} a minute after everything was stopped")
        time.sleep(0.1)


def keep_logs(demo: Demo) -> str:
    """The path of a file with the logs of hub, proxy and all nodes. It stays when the demo has ended."""
    place = demo.own / "failure.log"
    with place.open("w") as file:
        for log in (demo.hub_log, demo.proxy_log):
            if log.exists():
                file.write(f"==> {log.name} <==\n{log.read_text(errors='replace')}\n")
        logs.show(demo.instance, to=file)
        users = (".local/state/flatirons", ".ipython/profile_default/log")
        show = " ".join(["tail -n +1", *(f"/home/{USER.name}/{place}/*" for place in users)])
        file.write(demo.exec(HUB, ["sh", "-c", show]).stdout)
    return str(place)


def main() -> int:
    """Plays all steps; the exit code is 0, or 1 after one sentence on stderr."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", default="flatirons")
    parser.add_argument("--started-after", type=float, default=0.0, help="seconds that the hub took to start")
    arguments = parser.parse_args()
    demo, table = Demo(arguments.name), Table()
    print(flush=True)
    if arguments.started_after:
        table.row("hub answers", arguments.started_after, demo.url)
    try:
        play(demo, table)
    except (SmokeFailure, ClusterError, httpx.HTTPError, TimeoutError) as error:
        sentence = str(error) or f"no answer in time ({type(error).__name__})"
        print(f"demo: {sentence} (logs: {keep_logs(demo)})", file=sys.stderr)
        return 1
    table.row("log-in to end", time.monotonic() - table.began)
    inside = " inside a container," if compute_nodes(demo).run_containers else ""
    print(f"  Server and engines ran as alice,{inside} on compute nodes.\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
