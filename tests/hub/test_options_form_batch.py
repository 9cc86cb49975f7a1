"""A form on batchspawner's SlurmSpawner, as in docs/how-to/any-spawner.md, on a virtual cluster."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import batchspawner
import pytest

from cluster.layout import HUB
from tests.hub.test_options_form_spawner import manual
from tests.hub.test_plain_config import STATE, PlainHub, configuration, running
from tests.person import Person
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

OWN_STATE = "/var/lib/batchspawner"
SLURM = "env SLURM_CONF=/etc/slurm/summit/slurm.conf"
# in the hub's environment and in the image there is no batchspawner: it lies in a folder
HERE = f"""
c.SlurmSpawner.exec_prefix = "sudo -E -u {{username}} {SLURM}"
c.SlurmSpawner.batchspawner_singleuser_cmd = (
    "apptainer exec --env PYTHONPATH=$HOME/batch /srv/images/base.sif python3 -m batchspawner.singleuser"
)
"""


class BatchHub(PlainHub):
    """A hub that runs as root, because batchspawner's `sudo -E` would need special rules otherwise."""

    account = "root"
    environment = ("PYTHONPATH=/etc/flatirons/batch",)

    def __init__(self, demo: Any) -> None:
        super().__init__(demo)
        text = re.sub(r"^# The form, .*?\.attach\(c\.SlurmSpawner\)$", "", configuration(), flags=re.M | re.S)
        (demo.etc / "plain.py").write_text(text.replace(STATE, OWN_STATE) + manual("batchspawner") + HERE)
        shutil.copytree(
            Path(batchspawner.__file__).parent, demo.etc / "batch" / "batchspawner", dirs_exist_ok=True
        )
        demo.exec(HUB, ["install", "-d", "-m", "700", OWN_STATE])
        demo.exec(HUB, ["cp", "-r", "/etc/flatirons/batch", "/home/alice/"], "alice")


@pytest.fixture(scope="module")
def hub(cluster: Any) -> Iterator[BatchHub]:
    """The hub that uses batchspawner."""
    with running(cluster, BatchHub(cluster.demo)) as hub:
        yield hub


@pytest.fixture
def alice(cluster: Any, hub: BatchHub) -> Iterator[Person]:
    """Alice at that hub."""
    person = Person(cluster.hub_url, "alice").log_in()
    yield person
    person.http.close()
    cluster.exec(HUB, [*SLURM.split(), "scancel", "--me"], "alice")


def jobs(cluster: Any) -> str:
    """Alice's jobs on summit: partition, CPUs, memory, limit, nodes."""
    ask = [*SLURM.split(), "squeue", "--me", "-h", "-o", "%P %C %m %l %D"]
    return str(cluster.exec(HUB, ask, "alice").stdout)


def test_batchspawner_starts_the_chosen_job_and_a_restarted_hub_finds_and_ends_it(
    cluster: Any, alice: Person, hub: BatchHub
) -> None:
    chosen = {"req_partition": "shas", "req_nprocs": "2", "req_memory": "1G", "req_runtime": "10m"}
    page = alice.post_form(**chosen, req_nodes="9")
    assert page.status_code == 400 and alice.message_of(page, "req_nodes") == "Must be between 1 and 4."
    assert alice.post_form(**chosen, req_nodes="1").status_code == 302
    began = alice.wait_ready()["started"]
    assert jobs(cluster).split() == ["shas", "2", "1G", "10:00", "1"]
    assert alice.ask_server("api/status").status_code == 200
    hub.stop()
    hub.start()
    assert alice.wait_ready()["started"] == began
    assert alice.ask_server("api/status").status_code == 200
    alice.stop()
    eventually(lambda: jobs(cluster) == "")
