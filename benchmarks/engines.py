"""`scripts/bench engines`: how long engines on several nodes take to start and to send data.

The subjects are two launchers, and `unencrypted`: Flatirons' launcher without CURVE.
"""

import json
import statistics
import subprocess
from typing import Any

from cluster.demo.progress import Progress
from cluster.demo.service import Demo
from cluster.layout import CONTROLLER, HUB
from cluster.state import Bind

from .shared.options import Options
from .shared.report import Row, machine
from .shared.testbed import HERE, BenchFailure, Result, run_script, running_testbed
from .shared.users import MAKE_ROOM, NODES

IMAGE = "/srv/images/base.sif"
PROGRAM = HERE / "node" / "time_engines.py"
PROGRAM_ON_NODE = "/opt/time_engines.py"
SUBJECTS = ("flatirons", "unencrypted", "stock")
USER = "alice"


def run(options: Options) -> Result:
    """The subjects take turns, each on an empty cluster."""
    n, nodes, rounds = (8, 2, 1) if options.is_quick else (64, 4, 2)
    progress = Progress()
    binds = [Bind(str(PROGRAM), PROGRAM_ON_NODE, False)]
    with running_testbed(progress, HERE / "site.toml", NODES, binds=binds) as demo:
        run_script(demo, CONTROLLER, MAKE_ROOM)
        seen: dict[str, list[dict[str, Any]]] = {subject: [] for subject in SUBJECTS}
        for number in range(rounds):
            for subject in SUBJECTS:
                with progress.step(f"{subject}, {n} engines, round {number + 1}"):
                    seen[subject].append(measure(demo, subject, n, nodes))
        rows = [row for subject in SUBJECTS for row in _rows(subject, seen[subject], n, nodes)]
        return Result(machine(demo), rows)


def measure(demo: Demo, subject: str, n: int, nodes: int) -> dict[str, Any]:
    """What `node/time_engines.py` prints about one start; it runs in the image on the hub node.

    Raises BenchFailure unless there were `n` engines on that many nodes.
    """
    words = ["apptainer", "-s", "exec", "--bind", f"/run/munge,/etc/slurm,{PROGRAM_ON_NODE}", IMAGE]
    argv = [*words, "python", PROGRAM_ON_NODE, subject, str(n), str(nodes), IMAGE]
    try:
        done = demo.exec(HUB, argv, USER, deadline_s=300)
    except subprocess.TimeoutExpired as error:
        raise BenchFailure(f"the engines of {subject} did not start within 5 minutes") from error
    if done.returncode:
        raise BenchFailure(f"the engines of {subject} failed: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if (found["engines"], found["hosts"]) != (n, nodes):
        raise BenchFailure(f"{subject} had {found['engines']} engines on {found['hosts']} nodes")
    return found


def _rows(subject: str, seen: list[dict[str, Any]], n: int, nodes: int) -> list[Row]:
    facts = {"n": n, "nodes": nodes, "rounds": len(seen)}

    def median(key: str) -> float:
        return round(statistics.median(each[key] for each in seen), 3)

    return [
        Row(subject, "all_up_s", median("up"), "s", facts),
        Row(subject, "all_up_max_s", round(max(each["up"] for each in seen), 3), "s", facts),
        Row(subject, "first_map_s", median("map"), "s", facts),
        Row(subject, "warm_map_s", median("warm"), "s", facts),
        Row(subject, "pull_1mib_each_s", median("pull"), "s", facts),
        Row(subject, "engines_pss_mib", median("mib"), "MiB", facts),
    ]
