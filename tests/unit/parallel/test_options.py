"""The options of engines, and where each value comes from."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.errors import OptionsRefused, Refusal
from flatirons.forms.fields import Duration, Field, Memory
from flatirons.parallel.options import (
    NAMES,
    EngineOptions,
    parse_mebibytes,
    parse_minutes,
    read_site_defaults,
    resolve,
)

NOTEBOOK = {"SLURM_JOB_PARTITION": "shas", "SLURM_JOB_ACCOUNT": "ucb-general", "SLURM_JOB_QOS": "debug"}


def site(**defaults: object) -> dict[str, str]:
    return {**NOTEBOOK, "FLATIRONS_PARALLEL": json.dumps(defaults)}


def test_outside_of_a_job_everything_is_left_to_slurm() -> None:
    assert resolve(EngineOptions(), {}) == EngineOptions()


def test_engines_run_where_the_notebook_runs_by_default() -> None:
    wanted = EngineOptions(partition="shas", account="ucb-general", qos="debug")
    assert resolve(EngineOptions(), NOTEBOOK) == wanted


def test_the_site_comes_before_the_notebook_and_the_user_before_the_site() -> None:
    environ = site(partition="sknl", nodes=2, runtime_minutes=60, cpus_per_engine=2)
    requested = EngineOptions(nodes=3, account="ucb-knl")
    wanted = EngineOptions(partition="sknl", account="ucb-knl", nodes=3, runtime=60, cpus=2)
    assert resolve(requested, environ) == wanted


@pytest.mark.parametrize("elsewhere", [{"partition": "sknl"}, {"account": "csdms"}])
def test_the_notebooks_qos_is_not_taken_elsewhere(elsewhere: dict[str, str]) -> None:
    assert resolve(EngineOptions(**elsewhere), NOTEBOOK).qos == ""


def test_naming_the_notebooks_own_partition_keeps_its_qos() -> None:
    assert resolve(EngineOptions(partition="shas"), NOTEBOOK).qos == "debug"


def test_a_default_that_this_image_does_not_know_is_ignored() -> None:
    assert read_site_defaults(site(nodes=2, colour="blue")) == EngineOptions(nodes=2)


@pytest.mark.parametrize("text", ["[1]", "nodes=2", '"x"', "{"])
def test_site_defaults_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises(OptionsRefused, match="FLATIRONS_PARALLEL"):
        read_site_defaults({"FLATIRONS_PARALLEL": text})


def test_every_wrong_value_is_named() -> None:
    with pytest.raises(OptionsRefused) as refused:
        EngineOptions.from_mapping({"nodes": "two", "runtime": "soon", "partition": "a\nb", "cpus": True})
    assert set(refused.value.messages) == {"nodes", "runtime", "partition", "cpus"}


TIMES = [
    "90",
    "90m",
    "2:00:00",
    "0:00:30",
    "1-12",
    "1-12:30",
    "1-00:00:00",
    "1d 12h",
    "2h",
    "1h 30m",
    " 45min ",
]
NO_TIMES = ["2:00", "soon", "-5", "1:2:3:4", "1.5h", "1.5", "2:00:99", "1-12:99"]
AMOUNTS = ["512", "4G", "4 GiB", "1.5g", "1K", "1T", "1.5 GiB", "500M", "500 mb"]
NO_AMOUNTS = ["1.5", "lots", "-1G", "4X", "1G; rm", "1,5G"]


TIME = (parse_minutes, Duration("runtime", ""))
MEMORY = (parse_mebibytes, Memory("memory", ""))


@pytest.mark.parametrize(
    ("parse", "field", "text"), [*((*TIME, text) for text in TIMES), *((*MEMORY, text) for text in AMOUNTS)]
)
def test_a_text_is_read_as_the_form_reads_it(parse: Callable[[object], int], field: Field, text: str) -> None:
    assert parse(text) == field.read(text)


@pytest.mark.parametrize(
    ("parse", "field", "text"),
    [*((*TIME, text) for text in NO_TIMES), *((*MEMORY, text) for text in NO_AMOUNTS)],
)
def test_a_text_that_the_form_refuses_is_refused_with_the_same_sentence(
    parse: Callable[[object], int], field: Field, text: str
) -> None:
    with pytest.raises(Refusal) as here:
        parse(text)
    with pytest.raises(Refusal) as there:
        field.read(text)
    assert str(here.value) == str(there.value)


@pytest.mark.parametrize(("given", "wanted"), [(0, 0), (90, 90), ("90", 90), ("1h 30m", 90), ("0:00:30", 1)])
def test_a_time_is_minutes(given: object, wanted: int) -> None:
    assert parse_minutes(given) == wanted


@pytest.mark.parametrize(("given", "wanted"), [(0, 0), (512, 512), ("512", 512), ("1.5g", 1536), ("1K", 1)])
def test_memory_is_mebibytes(given: object, wanted: int) -> None:
    assert parse_mebibytes(given) == wanted


@pytest.mark.parametrize("parse", [parse_minutes, parse_mebibytes])
@pytest.mark.parametrize("given", [-1, True, 1.5, None])
def test_a_number_that_is_not_whole_and_positive_is_refused(
    parse: Callable[[object], int], given: object
) -> None:
    with pytest.raises(Refusal, match="whole number from 0 up, not"):
        parse(given)


OPTIONS = st.builds(
    EngineOptions,
    **{name: st.sampled_from(["", "a", "b"]) for name in ("partition", "account", "qos", "reservation")},
    **{name: st.integers(0, 3) for name in ("runtime", "nodes", "engines_per_node", "cpus", "memory")},
    inside=st.booleans(),
    mpi=st.sampled_from(["", "pmix", "pmi2"]),
)


@given(OPTIONS, OPTIONS)
def test_an_option_that_is_set_is_never_lost(first: EngineOptions, second: EngineOptions) -> None:
    together = first.with_defaults(second)
    for name in NAMES:
        assert getattr(together, name) == (getattr(first, name) or getattr(second, name))


@given(st.dictionaries(st.sampled_from([*NAMES, "x"]), st.one_of(st.text(), st.integers(), st.none())))
def test_any_plain_data_gives_options_or_sentences(given_data: dict[str, object]) -> None:
    try:
        EngineOptions.from_mapping(given_data)
    except OptionsRefused as refused:
        assert set(refused.messages) <= set(NAMES)
