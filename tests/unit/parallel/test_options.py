"""What is asked of Slurm for engines, and where each value comes from."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.errors import OptionsRefused
from flatirons.parallel.options import NAMES, EngineOptions, mebibytes, minutes, resolve, site_defaults

NOTEBOOK = {"SLURM_JOB_PARTITION": "shas", "SLURM_JOB_ACCOUNT": "ucb-general", "SLURM_JOB_QOS": "debug"}


def site(**defaults: object) -> dict[str, str]:
    return {**NOTEBOOK, "FLATIRONS_PARALLEL": json.dumps(defaults)}


def test_outside_of_a_job_everything_is_left_to_slurm() -> None:
    assert resolve(EngineOptions(), {}) == EngineOptions()


def test_without_a_word_engines_run_where_the_notebook_runs() -> None:
    wanted = EngineOptions(partition="shas", account="ucb-general", qos="debug")
    assert resolve(EngineOptions(), NOTEBOOK) == wanted


def test_the_site_comes_before_the_notebook_and_the_user_before_the_site() -> None:
    environ = site(partition="sknl", nodes=2, runtime_minutes=60, cpus_per_engine=2)
    asked = EngineOptions(nodes=3, account="ucb-knl")
    wanted = EngineOptions(partition="sknl", account="ucb-knl", nodes=3, runtime=60, cpus=2)
    assert resolve(asked, environ) == wanted


@pytest.mark.parametrize("elsewhere", [{"partition": "sknl"}, {"account": "csdms"}])
def test_the_notebooks_qos_is_not_taken_elsewhere(elsewhere: dict[str, str]) -> None:
    assert resolve(EngineOptions(**elsewhere), NOTEBOOK).qos == ""


def test_naming_the_notebooks_own_partition_keeps_its_qos() -> None:
    assert resolve(EngineOptions(partition="shas"), NOTEBOOK).qos == "debug"


def test_a_default_that_this_image_does_not_know_is_left_aside() -> None:
    assert site_defaults(site(nodes=2, colour="blue")) == EngineOptions(nodes=2)


@pytest.mark.parametrize("text", ["[1]", "nodes=2", '"x"', "{"])
def test_site_defaults_that_are_no_object_are_refused(text: str) -> None:
    with pytest.raises(OptionsRefused, match="FLATIRONS_PARALLEL"):
        site_defaults({"FLATIRONS_PARALLEL": text})


def test_every_mistake_is_named() -> None:
    with pytest.raises(OptionsRefused) as refused:
        EngineOptions.from_mapping({"nodes": "two", "runtime": "soon", "partition": "a\nb", "cpus": True})
    assert set(refused.value.messages) == {"nodes", "runtime", "partition", "cpus"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        *((90, 90), ("90", 90), ("90m", 90), ("2:00:00", 120), ("0:00:30", 1), ("1-12", 2160)),
        *(("1-12:30", 2190), ("1-00:00:00", 1440), ("1d 12h", 2160), ("2h", 120), ("1h 30m", 90)),
        *((" 45min ", 45), (0, 0)),
    ],
)
def test_a_time_is_minutes(text: int | str, wanted: int) -> None:
    assert minutes(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "2:00", "soon", "-5", "1:2:3:4", "1.5h", -1, True, 1.5, None, "2:00:99"]
)
def test_a_time_that_could_be_misread_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not"):
        minutes(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [(512, 512), ("512", 512), ("4G", 4096), ("4 GiB", 4096), ("1.5g", 1536), ("1K", 1), ("1T", 1048576)],
)
def test_memory_is_mebibytes(text: int | str, wanted: int) -> None:
    assert mebibytes(text) == wanted


@pytest.mark.parametrize("text", ["", "lots", "-1G", "4X", -1, False, 1.5, "1G; rm"])
def test_memory_that_cannot_be_read_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="not"):
        mebibytes(text)  # type: ignore[arg-type]


OPTIONS = st.builds(
    EngineOptions,
    **{name: st.sampled_from(["", "a", "b"]) for name in ("partition", "account", "qos", "reservation")},
    **{name: st.integers(0, 3) for name in ("runtime", "nodes", "engines_per_node", "cpus", "memory")},
    inside=st.booleans(),
    mpi=st.sampled_from(["", "pmix", "pmi2"]),
)


@given(OPTIONS, OPTIONS)
def test_what_is_said_is_never_lost(first: EngineOptions, second: EngineOptions) -> None:
    together = first.over(second)
    for name in NAMES:
        assert getattr(together, name) == (getattr(first, name) or getattr(second, name))


@given(st.dictionaries(st.sampled_from([*NAMES, "x"]), st.one_of(st.text(), st.integers(), st.none())))
def test_any_plain_data_gives_options_or_sentences(given_data: dict[str, object]) -> None:
    try:
        EngineOptions.from_mapping(given_data)
    except OptionsRefused as refused:
        assert set(refused.messages) <= set(NAMES)
