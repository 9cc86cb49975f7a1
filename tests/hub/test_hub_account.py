"""What the hub's account may do in the virtual cluster, and who can read what it writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.layout import HUB, HUB_ACCOUNT
from tests.hub.test_spawn import slurm_step_pids
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import SHAS

pytestmark = pytest.mark.cluster

SITE = """
[hub]
address = "http://hub:8081"
account = "carol"
[clusters.summit]
slurm_conf = "/etc/slurm/summit/slurm.conf"
[environments.python]
image = "/srv/images/base.sif"
"""
RULES = "/etc/sudoers.d/of-a-test"
SYSTEM = ["root", "toor", "daemon", "www-data", "slurm", "munge", "controller", HUB_ACCOUNT.name, "#0", "#1"]


def run(cluster: Any, script: str) -> str:
    done = cluster.exec(HUB, ["sh", "-ec", script])
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@pytest.fixture(scope="module")
def rules(cluster: Any) -> Iterator[None]:
    """The sudo rules of a hub under carol's account, for everybody; root and slurm have second names."""
    run(
        cluster,
        f"""
        useradd --non-unique --uid 0 --no-create-home toor
        useradd --non-unique --uid "$(id -u slurm)" --no-create-home controller
        printf '%s' '{SITE}' > /run/site.toml
        flatirons render sudoers --site /run/site.toml > /run/rules
        visudo -cqf /run/rules
        install -m 0440 /run/rules {RULES}
        """,
    )
    yield
    run(cluster, f"rm -f {RULES}; sed -i '/^toor:/d; /^controller:/d' /etc/passwd /etc/shadow")


def test_sudo_admits_people_and_no_account_of_the_system_whatever_its_name_is(
    cluster: Any, rules: None
) -> None:
    def is_admitted(name: str) -> bool:
        words = ["sudo", "-n", "-u", name, "--", "/usr/bin/squeue", "--version"]
        return cluster.exec(HUB, words, user="carol").returncode == 0

    assert [name for name in ("alice", "bob", "dave") if not is_admitted(name)] == []
    assert [name for name in SYSTEM if is_admitted(name)] == []


UPDATE = ("/usr/bin/scontrol", "update", "JobId=3")
REFUSED = [
    ("/usr/bin/scontrol",),
    ("/usr/bin/scontrol", "show", "config"),
    UPDATE,
    (*UPDATE, "TimeLimit=5", "NodeName=shas0101", "State=DOWN"),
    (*UPDATE, "TimeLimit=5\nNodeName=shas0101"),
    (*UPDATE, "StdOut=/etc/motd"),
    ("/usr/bin/scontrol", "-M", "x", "update", "JobId=3", "TimeLimit=5"),
]


def test_sudo_admits_changes_of_a_waiting_job_and_nothing_else_of_scontrol(cluster: Any, rules: None) -> None:
    def is_permitted(*words: str, user: str = "alice") -> bool:
        line = ["sudo", "-n", "-u", user, "-l", "--", *words]
        return cluster.exec(HUB, line, user="carol").returncode == 0

    assert is_permitted(*UPDATE, "TimeLimit=5")
    assert is_permitted(*UPDATE, "TimeLimit=5", "Partition=shas", "Account=ucb-general", "QOS=normal")
    assert [words for words in REFUSED if is_permitted(*words)] == []
    assert not is_permitted(*UPDATE, "TimeLimit=5", user="root")


def test_nobody_else_can_read_what_the_hub_writes_and_jobs_have_the_usual_umask(
    cluster: Any, alice: Person, slurm: Slurm
) -> None:
    alice.start(**SHAS)
    alice.wait_ready()
    alice.rest("POST", f"/users/{alice.name}/tokens", {"note": "something to be written"})
    files = run(cluster, "find /var/lib/flatirons").split()
    assert {"/var/lib/flatirons/jupyterhub.sqlite", "/var/lib/flatirons/jupyterhub.sqlite-wal"} <= set(files)
    assert run(cluster, "find /var/lib/flatirons -perm /077 -ls") == ""
    [(job, _, _)] = slurm.jobs("alice")
    for pid in slurm_step_pids(cluster, job):
        status = cluster.exec("shas0101", ["cat", f"/proc/{pid}/status"]).stdout
        assert "Umask:\t0022" in status
