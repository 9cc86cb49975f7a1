"""A site's own fields: mistakes by key; values as single words of sbatch's command line or as variables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.errors import OptionsRefused, SiteError
from flatirons.forms import Context, Form
from flatirons.slurm import argv
from flatirons.slurm.model import JobSpec
from flatirons.slurm_form.form import slurm_form
from flatirons.slurm_form.site_fields import RESERVED, fields_of_site, sbatch_options, variables

ALICE = Context(user="alice")
OWN: dict[str, dict[str, Any]] = {
    "licence": {"type": "select", "choices": ["none", "matlab"], "default": "none", "sbatch": "--licenses"},
    "threads": {"type": "integer", "minimum": 1, "maximum": 64, "env": "OMP_NUM_THREADS"},
    "nice": {"type": "integer", "default": 0, "sbatch": "--nice", "env": "NICE"},
    "exclusive": {"type": "checkbox", "sbatch": "--exclusive", "env": "EXCLUSIVE"},
    "big": {"type": "checkbox", "on": "huge", "sbatch": "--constraint"},
    "scratch": {"type": "memory", "sbatch": "--tmp", "env": "SCRATCH"},
    "pause": {"type": "duration", "env": "PAUSE"},
    "remark": {"pattern": "", "sbatch": "--admin-comment", "env": "REMARK"},
    "factor": {"type": "number", "env": "FACTOR"},
    "project": {"type": "hidden", "default": "p1", "env": "PROJECT"},
    "asked": {"default": "only"},
}


def form(own: dict[str, dict[str, Any]] = OWN) -> Form:
    return slurm_form({}, {"summit": {}}, {"python": {}}, own)


def problems(**own: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(SiteError) as caught:
        form(own)
    return dict(caught.value.problems)


async def test_values_become_words_of_sbatch_and_variables() -> None:
    given = {
        **{"licence": "matlab", "threads": "8", "exclusive": True, "big": "huge", "scratch": "1.5G"},
        **{"pause": "90m", "remark": "a 'b' $(c) ; d", "factor": "0.25"},
    }
    options = await form().check(given, ALICE)
    assert sbatch_options(OWN, options) == (
        "--licenses=matlab",
        "--nice=0",
        "--exclusive",
        "--constraint=huge",
        "--tmp=1536M",
        "--admin-comment=a 'b' $(c) ; d",
    )
    assert variables(OWN, options) == {
        **{"OMP_NUM_THREADS": "8", "NICE": "0", "EXCLUSIVE": "1", "SCRATCH": "1536M"},
        **{"PAUSE": "1:30:00", "REMARK": "a 'b' $(c) ; d", "FACTOR": "0.25", "PROJECT": "p1"},
    }


async def test_an_empty_field_adds_nothing() -> None:
    options = await form().check({}, ALICE)
    assert sbatch_options(OWN, options) == ("--licenses=none", "--nice=0")
    assert variables(OWN, options) == {"NICE": "0", "PROJECT": "p1"}
    assert sbatch_options(OWN, {}) == () and variables(OWN, {}) == {}


async def test_an_empty_box_means_no() -> None:
    options = await form().parse({"_boxes": ["exclusive,big"]}, ALICE)
    assert (options["exclusive"], options["big"]) == (False, None)
    assert "--exclusive" not in sbatch_options(OWN, options)
    assert variables(OWN, options)["EXCLUSIVE"] == "0"


@given(st.text(max_size=60).filter(str.isprintable))
def test_any_text_stays_one_word_and_never_becomes_an_option(text: str) -> None:
    words = sbatch_options({"remark": {"pattern": "", "sbatch": "--admin-comment"}}, {"remark": text})
    assert words == (f"--admin-comment={text}",)
    line = argv.sbatch(JobSpec("jupyter", extra=words))
    assert [word for word in line if "admin-comment" in word] == list(words)


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ({"type": "integer", "maximum": 4}, 5),
        ({"type": "select", "choices": ["a"]}, "b"),
        ({"type": "radio", "choices": ["a"]}, "b"),
        ({"type": "checkbox", "on": "yes please"}, True),
        ({"type": "memory", "maximum": "4G"}, "5G"),
        ({"type": "duration", "minimum": "1h"}, "59m"),
        ({"type": "number"}, "NaN"),
        ({"pattern": "[a-z]+"}, "abc\n"),
        ({}, "--uid=0"),
        ({}, "a b"),
        ({"pattern": ""}, "a\nb"),
        ({"pattern": ""}, "x" * 300),
        ({"visible": False, "default": "x"}, "y"),
        ({"locked": True, "default": "x"}, "y"),
        ({"required": True}, ""),
    ],
)
async def test_each_kind_of_field_keeps_its_rules(said: dict[str, Any], value: object) -> None:
    with pytest.raises(OptionsRefused) as refused:
        await form({"mine": said}).check({"mine": value}, ALICE)
    assert set(refused.value.messages) == {"mine"}


@pytest.mark.parametrize(
    ("said", "key"),
    [
        ({"type": "colour"}, ".type"),
        ({"sbatch": "constraint"}, ".sbatch"),
        ({"sbatch": "-C"}, ".sbatch"),
        ({"sbatch": "--constraint=x"}, ".sbatch"),
        ({"sbatch": "--constraint --uid"}, ".sbatch"),
        ({"sbatch": "--wrap"}, ".sbatch"),
        ({"env": "A-B"}, ".env"),
        ({"env": "1A"}, ".env"),
        ({"env": "A=B"}, ".env"),
        ({"type": "select"}, ".choices"),
        ({"type": "radio", "choices": []}, ".choices"),
        ({"type": "integer", "default": "two"}, ".default"),
        ({"type": "integer", "maximum": "many"}, ".maximum"),
        ({"type": "select", "choices": ["a"], "default": "b"}, ".default"),
        ({"pattern": "[a-z"}, ".pattern"),
        ({"pattern": "[a-z", "default": "a"}, ".pattern"),
        ({"type": "integer", "pattern": "[a-z]"}, ""),
        ({"type": "text", "on": "x"}, ""),
    ],
)
def test_a_mistake_is_named_by_its_key(said: dict[str, Any], key: str) -> None:
    assert f"form.own.mine{key}" in problems(mine=said)


@pytest.mark.parametrize(
    "name", ["partition", "gpus", "rights", "bounds", "user", "options", "_x", "a-b", "é"]
)
def test_a_name_that_is_taken_or_malformed_is_a_mistake(name: str) -> None:
    assert set(problems(**{name: {}})) == {f"form.own.{name}"}


@pytest.mark.parametrize("option", sorted(RESERVED))
def test_a_site_cant_set_an_option_that_the_spawner_sets(option: str) -> None:
    assert problems(mine={"sbatch": option}) == {
        "form.own.mine.sbatch": f"{option} is set by a standard field or by the spawner"
    }


def test_every_option_of_our_own_command_line_is_reserved() -> None:
    spec = JobSpec(
        "jupyter",
        **dict.fromkeys(("comment", "partition", "account", "qos", "reservation"), "x"),
        **dict.fromkeys(("nodes", "ntasks", "cpus", "memory_mib", "gpus", "runtime_minutes"), 1),
        **dict.fromkeys(("chdir", "output"), "/x"),
    )
    line = argv.sbatch(spec)
    options = {word.partition("=")[0] for word in line if word.startswith("--")}
    assert options - RESERVED == set()


@pytest.mark.parametrize("option", ["--wait", "--clusters", "--version", "--wra", "--ui", "--gpus-per"])
def test_options_that_would_break_every_start_are_reserved_even_abbreviated(option: str) -> None:
    assert "form.own.mine.sbatch" in problems(mine={"sbatch": option})


@pytest.mark.parametrize("option", ["--constraint", "--licenses", "--nice", "--wait-all-nodes", "--gpu-bind"])
def test_a_site_can_set_other_options(option: str) -> None:
    assert form({"mine": {"sbatch": option}}).fields["mine"].flag == option


def test_all_mistakes_are_reported_at_once_and_the_fields_are_still_made() -> None:
    fields, wrong = fields_of_site({"a": {"type": "x"}, "b": {}, "c": {"env": "-"}}, taken={"cpus"})
    assert [field.name for field in fields] == ["a", "b", "c"]
    assert {key for key, _ in wrong} == {"form.own.a.type", "form.own.c.env"}
