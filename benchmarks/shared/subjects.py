"""The hubs that are compared: Flatirons, its peers, and spawners that do as little as possible.

Each runs alone on the hub node, with an empty database and the same JupyterHub and Python, and answers the
same request: `POST /hub/api/users/NAME/server` returns when the server is ready. `start_jobs` starts the same
jobs by Slurm alone, without a hub.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cluster.demo.service import Demo
from cluster.layout import HUB

from .hub_process import Hub, Peer
from .slurmctld import end_jobs
from .testbed import HERE, BenchFailure, run_script_in_hub
from .users import PARTITION

ETC = "/etc/flatirons"
CLIENT = ["/opt/peers/bin/python", "-I", "-S", f"{ETC}/client.py"]
CONFIGURATION_FILES = (
    "client.py",
    "loop_lag.py",
    "common_config.py",
    "floor_config.py",
    "least_config.py",
    "kept_config.py",
    "peer_config.py",
)
STUB_PORT = 9990
LISTEN_PORT = 9991
DEADLINE_S = 300.0
# `sudo -E -u USER`, as in batchspawner's documentation.
PEER_RULE = "jupyterhub ALL=(ALL,!root) NOPASSWD:SETENV: /usr/bin/sbatch, /usr/bin/squeue, /usr/bin/scancel, "
PEER_RULE += "/usr/bin/sinfo\n"
PREPARE_PEERS = "cat > /etc/sudoers.d/peers; visudo -cqf /etc/sudoers.d/peers"
EMPTY_PEER = "rm -rf /var/lib/peer; install -d -m 0700 -o jupyterhub -g jupyterhub /var/lib/peer"
EMPTY_OURS = "rm -rf /var/lib/flatirons; install -d -m 0700 -o jupyterhub -g jupyterhub /var/lib/flatirons"
# A shell loop that submits as each user; $1 is the listener's URL, the users follow.
SUBMIT = """
url=$1
shift
for name; do
    sudo -n -u "$name" sbatch --parsable --export=NIL --output=/dev/null --chdir=/tmp > /dev/null <<END
#!/bin/bash
export JUPYTERHUB_API_URL=$url JUPYTERHUB_API_TOKEN=none
exec /etc/flatirons/bin/stub
END
done
"""
MOSS_OPTIONS = {
    **{"partition": PARTITION, "runtime": "", "nprocs": 1, "memory": "", "reservation": "", "ngpus": 0},
    **{"options": "", "output": "/dev/null", "default_url": "", "root_dir": "", "gres": "", "prologue": ""},
    **{"environment_id": "stub", "environment_path": f"{ETC}/bin", "environment_modules": ""},
}


@dataclass(frozen=True)
class Subject:
    """A hub that is measured; `options` are the user options in each request for a server.

    `configuration` names the files that are added to the demo's own: NAME stands for NAME_config.py.
    """

    name: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    is_peer: bool = False
    configuration: tuple[str, ...] = ()


FLATIRONS = Subject("flatirons")
FLOOR = Subject("floor", configuration=("floor",))
LEAST = Subject("least", configuration=("least",))
KEPT = Subject("kept", configuration=("least", "kept"))
BATCHSPAWNER = Subject("batchspawner", is_peer=True)
MOSS = Subject("moss", MOSS_OPTIONS, is_peer=True)
SUBJECTS = {subject.name: subject for subject in (FLATIRONS, FLOOR, LEAST, KEPT, BATCHSPAWNER, MOSS)}


def install_programs(demo: Demo) -> None:
    """Copies the programs of `node/` to where the nodes see them; the demo's own hub must be stopped."""
    shutil.copyfile(demo.etc / "hub_config.py", demo.etc / "demo_config.py")
    for name in CONFIGURATION_FILES:
        shutil.copyfile(HERE / "node" / name, demo.etc / name)
    (demo.etc / "bin").mkdir()
    for name in ("stub", "batchspawner-singleuser"):
        shutil.copyfile(HERE / "node" / "stub_server.py", demo.etc / "bin" / name)
        (demo.etc / "bin" / name).chmod(0o755)
    run_script_in_hub(demo, PREPARE_PEERS, stdin=PEER_RULE)


def run_client(demo: Demo, task: str, **arguments: Any) -> Any:
    """What the client on the hub node (`node/client.py`) returns for a task; BenchFailure if it fails."""
    common = {"hub": "hub:8081", "proxy": "127.0.0.1:8000", "deadline_s": DEADLINE_S, "token": demo.token}
    text = json.dumps({**common, "task": task, **arguments})
    try:
        done = demo.exec(HUB, CLIENT, stdin=text, deadline_s=2 * DEADLINE_S)
    except subprocess.TimeoutExpired as error:
        raise BenchFailure(f"the client's {task} took longer than {2 * DEADLINE_S:g} s") from error
    if done.returncode:
        raise BenchFailure(f"the client's {task} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


@contextmanager
def running_hub(
    demo: Demo, subject: Subject, users: list[str], *, with_lag: bool = False, ends_pending: bool = True
) -> Iterator[Hub]:
    """The subject's hub, with an empty database and these users. At the end the hub and its jobs are gone.

    `with_lag` records how late the hub's event loop is. Without `ends_pending`, pending jobs stay.
    """
    hub = _peer_hub(demo, subject) if subject.is_peer else _our_hub(demo, subject, with_lag)
    with hub as running:
        run_client(demo, "users", names=users)
        try:
            yield running
        finally:
            end_jobs(demo, with_pending=ends_pending)


@contextmanager
def _our_hub(demo: Demo, subject: Subject, with_lag: bool) -> Iterator[Hub]:
    parts = ["demo_config.py", "common_config.py"]
    parts += [f"{name}_config.py" for name in subject.configuration]
    parts += ["loop_lag.py"] * with_lag
    (demo.etc / "hub_config.py").write_text("".join(f'exec(open("{ETC}/{part}").read())\n' for part in parts))
    run_script_in_hub(demo, EMPTY_OURS)
    demo.start_proxy()
    demo.start_hub()
    stub = _start_stub(demo) if subject == FLOOR else None
    try:
        yield Hub.of(demo)
    finally:
        if stub:
            stub.terminate()
            stub.wait(10)
        demo.stop_hub()
        demo.stop_proxy()


def _start_stub(demo: Demo) -> "subprocess.Popen[bytes]":
    """The single stub that serves all servers of the floor."""
    where = f"JUPYTERHUB_SERVICE_URL=http://0.0.0.0:{STUB_PORT}/"
    argv = [*demo.enter("shas0101", "root"), where, f"{ETC}/bin/stub"]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)


@contextmanager
def _peer_hub(demo: Demo, subject: Subject) -> Iterator[Hub]:
    run_script_in_hub(demo, EMPTY_PEER)
    environment = [
        "env",
        f"PEER={subject.name}",
        "PATH=/opt/peers/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]
    peer = Peer(demo, [*environment, "/opt/peers/bin/jupyterhub", "-f", f"{ETC}/peer_config.py"])
    try:
        yield peer.start()
    finally:
        peer.stop()


def start_servers(
    demo: Demo, subject: Subject, users: list[str], *, at_once: bool, health_hz: float = 0
) -> dict[str, Any]:
    """Starts a server for each user; returns `spawns` (when each was requested and ready) and `health`.

    Raises BenchFailure if a server doesn't start.
    """
    how = {"at_once": at_once, "pause_s": [0.5, 1.5], "health_hz": health_hz, "options": subject.options}
    seen: dict[str, Any] = run_client(demo, "spawn", names=users, **how)
    failed = [each for each in seen["spawns"] if each["status"] != 201]
    if failed:
        answer = f"{failed[0]['status']} {failed[0]['text']}"
        raise BenchFailure(f"{subject.name}: {len(failed)} of {len(users)} did not start: {answer}")
    return seen


def start_jobs(demo: Demo, users: list[str]) -> dict[str, Any]:
    """Submits the same jobs without a hub; returns when the loop began and when each stub answered."""
    url = f"http://hub:{LISTEN_PORT}"
    command = ["sh", "-ec", SUBMIT, "sh", url, *users]
    seen: dict[str, Any] = run_client(demo, "listen", port=LISTEN_PORT, count=len(users), command=command)
    return seen
