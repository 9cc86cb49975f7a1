"""A site whose plugins replace every job's name and comment, and print more than the job's id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cluster.layout import CONTROLLER
from tests.person import Person
from tests.real_slurm import Slurm
from tests.servers import SHAS
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

FOLDER = "/etc/slurm/summit"
SUBMIT = """\
function slurm_job_submit(job, partitions, uid)
  job.name = "my-run"
  job.comment = "cost-centre-17"
  return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, uid) return slurm.SUCCESS end
return slurm.SUCCESS
"""
FILTER = """\
function slurm_cli_setup_defaults(options, early) return slurm.SUCCESS end
function slurm_cli_pre_submit(options, offset)
  print("=== project phys-7 ===")
  return slurm.SUCCESS
end
function slurm_cli_post_submit(offset, job, step)
  print("--> this job may use up to 2.00 SU")
  return slurm.SUCCESS
end
"""
PLUGINS = "JobSubmitPlugins=lua\nCliFilterPlugins=cli_filter/lua\n"


@pytest.fixture
def plugins(cluster: Any, slurm: Slurm) -> Iterator[None]:
    """The plugins, in slurmctld and in sbatch."""

    def on_controller(line: str, text: str = "") -> None:
        done = cluster.exec(CONTROLLER, ["sh", "-c", line], stdin=text)
        assert done.returncode == 0, done.stderr

    for name, text in (("job_submit.lua", SUBMIT), ("cli_filter.lua", FILTER)):
        on_controller(f"cat >{FOLDER}/{name} && chmod 644 {FOLDER}/{name}", text)
    on_controller(f"cat >>{FOLDER}/slurm.conf", PLUGINS)
    slurm.ask("scontrol", "reconfigure")
    yield
    on_controller(f"sed -i '/^JobSubmitPlugins=\\|^CliFilterPlugins=/d' {FOLDER}/slurm.conf")
    slurm.ask("scontrol", "reconfigure")


def test_a_server_starts_stays_over_a_restart_of_the_hub_and_is_stopped(
    cluster: Any, bob: Person, slurm: Slurm, plugins: None
) -> None:
    bob.start(**SHAS)
    bob.wait_ready()
    [(job, state, name)] = slurm.jobs("bob")
    assert (state, name) == ("RUNNING", "my-run")
    assert slurm.ask("squeue", "-h", "-j", str(job), "-o", "%k") == "cost-centre-17"
    cluster.kill_hub()
    cluster.start_hub()
    bob.wait_ready()
    assert bob.ask_server("api").json().keys() >= {"version"}
    assert [number for number, _, _ in slurm.jobs("bob")] == [job]
    bob.stop()
    eventually(lambda: slurm.jobs("bob") == [])
