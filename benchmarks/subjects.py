"""The hubs that are compared: Flatirons, batchspawner, MOSS, two that show what can be had; and Slurm alone.

Each runs by itself in the hub node with an empty database, the same JupyterHub and Python, and the same
answer to the same request: `POST /hub/api/users/NAME/server` ends when the server is ready.
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

from . import crowd
from .hubs import Hub, Peer
from .stage import HERE, BenchFailure, in_hub

ETC = "/etc/flatirons"
ASKER = ["/opt/peers/bin/python", "-I", "-S", f"{ETC}/asker.py"]
STUB_PORT = 9990
LISTEN_PORT = 9991
DEADLINE_S = 300.0
# `sudo -E -u USER`, as batchspawner's documentation has it.
PEER_RULE = "jupyterhub ALL=(ALL,!root) NOPASSWD:SETENV: /usr/bin/sbatch, /usr/bin/squeue, /usr/bin/scancel, "
PEER_RULE += "/usr/bin/sinfo\n"
PREPARE_PEERS = "cat > /etc/sudoers.d/peers; visudo -cqf /etc/sudoers.d/peers"
EMPTY_PEER = "rm -rf /var/lib/peer; install -d -m 0700 -o jupyterhub -g jupyterhub /var/lib/peer"
EMPTY_OURS = "rm -rf /var/lib/flatirons; install -d -m 0700 -o jupyterhub -g jupyterhub /var/lib/flatirons"
# A shell loop, as the users; $1 is the listener's URL, then the users.
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
    **{"partition": crowd.PARTITION, "runtime": "", "nprocs": 1, "memory": "", "reservation": "", "ngpus": 0},
    **{"options": "", "output": "/dev/null", "default_url": "", "root_dir": "", "gres": "", "prologue": ""},
    **{"environment_id": "stub", "environment_path": f"{ETC}/bin", "environment_modules": ""},
}


@dataclass(frozen=True)
class Subject:
    """A hub of these benchmarks; `options` is what a person's request says besides who it is."""

    name: str
    options: dict[str, Any] = field(default_factory=dict, hash=False)
    is_peer: bool = False


FLATIRONS = Subject("flatirons")
FLOOR = Subject("floor")
LEAST = Subject("least")
KEPT = Subject("kept")
BATCHSPAWNER = Subject("batchspawner", is_peer=True)
MOSS = Subject("moss", MOSS_OPTIONS, is_peer=True)


def prepare(demo: Demo) -> None:
    """Puts the programs of `node/` where the nodes see them; the demo's own hub must be down."""
    shutil.copyfile(demo.etc / "hub_config.py", demo.etc / "demo_config.py")
    for name in (
        "asker.py",
        "lag.py",
        "common_config.py",
        "floor_config.py",
        "least_config.py",
        "kept_config.py",
        "peer_config.py",
    ):
        shutil.copyfile(HERE / "node" / name, demo.etc / name)
    (demo.etc / "bin").mkdir()
    for name in ("stub", "batchspawner-singleuser"):
        shutil.copyfile(HERE / "node" / "stub.py", demo.etc / "bin" / name)
        (demo.etc / "bin" / name).chmod(0o755)
    in_hub(demo, PREPARE_PEERS, stdin=PEER_RULE)


def ask(demo: Demo, **job: Any) -> Any:
    """What the measuring client in the hub node saw of a job of its."""
    known = {"hub": "hub:8081", "proxy": "127.0.0.1:8000", "deadline_s": DEADLINE_S}
    text = json.dumps({**known, "token": demo.token, **job})
    try:
        done = demo.exec(HUB, ASKER, stdin=text, deadline_s=2 * DEADLINE_S)
    except subprocess.TimeoutExpired as error:
        raise BenchFailure(f"the client's {job['do']} took longer than {2 * DEADLINE_S:g} s") from error
    if done.returncode:
        raise BenchFailure(f"the client's {job['do']} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout)


@contextmanager
def running(
    demo: Demo, subject: Subject, people: list[str], *, with_lag: bool = False, ends_all: bool = True
) -> Iterator[Hub]:
    """The subject's hub with an empty database and these people in it; then it and its jobs are gone.

    `with_lag` has its event loop watched; without `ends_all` jobs of others are left.
    """
    hub = _peer(demo, subject) if subject.is_peer else _ours(demo, subject, with_lag)
    with hub as running_hub:
        ask(demo, do="users", names=people)
        try:
            yield running_hub
        finally:
            crowd.end_jobs(demo, ends_all)


@contextmanager
def _ours(demo: Demo, subject: Subject, with_lag: bool) -> Iterator[Hub]:
    parts = ["demo_config.py", "common_config.py"]
    spawner = {FLOOR: ["floor"], LEAST: ["least"], KEPT: ["least", "kept"]}.get(subject, [])
    parts += [f"{name}_config.py" for name in spawner]
    parts += ["lag.py"] * with_lag
    (demo.etc / "hub_config.py").write_text("".join(f'exec(open("{ETC}/{part}").read())\n' for part in parts))
    in_hub(demo, EMPTY_OURS)
    demo.start_proxy()
    demo.start_hub()
    stub = _lasting_stub(demo) if subject == FLOOR else None
    try:
        process = demo.hub_process
        if process is None:
            raise BenchFailure("the hub does not run")
        yield Hub(demo.hub_log, process)
    finally:
        if stub:
            stub.terminate()
            stub.wait(10)
        demo.stop_hub()
        demo.stop_proxy()


def _lasting_stub(demo: Demo) -> "subprocess.Popen[bytes]":
    """The one stub that all servers of the floor are."""
    where = f"JUPYTERHUB_SERVICE_URL=http://0.0.0.0:{STUB_PORT}/"
    argv = [*demo.enter("shas0101", "root"), where, f"{ETC}/bin/stub"]
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)


@contextmanager
def _peer(demo: Demo, subject: Subject) -> Iterator[Hub]:
    in_hub(demo, EMPTY_PEER)
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


def spawn(
    demo: Demo, subject: Subject, people: list[str], *, at_once: bool, health_hz: float = 0
) -> dict[str, Any]:
    """Servers for these people: when each was asked for and when it was ready; BenchFailure if one isn't."""
    how = {"at_once": at_once, "pause_s": [0.5, 1.5], "health_hz": health_hz, "options": subject.options}
    seen: dict[str, Any] = ask(demo, do="spawn", names=people, **how)
    bad = [each for each in seen["spawns"] if each["status"] != 201]
    if bad:
        said = f"{bad[0]['status']} {bad[0]['text']}"
        raise BenchFailure(f"{subject.name}: {len(bad)} of {len(people)} did not start: {said}")
    return seen


def alone(demo: Demo, people: list[str]) -> dict[str, Any]:
    """The same jobs from a shell loop, without a hub: when the loop began, and when each stub answered."""
    url = f"http://hub:{LISTEN_PORT}"
    command = ["sh", "-ec", SUBMIT, "sh", url, *people]
    seen: dict[str, Any] = ask(demo, do="listen", port=LISTEN_PORT, count=len(people), command=command)
    return seen
