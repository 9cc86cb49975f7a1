"""A site's settings narrow a field's own rules and never widen them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.errors import OptionsRefused
from flatirons.forms import Choice, Context, Form, Integer, Memory, Select, Text
from flatirons.forms.values import Rules
from flatirons.slurm_form.narrowing import mistakes, narrowed, with_settings

OFFER = ["shas", "sknl", "bobs"]


def offered(facts: list[str] | None) -> list[Choice] | None:
    return None if facts is None else [Choice(name, f"{name} of Slurm's", "free") for name in facts]


def first(facts: list[str] | None) -> str | None:
    return facts[0] if facts else None


def largest(facts: int | None) -> int | None:
    return facts


PLACE = Text("place", choices=offered, default=first)
COUNT = Integer("count", minimum=1, maximum=largest)


def rules(field: Any, facts: Any, **settings: Any) -> Rules:
    return asyncio.run(with_settings(field, settings).rules(Context(facts=facts)))


def values(found: Rules) -> list[str] | None:
    return None if found.choices is None else [choice.value for choice in found.choices]


def takes(field: Any, given: object, facts: Any, **settings: Any) -> object:
    """The typed value, or the sentence of the refusal."""
    form = Form([with_settings(field, settings)])
    try:
        return asyncio.run(form.check({field.name: given}, Context(facts=facts)))[field.name]
    except OptionsRefused as refused:
        return refused.messages[field.name]


def test_slurms_choices_are_reduced_to_those_of_the_site_in_its_order_with_its_labels() -> None:
    found = rules(PLACE, OFFER, choices=[("sknl", "Knights"), "shas", "nosuch"])
    assert found.choices == (Choice("sknl", "Knights", "free"), Choice("shas", "shas of Slurm's", "free"))


def test_what_slurm_doesnt_offer_a_site_cant_offer() -> None:
    assert values(rules(PLACE, ["shas"], choices=["sknl"])) == []
    assert "isn't offered here" in str(takes(PLACE, "sknl", ["shas"], choices=["shas", "sknl"]))


def test_while_slurm_doesnt_answer_only_the_sites_choices_count() -> None:
    assert values(rules(PLACE, None, choices=["shas", "sknl"])) == ["shas", "sknl"]
    assert takes(PLACE, "sknl", None, choices=["shas", "sknl"]) == "sknl"
    assert "isn't offered" in str(takes(PLACE, "bobs", None, choices=["shas", "sknl"]))
    assert values(rules(PLACE, None)) is None


@given(
    st.lists(st.sampled_from([*OFFER, "x"]), max_size=4), st.lists(st.sampled_from([*OFFER, "y"]), max_size=4)
)
def test_a_choice_is_offered_only_if_both_slurm_and_the_site_offer_it(
    slurms: list[str], sites: list[str]
) -> None:
    found = values(rules(PLACE, slurms, choices=sites))
    assert found is not None
    assert set(found) == set(slurms) & set(sites)
    assert narrowed([Choice(name) for name in slurms], None) == [Choice(name) for name in slurms]


def test_the_sites_default_is_replaced_where_slurm_doesnt_offer_it() -> None:
    assert rules(PLACE, OFFER, default="sknl").default == "sknl"
    assert rules(PLACE, ["shas"], default="sknl").default == "shas"
    assert rules(PLACE, None, default="sknl").default == "sknl"
    assert rules(PLACE, [], default="sknl").default is None


@pytest.mark.parametrize("way", [{"locked": True}, {"visible": False}])
def test_a_fixed_value_is_never_replaced(way: dict[str, bool]) -> None:
    """Otherwise a user without the fixed QOS would start in another."""
    assert takes(PLACE, None, OFFER, default="sknl", **way) == "sknl"
    assert takes(PLACE, "sknl", OFFER, default="sknl", **way) == "sknl"
    assert "isn't possible" in str(takes(PLACE, None, ["shas"], default="sknl", **way))
    assert takes(PLACE, "shas", OFFER, default="sknl", **way) in (
        'This is fixed to "sknl" here.',
        "This can't be chosen here.",
    )


@pytest.mark.parametrize("way", [{"locked": True}, {"visible": False}])
def test_a_fixed_field_without_a_default_has_slurms_default(way: dict[str, bool]) -> None:
    assert takes(PLACE, None, ["shas", "sknl"], **way) == "shas"


@given(st.integers(0, 50), st.none() | st.integers(0, 50), st.integers(-5, 60))
def test_the_tighter_of_two_bounds_counts(sites: int, slurms: int | None, value: int) -> None:
    taken = takes(COUNT, value, slurms, maximum=sites, minimum=0)
    limit = sites if slurms is None else min(sites, slurms)
    assert (taken == value) == (1 <= value <= limit)
    assert isinstance(taken, str) == (taken != value)


def test_a_site_cant_go_below_a_fields_own_minimum() -> None:
    assert takes(COUNT, 0, 9, minimum=0) == "Must be between 1 and 9."
    assert takes(COUNT, 2, 9, minimum=3) == "Must be between 3 and 9."


def test_a_sites_bounds_are_written_as_they_are_typed() -> None:
    memory = Memory("memory", minimum=1, maximum=largest)
    assert takes(memory, "5G", None, maximum="4G") == "Must be between 1M and 4G."
    assert takes(memory, "3G", 2048, maximum="4G") == "Must be between 1M and 2G."


def test_choices_outside_the_sites_bounds_are_not_offered() -> None:
    sizes = Integer("size", choices=lambda facts: facts)
    offer = [Choice(str(n)) for n in range(6)]
    assert values(rules(sizes, offer, minimum=2, maximum=4)) == ["2", "3", "4"]
    assert values(rules(sizes, offer, maximum=1, choices=["1", "2"])) == ["1"]
    assert values(rules(sizes, None, maximum=1)) is None


def test_a_site_can_require_a_field_but_not_make_a_required_one_optional() -> None:
    strict = Select("place", choices=offered, required=True, visible=lambda facts: bool(facts))
    assert rules(strict, OFFER, required=False).required
    assert not rules(strict, [], visible=True).visible
    assert not rules(strict, OFFER, visible=False).visible
    assert rules(PLACE, OFFER, required=True).required


def test_a_site_sets_labels_and_help() -> None:
    changed = with_settings(PLACE, {"label": "Where", "help": "Somewhere."})
    assert (changed.label, changed.help) == ("Where", "Somewhere.")
    assert PLACE.label == "", "the field itself isn't changed"


def test_mistakes_are_named_by_their_keys() -> None:
    assert mistakes(COUNT, {"minimum": "x", "maximum": 5, "default": ""}) == [
        ("minimum", '"x" isn\'t a whole number.')
    ]
    assert [key for key, _ in mistakes(PLACE, {"choices": ["a b", "c"], "default": "d"})] == [
        "choices",
        "default",
    ]
    assert mistakes(PLACE, {"choices": ["a", ("b", "B")], "default": "b"}) == []


def test_a_site_can_only_narrow_the_choices_with_which_a_field_was_declared() -> None:
    field = Select("hint", choices=["compute", "memory"])
    assert mistakes(field, {"choices": ["memory"]}) == []
    assert mistakes(field, {"choices": ["disk"]}) == [("choices", "'disk' isn't one of this field's choices")]
    assert values(rules(field, None, choices=[("memory", "Much memory")])) == ["memory"]
