"""A Spark cluster as a job: its size, its script, its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from flatirons.errors import OptionsRefused
from flatirons.parallel.options import EngineOptions
from flatirons.parallel.spark import job as spark_job
from flatirons.parallel.spark import launch
from flatirons.parallel.spark import node as spark_node
from flatirons.parallel.spark.job import NodeSize
from flatirons.slurm import argv

SIZE = NodeSize(cores=4, memory_mib=8192, heap_mib=4454)
SECRET = "s3cr3t"


def script() -> str:
    python = ["apptainer", "exec", "/srv/my image.sif", "/opt/jupyter/bin/python"]
    return spark_job.job_script(2, SIZE, python, folder="/home/a/x", notebook=("10.0.0.7", 4711))


def test_one_task_on_each_node_gets_all_that_is_requested_there() -> None:
    options = EngineOptions(partition="shas", account="a", qos="q", reservation="r", runtime=30)
    spec = spark_job.job_spec(2, SIZE, options, comment="c", log="/home/a/%x.log")
    line = argv.sbatch(spec)
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=4", "--mem=8192M"} <= set(line)
    assert {"--partition=shas", "--account=a", "--qos=q", "--reservation=r", "--time=30"} <= set(line)
    assert "--output=/home/a/%%x.log" in line


def test_the_script_runs_a_connection_to_the_notebook_a_master_and_a_worker_on_each_node() -> None:
    last = script().strip().splitlines()[-1]
    node = "apptainer exec '/srv/my image.sif' /opt/jupyter/bin/python -m flatirons.parallel.spark.node"
    srun = "srun --export=ALL --ntasks=2 --ntasks-per-node=1 --cpus-per-task=4 "
    srun += "--kill-on-bad-exit=1 --no-kill --label"
    master, worker = f"{node} master /home/a/x", f"{srun} {node} worker /home/a/x 4 4454"
    assert last.endswith(f"bash 10.0.0.7 4711 /home/a/x/liveness.key /home/a/x 8 {master} {worker}")


@pytest.mark.parametrize(
    ("options", "own", "size"),
    [
        (EngineOptions(), (4, 8192), NodeSize(4, 8192, 4454)),
        (EngineOptions(cpus=2, memory=4096), (4, 8192), NodeSize(2, 4096, 1996)),
        (EngineOptions(), (1, 0), NodeSize(1, 2048, 768)),
    ],
)
def test_a_node_has_what_is_requested_else_what_the_notebook_has(
    options: EngineOptions, own: tuple[int, int], size: NodeSize
) -> None:
    assert spark_job.node_size(options, own) == size


def test_the_minimum_of_memory_in_the_message_is_enough() -> None:
    sentence = r'needs \d+M or more on each node, not 1000M. Choose memory="4G"'
    with pytest.raises(OptionsRefused, match=sentence) as refused:
        spark_job.node_size(EngineOptions(memory=1000), (1, 0))
    least = int(refused.value.user.split("needs ")[1].split("M")[0])
    assert spark_job.node_size(EngineOptions(memory=least), (1, 0)).heap_mib >= spark_job.LEAST_HEAP_MIB


def test_local_spark_has_no_more_than_the_notebooks_job() -> None:
    assert spark_job.local_size(EngineOptions(), (4, 8192)) == NodeSize(4, 8192, 4096)
    assert spark_job.local_settings(NodeSize(4, 8192, 4096))["spark.master"] == "local[4]"
    with pytest.raises(OptionsRefused) as refused:
        spark_job.local_size(EngineOptions(cpus=5, memory=9000), (4, 8192))
    assert set(refused.value.messages) == {"cpus", "memory", "nodes"}
    assert "nodes=2" in refused.value.user
    with pytest.raises(OptionsRefused, match="start a notebook with more memory"):
        spark_job.local_size(EngineOptions(), (1, 800))


@pytest.mark.parametrize(
    ("job", "own"),
    [
        ({"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_NODE": "8192"}, (4, 8192)),
        ({"SLURM_CPUS_ON_NODE": "4", "SLURM_MEM_PER_CPU": "2000"}, (4, 8000)),
        ({}, (3, 0)),
    ],
)
def test_slurms_variables_say_what_the_notebook_has(job: dict[str, str], own: tuple[int, int]) -> None:
    assert spark_job.notebook_size(job, 3) == own


def test_all_of_a_cluster_share_a_secret_which_the_script_does_not_hold() -> None:
    driver = spark_job.cluster_settings("spark://10.0.0.8:1", 2, SIZE, "10.0.0.7", SECRET)
    daemons = dict(line.split(" ", 1) for line in spark_job.daemon_settings(SECRET).splitlines())
    for settings in (driver, daemons):
        assert settings["spark.authenticate"] == "true"
        assert settings["spark.authenticate.secret"] == SECRET
        assert settings["spark.network.crypto.enabled"] == "true"
    assert daemons["spark.master.rest.enabled"] == "false"
    assert driver["spark.cores.max"] == "8"
    assert SECRET not in script()


def test_a_users_settings_override_ours_except_security_settings() -> None:
    made = spark_job.add_user_settings({"a": "1"}, {"a": 2, "b": True})
    assert made == {"a": "2", "b": "true"}
    for name in ("spark.master", "spark.authenticate", "spark.network.crypto.enabled"):
        with pytest.raises(OptionsRefused, match=r"session\(\) sets"):
            spark_job.add_user_settings({}, {name: "x"})


@pytest.mark.parametrize("nodes", [0, -1, True, 1.5, "2", None])
def test_nodes_are_a_whole_number(nodes: object) -> None:
    with pytest.raises(OptionsRefused, match="nodes: Give a whole number from 1 up"):
        launch.session(nodes=nodes)  # type: ignore[arg-type]


def test_every_option_that_is_wrong_is_named() -> None:
    with pytest.raises(OptionsRefused) as refused:
        launch.session(nodes=0, cpus=-1, memory="much", runtime="2:00", partition=3)
    assert set(refused.value.messages) == {"nodes", "cpus", "memory", "runtime", "partition"}
    with pytest.raises(TypeError, match="has no keyword 'core'; it takes nodes, name, conf, partition"):
        launch.session(core=3)


def test_a_master_that_does_not_listen_is_not_found(tmp_path: Path) -> None:
    assert spark_node.find_master(tmp_path) == ""
    (tmp_path / "master").write_text("spark://127.0.0.1:9")
    assert spark_node.find_master(tmp_path) == ""
