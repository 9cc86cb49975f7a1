"""Starts a cluster of engines and times it: `time_engines.py SUBJECT N NODES IMAGE`, inside the image.

SUBJECT is `flatirons`, `unencrypted` (the same without CURVE), or `stock`: ipyparallel's own
SlurmEngineSetLauncher with the same number of tasks, on the same number of nodes, in the same image. Prints
one line of JSON. Runs on a node outside Slurm's cluster.
"""

import json
import os
import socket
import sys
import time
from collections import Counter

import ipyparallel as ipp

ACCOUNT, PARTITION, MINUTES = "ucb-general", "shas", 10


def stock(n: int, nodes: int, image: str) -> ipp.Cluster:
    """ipyparallel's own launcher, configured as in its documentation, with each task in a container."""
    from traitlets.config import Config

    config = Config()
    config.SlurmEngineSetLauncher.engine_cmd = [
        *("apptainer", "exec", "--bind", "/run/munge,/etc/slurm", image, sys.executable, "-m"),
        "ipyparallel.engine",
    ]
    config.SlurmEngineSetLauncher.batch_template = (
        f"#!/bin/sh\n#SBATCH --ntasks={n} --nodes={nodes} --ntasks-per-node={n // nodes} --time={MINUTES}\n"
        f"#SBATCH --account={ACCOUNT} --partition={PARTITION}\nsrun {{program_and_args}}\n"
    )
    address = socket.gethostbyname(socket.gethostname())
    return ipp.Cluster(
        engines="slurm", n=n, controller_ip=address, engine_timeout=280, config=config, load_profile=False
    )


def flatirons(n: int, nodes: int, image: str) -> ipp.Cluster:
    """Flatirons' launcher."""
    from traitlets.config import Config

    words = ["apptainer", "exec", "--bind", "/run/munge,/etc/slurm", image]
    os.environ["FLATIRONS_CONTAINER"] = json.dumps(words)
    asked = {"nodes": nodes, "account": ACCOUNT, "partition": PARTITION, "runtime": MINUTES}
    config = Config(FlatironsEngineSetLauncher=asked)
    return ipp.Cluster(engines="flatirons", n=n, config=config, load_profile=False)


def unencrypted(n: int, nodes: int, image: str) -> ipp.Cluster:
    """Flatirons' launcher with a controller that doesn't encrypt."""
    os.environ["IPP_ENABLE_CURVE"] = "0"
    return flatirons(n, nodes, image)


def pss() -> int:
    """MiB of this engine, with its share of shared pages: PSS in smaps_rollup, see proc(5)."""
    with open("/proc/self/smaps_rollup") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) // 1024


def main(subject: str, n: int, nodes: int, image: str) -> None:
    subjects = {"stock": stock, "flatirons": flatirons, "unencrypted": unencrypted}
    cluster = subjects[subject](n, nodes, image)
    began = time.perf_counter()
    client = cluster.start_and_connect_sync()
    up = time.perf_counter()
    hosts = client[:].apply_sync(socket.gethostname)
    mapped = time.perf_counter()
    memory = client[:].apply_sync(pss)
    again = time.perf_counter()
    client[:].apply_sync(socket.gethostname)
    warm = time.perf_counter() - again
    pulling = time.perf_counter()
    client[:].apply_sync(bytes, 1 << 20)
    pull = time.perf_counter() - pulling
    cluster.stop_cluster_sync()
    found = {"up": up - began, "map": mapped - up, "warm": warm, "pull": pull, "mib": sum(memory)}
    print(json.dumps({**found, "engines": len(hosts), "hosts": len(set(hosts)), "names": Counter(hosts)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
