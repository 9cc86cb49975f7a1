"""Attacks of bob on alice's server and engines, from her node and from another: each of them fails.

Bob runs neighbour.py in the image, with an account on the nodes, as beside her on a shared node.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cluster.demo.visitor import Kernel, Visitor
from tests.cluster.product.cells import last_json, start_server
from tests.conftest import RealCluster
from tests.real_slurm import Slurm
from tests.waiting import eventually

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed WebSocketClientConnection:ResourceWarning"),
]
PROGRAM = Path(__file__).with_name("neighbour.py").read_text()
IMAGE = "/srv/images/base.sif"
ENGINES = "ipengines"
SECRET = "the catch of the day"
CONTROL = "heard on an open port"
# Printed in pieces, so that the code of the cell, which kernels send back, isn't taken for its output.
TALK = f"""import time
for _ in range(30):
    print({SECRET[:9]!r} + {SECRET[9:]!r}, flush=True); time.sleep(0.1)"""
# What a kernel's channel would be without protection, to see that Bob would hear it.
OPEN_CHANNEL = """
import socket, zmq
channel = zmq.Context.instance().socket(zmq.PUB)
channel.bind("tcp://127.0.0.1:*")
print(socket.gethostname())
"""
START = """
import ipyparallel as ipp, json, socket
rc = ipp.Cluster(engines="flatirons", n=2).start_and_connect_sync()
engines = json.load(open(rc.cluster.controller.connection_files["engine"]))
client = json.load(open(rc.cluster.controller.connection_files["client"]))
host = client["interface"].partition("://")[2]
ports = [value for file in (engines, client) for value in file.values() if isinstance(value, int)]
print(json.dumps([host, sorted(set(ports) - {engines["liveness"]}), engines["liveness"]]))
"""


class Bob:
    """Runs neighbour.py on nodes, as a user who has nothing to do with alice."""

    def __init__(self, cluster: RealCluster) -> None:
        self.cluster = cluster

    def does(self, node: str, *words: str) -> list[Any]:
        """The lines of JSON that the program prints."""
        argv = ["apptainer", "-s", "exec", IMAGE, "python", "-", *words]
        done = self.cluster.exec(node, argv, user="bob", stdin=PROGRAM)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def bob(cluster: RealCluster) -> Bob:
    return Bob(cluster)


@pytest.fixture
def kernel(visitor: Visitor, slurm: Slurm) -> Iterator[Kernel]:
    """A new kernel in alice's notebook server; at the end all engines are removed."""
    if not visitor.has_server():
        start_server(visitor)
    yield visitor.kernel()
    gc.collect()
    slurm.end(ENGINES)


def test_a_neighbour_hears_nothing_of_what_a_notebook_prints(kernel: Kernel, bob: Bob) -> None:
    node = kernel.run(OPEN_CHANNEL).strip()
    with ThreadPoolExecutor() as pool:
        attack = pool.submit(bob.does, node, "hear", "5")
        printed = kernel.run(TALK.replace("; time", f"; channel.send({CONTROL.encode()!r}); time"))
        places, heard = attack.result()
    assert SECRET in printed
    assert places > 1, "at least alice's server listens there"
    assert set(heard) == {CONTROL}


def test_a_neighbour_cannot_enter_the_directory_of_the_kernels_sockets(kernel: Kernel, bob: Bob) -> None:
    code = "import glob, json, os, socket; place = os.environ['FLATIRONS_SOCKETS']\n"
    code += "print(json.dumps([socket.gethostname(), place, len(glob.glob(place + '/*-5'))]))"
    node, place, kernels = last_json(kernel.run(code))
    assert kernels >= 1
    [found] = bob.does(node, "look")
    assert found[place] is False


def test_nobody_on_another_node_hears_what_engines_print(kernel: Kernel, bob: Bob) -> None:
    host, ports, _ = last_json(kernel.run(START))
    with ThreadPoolExecutor() as pool:
        attack = pool.submit(bob.does, "hub", "hear", "5", *(f"{host}:{port}" for port in ports))
        kernel.run(f"talk = rc[:].apply_async(lambda: exec({TALK!r})); talk.wait(20); print(talk.stdout)")
        places, heard = attack.result()
    assert places == len(ports) > 8
    assert heard == []
    kernel.run("rc.cluster.stop_cluster_sync()")


def test_four_hundred_connections_of_a_stranger_hold_up_no_engine(
    kernel: Kernel, bob: Bob, cluster: RealCluster
) -> None:
    host, _, liveness = last_json(kernel.run(START))
    count = ["sh", "-c", f"ss --no-header --tcp --numeric state established dport = :{liveness} | wc -l"]
    with ThreadPoolExecutor() as pool:
        attack = pool.submit(bob.does, "hub", "hold", "20", "400", host, str(liveness))
        eventually(lambda: int(cluster.exec("hub", count).stdout) > 100)
        began = time.monotonic()
        kernel.run("await rc.cluster.start_engines(2)\nrc.wait_for_engines(4, timeout=45)")
        took = time.monotonic() - began
        assert attack.running(), "the engines came while the attack went on"
        [opened] = attack.result()
    assert opened > 400, "those that were dropped were opened again"
    assert took < 17
    kernel.run("rc.cluster.stop_cluster_sync()")
