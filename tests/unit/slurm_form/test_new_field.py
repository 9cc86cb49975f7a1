"""One new entry in FIELDS makes an option of any kind work wherever options are given."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flatirons.forms import Checkbox
from flatirons.slurm_form.fields import SlurmField
from tests.repository import REPO

ENTRIES = """
    SlurmField(
        field=Checkbox("exclusive", "Whole nodes", flag="--exclusive", group="more"),
        about="whether the nodes run no other jobs",
        sbatch="--exclusive",
    ),
    SlurmField(
        field=Number("power", "Power", flag="--power", group="more", minimum=0.5, maximum=8),
        about="power of each node, in kW",
        sbatch="--power",
    ),
    SlurmField(
        field=Integer("nice", "Nice", flag="--nice", group="more", minimum=-5, maximum=5),
        about="by how much the priority is lowered",
        sbatch="--nice",
    ),
    SlurmField(
        field=Radio("hint", "Hint", flag="--hint", choices=["compute_bound", "memory_bound"], group="more"),
        about="what the program needs most",
        sbatch="--hint",
    ),
    SlurmField(
        field=Select("switches", "Switches", flag="--switches", choices=["1", "2"], group="more"),
        about="largest number of switches",
        sbatch="--switches",
        is_shown=False,
    ),
)

NAMES:"""

SITE = """
[hub]
address = "http://hub:8081"
[clusters.summit]
[environments.python]
[form.exclusive]
label = "Alone"
default = true
[form.power]
default = 2
maximum = 4.5
[form.nice]
default = 1
[form.hint]
choices = { memory_bound = "Memory" }
[form.switches]
visible = true
"""

EVERYWHERE = """
import argparse, asyncio, json, sys
from flatirons.errors import OptionsRefused
from flatirons.forms import Context
from flatirons.notebook.arguments import add_arguments, options
from flatirons.site.load import options_form, parse
from flatirons.site.reference import reference as of_site
from flatirons.slurm import argv
from flatirons.slurm_form.job import request
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.form.job_options import job_options
from flatirons.spawners.reference import reference as of_spawner
from flatirons.spawners.slurm import SlurmSpawner
from traitlets.config import Config

NEW = ("exclusive", "power", "nice", "hint", "switches")
form, alice = options_form(parse(sys.argv[1])), Context(user="alice")

class Alice:
    name = "alice"

def words(typed):
    return sorted(set(argv.sbatch(request(typed))) - set(argv.sbatch(request({}))))

def typed(*line):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_arguments(parser)
    return options(parser.parse_args(line))

async def through_the_gate(given, **configured):
    hooks, config = FormHooks(form), Config(SlurmSpawner=configured)
    hooks.attach(config.SlurmSpawner)
    spawner = SlurmSpawner(config=config)
    spawner.user = Alice()
    await hooks.apply_user_options(spawner, given)
    return words(job_options(spawner))

async def refused(given):
    try:
        await form.check(given, alice)
    except OptionsRefused as error:
        return sorted(error.messages)

async def main():
    defaults = await form.check({}, alice)
    posted = {"exclusive": ["on"], "power": ["1.5"], "nice": ["-3"], "hint": ["memory_bound"]}
    traits = SlurmSpawner.class_traits(config=True)
    return {
        "page": [name for name in NEW if f'name="{name}"' in await form.render({}, {}, alice)],
        "defaults": words(defaults),
        "posted": words(await form.parse({**posted, "switches": ["2"]}, alice)),
        "unticked": words(await form.parse({"power": ["1"], "nice": ["0"]}, alice)),
        "rest": words(await form.check({"exclusive": True, "power": 3, "switches": "1"}, alice)),
        "refused": await refused({"exclusive": "perhaps", "power": 5, "nice": 6, "hint": "compute_bound"}),
        "gate": await through_the_gate({"exclusive": True, "power": 0.75, "nice": -5}),
        "configured": await through_the_gate({}, switches="2", hint="memory_bound"),
        "traits": {name: type(traits[name]).__name__ for name in NEW},
        "command": typed("--exclusive", "--power", "1.5", "--nice=-2", "--hint", "memory_bound"),
        "command_without": words(await form.check(typed("--no-exclusive", "--power", "1"), alice)),
        "references": [name for name in NEW if f"`{name}`" in of_site("") and f"`{name}`" in of_spawner()],
    }

print(json.dumps(asyncio.run(main())))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The results of a copy of the package whose FIELDS has the new entries."""
    copy = tmp_path_factory.mktemp("source") / "flatirons"
    shutil.copytree(REPO / "src" / "flatirons", copy, ignore=shutil.ignore_patterns("__pycache__"))
    declared = copy / "slurm_form" / "fields.py"
    text = declared.read_text().replace("import Checkbox, ", "import Checkbox, Number, ", 1)
    assert text.count("\n)\n\nNAMES:") == 1
    declared.write_text(text.replace("\n)\n\nNAMES:", ENTRIES))
    return json.loads(run(copy.parent, EVERYWHERE, SITE))


def run(source: Path, script: str, *arguments: str) -> str:
    environ = {**os.environ, "PYTHONPATH": str(source)}
    line = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(line, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_shows_the_new_fields_with_the_sites_defaults(found: dict[str, Any]) -> None:
    assert found["page"] == ["exclusive", "power", "nice", "hint", "switches"]
    assert found["defaults"] == ["--exclusive", "--nice=1", "--power=2"]


def test_sbatch_gets_what_the_page_or_a_rest_body_says(found: dict[str, Any]) -> None:
    assert found["posted"] == [
        "--exclusive",
        "--hint=memory_bound",
        "--nice=-3",
        "--power=1.5",
        "--switches=2",
    ]
    assert found["unticked"] == ["--power=1"]
    assert found["rest"] == ["--exclusive", "--nice=1", "--power=3", "--switches=1"]


def test_what_the_field_or_the_site_doesnt_allow_is_refused(found: dict[str, Any]) -> None:
    assert found["refused"] == ["exclusive", "hint", "nice", "power"]


def test_the_spawner_has_a_trait_of_the_fields_kind(found: dict[str, Any]) -> None:
    assert found["traits"] == {
        "exclusive": "Bool",
        "power": "Float",
        "nice": "Count",
        "hint": "Word",
        "switches": "Word",
    }
    assert found["gate"] == ["--exclusive", "--nice=-5", "--power=0.75"]
    assert found["configured"] == [
        "--exclusive",
        "--hint=memory_bound",
        "--nice=1",
        "--power=2",
        "--switches=2",
    ]


def test_flatirons_notebook_has_the_options_and_a_box_takes_no_value(found: dict[str, Any]) -> None:
    assert found["command"] == {"exclusive": "on", "power": "1.5", "nice": "-2", "hint": "memory_bound"}
    assert found["command_without"] == ["--nice=1", "--power=1"]


def test_both_reference_pages_name_the_new_fields(found: dict[str, Any]) -> None:
    assert found["references"] == ["exclusive", "power", "nice", "hint", "switches"]


def test_a_box_with_a_value_of_its_own_is_declared_by_its_option() -> None:
    """A ticked box adds the declared option, so that the site's setting can be true or false."""
    with pytest.raises(ValueError, match='sbatch="--exclusive=user"'):
        SlurmField(field=Checkbox("exclusive", on="user"), about="whole nodes", sbatch="--exclusive")
