"""Configurations of batchspawner, jupyterhub_moss and wrapspawner: what SlurmSpawner makes of them."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

from flatirons.forms import Field, Form, Integer, Select, Text
from flatirons.spawners.options_form import OptionsFormSpawner
from flatirons.spawners.slurm import SlurmSpawner
from tests.unit.spawners.test_options_form import landed, made

SUDO = "sudo -E -u {username} SLURM_CONF=/etc/slurm/{cluster}/slurm.conf"
BATCH = {
    "batch_script": "#!/bin/bash\n#SBATCH --time={runtime} --ntasks-per-node={ntasks}\n{cmd}\n",
    "batch_submit_cmd": f"{SUDO} sbatch",
    "batch_query_cmd": f"{SUDO} squeue -h -j {{job_id}} -o '%T %B'",
}
CLUSTERS = Select("req_cluster", choices=[("north", "North"), ("south", "South")], default="north")


def started(config: Config, kind: Any = SlurmSpawner) -> list[str]:
    """What a hub with this configuration logs at its start."""
    lines: list[str] = []
    log = SimpleNamespace(log=lambda level, text: lines.append(f"{logging.getLevelName(level)} {text}"))
    kind.at_hub_start(SimpleNamespace(config=config, spawner_class=kind, log=log))
    return lines


def with_form(*fields: Field, **child_config: Any) -> Config:
    section = {"child_class": SlurmSpawner, "form_fields": list(fields), "child_config": child_config}
    return Config(OptionsFormSpawner=section)


# -- req_NAME


@pytest.mark.parametrize(
    ("name", "value", "trait", "meant"),
    [
        ("req_partition", "shas", "partition", "shas"),
        ("req_queue", "shas", "partition", "shas"),
        ("req_runtime", "02:00:00", "runtime", 120),
        ("req_memory", "4gb", "memory", 4096),
        ("req_nprocs", "2", "cpus", 2),
        ("req_ngpus", "1", "gpus", "1"),
        ("req_gres", "gpu:v100:1", "gres", "gpu:v100:1"),
        ("req_nodes", 2, "nodes", 2),
        ("req_ntasks", 2, "ntasks", 2),
        ("req_qos", "normal", "qos", "normal"),
        ("req_reservation", "class", "reservation", "class"),
        ("req_prologue", "module load x", "prologue", "module load x"),
        ("req_environment", "r", "environment_name", "r"),
        ("req_image_path", "/srv/r.sif", "image", "/srv/r.sif"),
    ],
)
@pytest.mark.parametrize(
    "section", ["SlurmSpawner", "Spawner", "BatchSpawnerBase", "MOSlurmSpawner", "child_config"]
)
def test_a_setting_with_the_prefix_is_taken_and_the_hub_says_so(
    section: str, name: str, value: object, trait: str, meant: object
) -> None:
    if section == "child_config":
        kind, config = OptionsFormSpawner, with_form(**{name: value})
    else:
        kind, config = SlurmSpawner, Config({section: {name: value}})
    assert getattr(kind(config=config), trait) == meant
    [line] = started(config, kind)
    assert line.startswith("INFO ") and name in line and f"c.SlurmSpawner.{trait}" in line


async def test_a_field_with_the_prefix_sets_the_trait_and_outlives_the_hub() -> None:
    fields = [Text("req_partition"), Text("req_runtime"), Integer("req_nprocs")]
    spawner = await landed(
        made(*fields, child=SlurmSpawner), req_partition="sknl", req_runtime="02:00:00", req_nprocs=4
    )
    assert (spawner.partition, spawner.runtime, spawner.cpus) == ("sknl", 120, 4)
    assert not spawner.has_trait("req_partition")
    lines = started(with_form(*fields), OptionsFormSpawner)
    assert lines[0].endswith(
        "form_fields: req_partition is 'partition' here, and sets c.SlurmSpawner.partition."
    )


async def test_a_field_for_the_environment_chooses_one_and_leaves_jupyterhubs_variables_alone() -> None:
    field = Select("environment", choices=["python", "r"])
    spawner = await landed(
        made(field, child=SlurmSpawner, config={"child_config": {"environment": {"SITE": "physics"}}}),
        environment="r",
    )
    assert (spawner.environment_name, spawner.environment) == ("r", {"SITE": "physics"})
    assert spawner.job_options()["environment"] == "r"


KNOWN = {"python": {"image": "/srv/python.sif", "binds": ["/scratch"]}, "r": {"image": "/srv/r.sif"}}


@pytest.mark.parametrize(
    ("environments", "chosen", "name", "argv"),
    [
        (KNOWN, {"req_image_path": "/srv/r.sif"}, "r", ["apptainer", "exec", "/srv/r.sif"]),
        (KNOWN, {"req_environment": "r"}, "r", ["apptainer", "exec", "/srv/r.sif"]),
        (
            *(KNOWN, {"req_image_path": "/srv/python.sif"}, "python"),
            ["apptainer", "exec", "--bind", "/scratch", "/srv/python.sif"],
        ),
        ({}, {"req_image_path": "/srv/new one.sif"}, "new one", ["apptainer", "exec", "/srv/new one.sif"]),
        ({}, {"environment": "/srv/new.sif"}, "new", ["apptainer", "exec", "/srv/new.sif"]),
        ({}, {}, "default", []),
    ],
)
async def test_an_image_may_be_chosen_by_its_path_and_none_is_the_software_of_the_node(
    environments: Any, chosen: Any, name: str, argv: list[str]
) -> None:
    fields = [Text(each, pattern="") for each in chosen]
    config = {"child_config": {"environments": environments}}
    spawner = await landed(made(*fields, child=SlurmSpawner, config=config), **chosen)
    found = spawner._environment(str(spawner.job_options()["environment"]))
    assert (found.name, found.argv([])) == (name, argv)


def test_a_trait_under_its_own_name_wins() -> None:
    config = Config(
        SlurmSpawner={"partition": "mine", "req_partition": "old"}, BatchSpawnerBase={"req_qos": "a"}
    )
    config.SlurmSpawner.req_qos = "b"
    spawner = SlurmSpawner(config=config)
    assert (spawner.partition, spawner.qos) == ("mine", "b")
    assert SlurmSpawner(config=config, req_partition="profile").partition == "mine"
    assert SlurmSpawner(config=Config(), req_nprocs="2", user=None).cpus == 2, "as wrapspawner passes it"


def test_no_line_says_of_a_setting_that_is_taken_that_it_is_not_recognized(
    caplog: pytest.LogCaptureFixture,
) -> None:
    SlurmSpawner(config=Config(SlurmSpawner={"req_partition": "shas", **BATCH}))
    assert "not recognized" not in caplog.text


@pytest.mark.parametrize("section", ["SlurmSpawner", "BatchSpawnerBase"])
def test_a_value_that_nothing_can_read_ends_the_start_of_the_hub(section: str) -> None:
    with pytest.raises(TraitError, match=r"c\.SlurmSpawner\.runtime: \"soon\" isn't a time"):
        started(Config({section: {"req_runtime": "soon"}}))


# -- what batchspawner's commands and script decide


def test_the_clusters_of_a_form_come_from_the_command_that_names_their_slurm_conf() -> None:
    config = with_form(CLUSTERS, **BATCH)
    spawner: Any = OptionsFormSpawner(config=config)
    assert spawner.clusters == {
        name: {"slurm_conf": f"/etc/slurm/{name}/slurm.conf", "bin_dir": ""} for name in ("north", "south")
    }
    assert spawner.cluster == "north"
    assert any(
        "clusters is taken from batch_submit_cmd" in line for line in started(config, OptionsFormSpawner)
    )
    named = {"only": {}}
    config.SlurmSpawner.clusters = named
    assert OptionsFormSpawner(config=config).clusters == named


@pytest.mark.parametrize(
    ("command", "clusters"),
    [
        ("sbatch --parsable", {"default": {}}),
        ("sudo SLURM_CONF=/a/slurm.conf sbatch", {"default": {"slurm_conf": "/a/slurm.conf", "bin_dir": ""}}),
        ("/opt/slurm/bin/sbatch", {"default": {"slurm_conf": "", "bin_dir": "/opt/slurm/bin"}}),
        ("SLURM_CONF=$CONF sbatch", {"default": {}}),
        ("SLURM_CONF=/a/{other}/slurm.conf sbatch", {"default": {}}),
        ("SLURM_CONF=/a/{{ cluster }}/slurm.conf sbatch", {"default": {}}),
    ],
)
def test_without_a_choice_there_is_the_one_cluster_that_the_command_finds(
    command: str, clusters: object
) -> None:
    assert SlurmSpawner(config=Config(SlurmSpawner={"batch_submit_cmd": command})).clusters == clusters


def test_a_name_that_is_no_file_name_makes_no_path() -> None:
    field = Select("req_cluster", choices=["../../tmp", "north"])
    assert list(OptionsFormSpawner(config=with_form(field, **BATCH)).clusters) == ["north"]


async def test_generic_resources_reach_sbatch_as_they_stand() -> None:
    spawner = await landed(made(Text("req_gres"), child=SlurmSpawner), req_gres="shard:2")
    spawner.user.settings["cookie_secret"] = b"any"
    assert spawner.job_spec(SimpleNamespace(spawn_id="1")).extra == ("--gres=shard:2",)


async def test_tasks_count_for_each_node_where_the_script_says_so() -> None:
    fields = [Integer("req_nodes"), Integer("req_ntasks")]
    for child_config, extra, ntasks in ((BATCH, ("--ntasks-per-node=3",), 0), ({}, (), 3)):
        spawner = made(*fields, child=SlurmSpawner, config={"child_config": child_config})
        await landed(spawner, req_nodes=2, req_ntasks=3)
        spawner.user.settings["cookie_secret"] = b"any"
        spec = spawner.job_spec(SimpleNamespace(spawn_id="1"))
        assert (spec.nodes, spec.ntasks, spec.extra) == (2, ntasks, extra)


@pytest.mark.parametrize(
    ("script", "settings"),
    [
        (
            "singularity run \\\n  --bind /a \\\n --bind /b:/c \\\n  $IMAGE {cmd}\n",
            {"binds": ["/a", "/b:/c"]},
        ),
        (
            "module load x\napptainer exec --nv -B /a,/b {image_path} {cmd}",
            {"binds": ["/a", "/b"], "nv": True},
        ),
        ("apptainer run --bind=/a --bind {homedir}/x --bind $TMP img", {"binds": ["/a"]}),
        ("mount --bind /a /b\n{cmd}", {}),
        ("srun --bind /a {cmd}\napptainer run img {cmd}", {}),
    ],
)
def test_an_image_sees_what_the_script_bound_into_it(script: str, settings: Any) -> None:
    config = Config(SlurmSpawner={"batch_script": script, "req_image_path": "/srv/a.sif"})
    spawner = SlurmSpawner(config=config)
    assert spawner.image_settings == settings
    assert len(spawner._environment("").image.binds) == len(settings.get("binds", ()))
    assert any("image_settings is taken from batch_script" in line for line in started(config)) == bool(
        settings
    )


# -- what the hub says at its start


@pytest.mark.parametrize(
    ("section", "name", "says"),
    [
        ("SlurmSpawner", "batch_script", "Flatirons writes the job's script"),
        ("BatchSpawnerBase", "batch_submit_cmd", "`run_as` says as whom"),
        ("SlurmSpawner", "req_srun", "the starter"),
        ("SlurmSpawner", "req_options", "`own_fields`"),
        ("SlurmSpawner", "req_ntbdir", "no such setting"),
        ("SlurmSpawner", "partitoin", "no such setting"),
        ("BatchSpawnerBase", "exec_prefix", "`run_as`"),
        ("BatchSpawnerRegexStates", "state_exechost_exp", "by format strings"),
        ("BatchSpawnerBase", "start_timeout", "write c.SlurmSpawner.start_timeout"),
        ("MOSlurmSpawner", "partitions", "the form asks Slurm"),
        ("MOSlurmSpawner", "environment", "write c.SlurmSpawner.environment."),
        ("SlurmFormSpawner", "ui_args", "the form asks Slurm"),
        ("SbatchForm", "memory", "write c.SlurmSpawner.memory"),
        ("PBSSpawner", "req_memory", "SlurmSpawner starts the servers here"),
        ("ProfilesSpawner", "profiles", "[presets]"),
        ("KubeSpawner", "image", "SlurmSpawner starts the servers here"),
        ("Spawner", "mem_limit", "c.SlurmSpawner.memory"),
        ("SlurmSpawner", "cpu_guarantee", "c.SlurmSpawner.cpus"),
        ("Spawner", "ip", "c.SlurmSpawner.port_range"),
        ("OptionsFormSpawner", "form_fields", "SlurmSpawner starts the servers here"),
    ],
)
def test_every_setting_without_effect_is_named_with_what_to_do(section: str, name: str, says: str) -> None:
    [line] = started(Config({section: {name: "value"}}))
    assert line.startswith(f"WARNING c.{section}.{name} has no effect: ") and says in line


def test_in_child_config_and_in_the_form_as_well() -> None:
    lines = started(with_form(Text("req_ntbdir"), batch_script="x", cuont=2), OptionsFormSpawner)
    assert [line.partition(":")[0] for line in lines] == [
        "WARNING c.OptionsFormSpawner.child_config['batch_script'] has no effect",
        "WARNING c.OptionsFormSpawner.child_config['cuont'] has no effect",
        "WARNING c.OptionsFormSpawner.form_fields",
    ]
    assert "req_ntbdir has no effect" in lines[-1]


def test_a_configuration_for_slurmspawner_alone_is_not_commented_on() -> None:
    config = Config(SlurmSpawner={"clusters": {"a": {}}, "partition": "shas"}, Spawner={"cmd": ["x"]})
    config.JupyterHub.ip = "127.0.0.1"
    assert started(config) == []
    fields = with_form(Text("partition"), Integer("extra", trait=None), queue_timeout=3600)
    assert started(fields, OptionsFormSpawner) == []


def test_another_child_keeps_its_settings() -> None:
    config = Config(OptionsFormSpawner={"form_fields": [Text("req_a")]}, SlurmSpawner={"batch_script": "x"})
    assert started(config, OptionsFormSpawner) == []
    config.OptionsFormSpawner.form_fields = lambda spawner: Form([])
    assert started(config, OptionsFormSpawner) == []
