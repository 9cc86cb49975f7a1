"""A configuration for batchspawner, its form included, with only `child_class` changed, on real Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.layout import HUB, HUB_ACCOUNT
from tests.hub.test_plain_config import PlainHub, running
from tests.person import Person
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

STATE = "/var/lib/jupyterhub/elsewhere"
FORM = """
from optionsspawner.forms import NumericalInputField, SelectField, TextInputField

form_fields = [
    SelectField("req_cluster", label="Cluster", choices=[("summit", "Summit"), ("blanca", "Blanca")]),
    SelectField(
        "req_partition",
        label="Partition",
        choices=[("shas", "Haswell"), ("sknl", "Knights Landing"), ("blanca-csdms", "CSDMS")],
        default="shas",
    ),
    SelectField("req_qos", choices=[("normal", "For all"), ("long", "Long")], default="normal"),
    TextInputField("req_account", label="Account (if you have several)"),
    SelectField("req_image_path", choices=[("/srv/images/base.sif", "Python 3")]),
    TextInputField(
        "req_runtime",
        label="HH:MM:SS",
        attr_required=True,
        attr_value="02:00:00",
        attr_pattern="[01][0-9]:[0-5][0-9]:[0-5][0-9]",
    ),
    NumericalInputField("req_nodes", attr_value=1, attr_min=1, attr_max=4),
    NumericalInputField("req_ntasks", label="Tasks on each node", attr_value=1, attr_min=1, attr_max=24),
    TextInputField("req_memory", label="Memory", attr_value="1500mb"),
]
"""
SLURM = """
_as_user = "sudo -E -u {username} SLURM_CONF=/etc/slurm/{cluster}/slurm.conf"
spawner_config = {
    "batch_script": '''#!/bin/bash
#SBATCH --partition={partition} --qos={qos} --account={account} --mem={memory}
#SBATCH --time={runtime} --nodes={nodes} --ntasks-per-node={ntasks}
apptainer run --bind /etc/slurm {image_path} {cmd}
''',
    "batch_submit_cmd": f"{_as_user} sbatch",
    "batch_query_cmd": _as_user + " squeue -h -j {job_id} -o '%T %B'",
    "batch_cancel_cmd": _as_user + " scancel {job_id}",
}
"""
HUB_CONFIGURATION = f"""
from pathlib import Path

c = get_config()
c.JupyterHub.spawner_class = "optionsspawner.OptionsFormSpawner"
c.OptionsFormSpawner.child_class = "batchspawner.SlurmSpawner"
c.OptionsFormSpawner.child_config = spawner_config
c.OptionsFormSpawner.form_fields = form_fields
c.Spawner.http_timeout = c.Spawner.start_timeout = 300
c.Spawner.notebook_dir = "/"
c.Spawner.default_url = "/lab/tree/home/{{username}}"

c.JupyterHub.hub_ip = "hub"
c.JupyterHub.cleanup_servers = c.JupyterHub.cleanup_proxy = False
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:8001"
c.ConfigurableHTTPProxy.auth_token = Path("/var/lib/flatirons/proxy_token").read_text().strip()
c.JupyterHub.db_url = "sqlite:///{STATE}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "{STATE}/cookie_secret"
c.Authenticator.allow_all = True
c.PAMAuthenticator.service = "sshd"
"""


def adopted(text: str) -> str:
    """The configuration with our spawner as the child."""
    there, here = '"batchspawner.SlurmSpawner"', '"flatirons-slurm"'
    assert there in text
    return text.replace(there, here)


@pytest.fixture(scope="module")
def hub(cluster: Any) -> Iterator[PlainHub]:
    """The hub with the three parts as one file."""
    hub = PlainHub(cluster.demo)
    (cluster.demo.etc / "plain.py").write_text(adopted(FORM + SLURM + HUB_CONFIGURATION))
    cluster.exec(HUB, ["install", "-d", "-m", "700", STATE], HUB_ACCOUNT.name)
    hub.log.write_bytes(b"")
    with running(cluster, hub):
        yield hub


@pytest.fixture
def alice(cluster: Any, hub: PlainHub) -> Iterator[Person]:
    """Alice at that hub; her server is stopped afterwards."""
    person = Person(cluster.hub_url, "alice").log_in()
    yield person
    person.stop()
    person.http.close()
    eventually(lambda: not jobs(cluster, "summit") and not jobs(cluster, "blanca"))


def jobs(cluster: Any, name: str) -> list[str]:
    """Alice's jobs that aren't over: partition, QOS, account, nodes, tasks, run time, memory."""
    ask = ["env", f"SLURM_CONF=/etc/slurm/{name}/slurm.conf", "squeue", "--me", "-h"]
    said = cluster.exec(
        HUB, [*ask, "-O", "Partition,QOS,Account,NumNodes,NumTasks,TimeLimit,MinMemory"], "alice"
    )
    return str(said.stdout).split()


def test_what_was_chosen_reaches_slurm_and_the_server_runs_in_the_image(
    cluster: Any, alice: Person, hub: PlainHub
) -> None:
    assert 'value="02:00:00"' in alice.form().text
    answer = alice.post_form(
        req_cluster="summit",
        req_partition="shas",
        req_qos="long",
        req_account="ucb-general",
        req_image_path="/srv/images/base.sif",
        req_runtime="01:30:00",
        req_nodes="2",
        req_ntasks="2",
        req_memory="1500mb",
    )
    assert answer.status_code == 302, answer.text
    started = alice.wait_ready()["started"]
    assert jobs(cluster, "summit") == ["shas", "long", "ucb-general", "2", "4", "1:30:00", "1500M"]
    assert alice.ask_server("api/status").status_code == 200
    hub.stop()
    hub.start()
    assert alice.wait_ready()["started"] == started
    assert alice.ask_server("api/status").status_code == 200


def test_each_cluster_of_the_form_is_the_one_whose_slurm_conf_the_command_named(
    cluster: Any, alice: Person
) -> None:
    answer = alice.post_form(req_cluster="blanca", req_partition="blanca-csdms", req_account="csdms")
    assert answer.status_code == 302, answer.text
    alice.wait_ready()
    assert jobs(cluster, "blanca")[:3] == ["blanca-csdms", "normal", "csdms"]
    assert jobs(cluster, "summit") == []


def test_a_time_that_is_none_is_refused_at_its_field(cluster: Any, alice: Person) -> None:
    page = alice.post_form(req_runtime="soon")
    assert page.status_code == 400 and alice.message_of(page, "req_runtime")
    assert jobs(cluster, "summit") == []


def test_the_log_names_every_setting_of_the_other_spawner(hub: PlainHub) -> None:
    log = hub.log.read_text()
    for name in ("batch_script", "batch_submit_cmd", "batch_query_cmd", "batch_cancel_cmd"):
        assert f"child_config['{name}'] has no effect: " in log
    assert "form_fields: req_partition is 'partition' here" in log
    assert "c.SlurmSpawner.clusters is taken from batch_submit_cmd" in log
    assert "c.SlurmSpawner.image_settings is taken from batch_script: {'binds': ['/etc/slurm']}" in log


class OneCluster(PlainHub):
    """The same without a choice of the cluster, for which nothing is configured."""

    def __init__(self, demo: Any) -> None:
        super().__init__(demo)
        form = "\n".join(line for line in FORM.splitlines() if "req_cluster" not in line)
        slurm = SLURM.replace(" SLURM_CONF=/etc/slurm/{cluster}/slurm.conf", "")
        (demo.etc / "plain.py").write_text(adopted(form + slurm + HUB_CONFIGURATION))


def test_without_clusters_jobs_go_to_the_cluster_that_slurms_commands_find(
    cluster: Any, alice: Person, hub: PlainHub
) -> None:
    hub.stop()
    one = OneCluster(cluster.demo)
    one.start()
    try:
        assert "req_cluster" not in alice.form().text
        answer = alice.post_form(req_runtime="00:10:00")
        assert answer.status_code == 302, answer.text
        alice.wait_ready()
        assert jobs(cluster, "summit")[-2:] == ["10:00", "1500M"]
        alice.stop()
    finally:
        one.stop()
        (cluster.demo.etc / "plain.py").write_text(adopted(FORM + SLURM + HUB_CONFIGURATION))
        hub.start()
