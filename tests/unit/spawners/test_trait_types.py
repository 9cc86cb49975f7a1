"""SlurmSpawner's traits take times, amounts and numbers as people write them."""

from __future__ import annotations

from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

from flatirons.forms import Duration, Integer, Memory, Number, Select, Text
from flatirons.spawners.options_form import OptionsFormSpawner
from flatirons.spawners.slurm import SlurmSpawner
from tests.unit.spawners.test_options_form import landed, made


@pytest.mark.parametrize(
    ("name", "written", "value"),
    [
        ("runtime", "02:00:00", 120),
        ("runtime", "1-12:00:00", 2160),
        ("runtime", "90m", 90),
        ("runtime", 45, 45),
        ("memory", "4gb", 4096),
        ("memory", "512MiB", 512),
        ("memory", "2000", 2000),
        ("mem_per_cpu", "1.5G", 1536),
        ("cpus", "4", 4),
        ("nodes", "2", 2),
        ("gpus", 2, "2"),
        ("gpus", "gpu:2", "2"),
        ("gpus", "gpu:v100:2", "v100:2"),
        ("account", 1234, "1234"),
        ("queue_timeout", "1h", 3600.0),
        ("queue_timeout", "01:00:00", 3600.0),
        ("queue_timeout", 600, 600.0),
        ("node_timeout", "90s", 90.0),
        ("stop_timeout", "90", 90.0),
    ],
)
def test_a_configuration_may_write_them_in_every_usual_way(name: str, written: object, value: object) -> None:
    assert getattr(SlurmSpawner(config=Config(SlurmSpawner={name: written})), name) == value


@pytest.mark.parametrize(
    ("name", "written", "sentence"),
    [
        ("runtime", "soon", r"c\.SlurmSpawner\.runtime: \"soon\" isn't a time"),
        ("runtime", "2:00", "could mean hours or minutes"),
        ("memory", "much", "isn't an amount of memory"),
        ("cpus", "1.5", "isn't a whole number"),
        ("gpus", "many", "isn't a number of GPUs"),
        ("queue_timeout", "-1", "isn't a time"),
    ],
)
def test_what_none_can_read_is_refused_with_how_to_write_it(name: str, written: str, sentence: str) -> None:
    with pytest.raises(TraitError, match=sentence):
        SlurmSpawner(config=Config(SlurmSpawner={name: written}))


@pytest.mark.parametrize(
    ("field", "given", "value"),
    [
        (Text("runtime"), "02:00:00", 120),
        (Duration("runtime"), "2h", 120),
        (Select("runtime", choices=["00:30:00", "1-00:00:00"]), "1-00:00:00", 1440),
        (Integer("runtime"), 90, 90),
        (Text("memory"), "4G", 4096),
        (Memory("memory"), "4G", 4096),
        (Select("memory", choices=["4gb"]), "4gb", 4096),
        (Text("cpus"), "4", 4),
        (Number("cpus"), 4.0, 4),
        (Integer("gpus"), 2, "2"),
        (Text("gpus"), "gpu:2", "2"),
        (Duration("queue_timeout"), "2h", 7200.0),
        (Text("queue_timeout"), "01:30:00", 5400.0),
        (Integer("node_timeout"), 90, 90.0),
    ],
)
async def test_a_value_of_any_field_reaches_them(field: Any, given: object, value: object) -> None:
    spawner = await landed(made(field, child=SlurmSpawner), **{field.name: given})
    assert getattr(spawner, field.name) == value


@pytest.mark.parametrize(("name", "given"), [("runtime", "soon"), ("memory", "4X"), ("cpus", "two")])
async def test_the_sentence_stands_beside_the_field(name: str, given: str) -> None:
    with pytest.raises(Exception, match=f"{name}: .*isn't a"):
        await landed(made(Text(name, pattern=""), child=SlurmSpawner), **{name: given})


def test_child_config_is_read_the_same_way() -> None:
    section = {"child_class": SlurmSpawner, "child_config": {"runtime": "02:00:00", "memory": "4G"}}
    spawner: Any = OptionsFormSpawner(config=Config(OptionsFormSpawner=section))
    assert (spawner.runtime, spawner.memory) == (120, 4096)
