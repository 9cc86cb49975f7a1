"""A form as a whole: what goes in, what comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from flatirons.errors import OptionsRefused
from flatirons.forms import Checkbox, Context, Form, Group, Integer, Select, Text

ALICE = Context(user="alice")
FORM = Form(
    [
        Select("cluster", "Cluster", choices=["summit", "blanca"], default="summit", required=True),
        Select(
            "partition",
            choices=lambda context: {"summit": ["shas"], "blanca": ["sol"]}.get(
                str(context.values["cluster"]), []
            ),
        ),
        Integer("nodes", "Nodes", minimum=1, maximum=4, default=1),
        Text("account", default="ucb"),
        Checkbox("verbose", default=True),
        Checkbox("audited", default=True, locked=True),
        Text("site", default="colorado", visible=False),
    ]
)
DEFAULTS = {
    "cluster": "summit",
    "partition": None,
    "nodes": 1,
    "account": "ucb",
    "verbose": True,
    "audited": True,
    "site": "colorado",
}


def messages(refused: Coroutine[Any, Any, object]) -> dict[str, str]:
    """The messages with which it is refused."""
    with pytest.raises(OptionsRefused) as caught:
        asyncio.run(refused)
    return caught.value.messages


async def test_nothing_gives_the_defaults() -> None:
    assert await FORM.check({}, ALICE) == DEFAULTS


async def test_a_page_that_posts_no_box_means_no() -> None:
    assert await FORM.parse({}, ALICE) == {**DEFAULTS, "verbose": False}
    assert await FORM.parse({}, ALICE, from_page=False) == DEFAULTS


async def test_what_was_posted_passes_the_gate_unchanged() -> None:
    posted = {"cluster": ["blanca"], "partition": ["sol"], "nodes": ["3"], "account": [""], "_xsrf": ["x"]}
    options = await FORM.parse(posted, ALICE)
    assert options == {
        "cluster": "blanca",
        "partition": "sol",
        "nodes": 3,
        "account": None,
        "verbose": False,
        "audited": True,
        "site": "colorado",
    }
    assert await FORM.check(options, ALICE) == options


def test_every_wrong_option_gets_its_own_message() -> None:
    posted = {
        "cluster": ["blanca"],
        "partition": ["shas"],
        "nodes": ["9"],
        "site": ["utah"],
        "audited": ["off"],
    }
    assert messages(FORM.parse(posted, ALICE)) == {
        "partition": '"shas" isn\'t offered here. Choose from sol.',
        "nodes": "Must be between 1 and 4.",
        "site": "This can't be chosen here.",
        "audited": 'This is fixed to "on" here.',
    }


def test_an_unknown_option_is_refused_and_the_nearest_named() -> None:
    assert messages(FORM.check({"partitions": "x"}, ALICE)) == {
        "partitions": 'There is no option "partitions". Did you mean "partition"?'
    }


def test_a_repeated_option_is_refused_even_with_the_same_value() -> None:
    assert messages(FORM.parse({"nodes": ["1", "1"]}, ALICE)) == {"nodes": "Give one value, not 2."}


def test_a_list_is_refused_where_one_value_is_meant() -> None:
    assert messages(FORM.check({"nodes": [1]}, ALICE)) == {"nodes": "One line of text is expected here."}


def test_a_few_unknown_options_are_named_and_the_others_counted() -> None:
    refused = messages(FORM.check({f"x{n}": 1 for n in range(50)}, ALICE))
    assert len(refused) == 6
    assert refused["options"] == "45 more options are not known here."


def test_thousands_of_options_are_refused_in_one_sentence() -> None:
    refused = messages(FORM.check({"nodes": 2} | {f"x{n}": 1 for n in range(5000)}, ALICE))
    assert refused == {"options": "Too many options were sent: 5,001."}


def test_names_of_unknown_options_are_cut_and_printable() -> None:
    refused = messages(FORM.check({"\x00\ud800" + "n" * 1_000_000: 1}, ALICE))
    assert all(name.isprintable() and len(name) <= 40 for name in refused)


async def test_a_form_begins_with_what_can_still_be_taken_of_the_last_options() -> None:
    last = {"cluster": "gone", "nodes": 3, "account": None, "strange": [1], "verbose": False}
    assert await FORM.initial(last, ALICE) == {**DEFAULTS, "nodes": 3, "account": None, "verbose": False}


async def test_a_default_that_breaks_the_rules_is_refused_like_any_value() -> None:
    form = Form([Integer("nodes", default=lambda context: 9, maximum=4)])
    with pytest.raises(OptionsRefused):
        await form.check({}, ALICE)


def test_two_fields_of_one_name_and_an_unknown_group_are_mistakes() -> None:
    with pytest.raises(ValueError, match="same name"):
        Form([Text("a"), Text("a")])
    with pytest.raises(ValueError, match="group"):
        Form([Text("a", group="b")], groups=[Group("c")])
