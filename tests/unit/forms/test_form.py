"""A whole form: options from pages, links, REST and the database."""

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
            choices=lambda cluster: {"summit": ["shas"], "blanca": ["sol"]}.get(cluster, []),
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
    """The messages of the refusal."""
    with pytest.raises(OptionsRefused) as caught:
        asyncio.run(refused)
    return caught.value.messages


async def test_an_empty_body_gives_the_defaults() -> None:
    assert await FORM.check({}, ALICE) == DEFAULTS


async def test_a_box_that_the_page_doesnt_post_means_no() -> None:
    assert await FORM.parse({}, ALICE) == {**DEFAULTS, "verbose": False}
    assert await FORM.parse({}, ALICE, from_page=False) == DEFAULTS


async def test_posted_options_pass_the_check_unchanged() -> None:
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


def test_an_unknown_option_is_refused_with_the_nearest_known_name() -> None:
    assert messages(FORM.check({"partitions": "x"}, ALICE)) == {
        "partitions": 'There is no option "partitions". Did you mean "partition"?'
    }


def test_a_repeated_option_is_refused_even_with_the_same_value() -> None:
    assert messages(FORM.parse({"nodes": ["1", "1"]}, ALICE)) == {"nodes": "Give one value, not 2."}


def test_a_list_is_refused_in_place_of_a_value() -> None:
    assert messages(FORM.check({"nodes": [1]}, ALICE)) == {"nodes": "One line of text is expected here."}


def test_a_few_unknown_options_are_named_and_the_others_counted() -> None:
    refused = messages(FORM.check({f"x{n}": 1 for n in range(50)}, ALICE))
    assert len(refused) == 6
    assert refused["options"] == "45 more options are not known here."


def test_thousands_of_options_are_refused_in_one_sentence() -> None:
    refused = messages(FORM.check({"nodes": 2} | {f"x{n}": 1 for n in range(5000)}, ALICE))
    assert refused == {"options": "Too many options were sent: 5,001."}


def test_names_of_unknown_options_are_shortened_and_printable() -> None:
    refused = messages(FORM.check({"\x00\ud800" + "n" * 1_000_000: 1}, ALICE))
    assert all(name.isprintable() and len(name) <= 40 for name in refused)


async def test_a_form_begins_with_those_of_the_last_options_that_are_still_possible() -> None:
    last = {"cluster": "gone", "nodes": 3, "account": None, "strange": [1], "verbose": False}
    assert await FORM.initial(last, ALICE) == {**DEFAULTS, "nodes": 3, "account": None, "verbose": False}


async def test_an_impossible_default_is_replaced_by_the_nearest_possible_value() -> None:
    form = Form(
        [
            Integer("nodes", default=lambda: 9, maximum=4),
            Select("first", choices=["a", "b"], default="c", required=True),
            Select("none", choices=["a", "b"], default="c"),
        ]
    )
    assert await form.check({}, ALICE) == {"nodes": 4, "first": "a", "none": None}


async def test_a_fixed_value_that_this_user_cant_have_is_refused() -> None:
    form = Form([Integer("nodes", default=9, maximum=4, locked=True)])
    with pytest.raises(OptionsRefused, match='fixed to "9" here, which isn\'t possible: Must be at most 4'):
        await form.check({}, ALICE)


async def test_terms_are_evaluated_once_and_visible_to_rules_by_name() -> None:
    calls = []

    def double(nodes: int) -> int:
        calls.append(nodes)
        return 2 * nodes

    form = Form(
        [
            Integer("cpus", default=lambda twice: twice, maximum=lambda twice: twice),
            Integer("nodes", default=3),
        ],
        terms={"twice": double},
    )
    assert await form.check({}, ALICE) == {"nodes": 3, "cpus": 6}
    assert calls == [3]


def test_a_circle_through_a_term_is_named() -> None:
    with pytest.raises(ValueError, match=r"circle: .*twice"):
        Form([Integer("nodes", maximum=lambda twice: twice)], terms={"twice": lambda nodes: nodes})


def test_two_fields_with_one_name_and_an_unknown_group_are_mistakes() -> None:
    with pytest.raises(ValueError, match="same name"):
        Form([Text("a"), Text("a")])
    with pytest.raises(ValueError, match="group"):
        Form([Text("a", group="b")], groups=[Group("c")])


async def test_fields_are_evaluated_after_those_that_they_look_at() -> None:
    form = Form(
        [
            Select(
                "qos",
                choices=lambda partition: [f"{partition}-normal"],
                default=lambda partition: f"{partition}-normal",
            ),
            Select(
                "partition", choices=lambda cluster: [f"{cluster}-a"], default=lambda cluster: f"{cluster}-a"
            ),
            Select("cluster", choices=["summit", "blanca"], default="summit"),
        ]
    )
    assert await form.check({"cluster": "blanca"}, ALICE) == {
        "qos": "blanca-a-normal",
        "partition": "blanca-a",
        "cluster": "blanca",
    }
    assert list(await form.check({}, ALICE)) == ["qos", "partition", "cluster"]


def test_a_circle_of_functions_is_named_when_the_form_is_made() -> None:
    fields = [
        Select("qos", choices=lambda partition: [partition]),
        Select("partition", visible=lambda account: bool(account)),
        Select("account", default=lambda qos: qos),
    ]
    with pytest.raises(ValueError, match=r"in a circle: .*qos.*->.*") as caught:
        Form(fields)
    assert {"qos", "partition", "account"} <= set(str(caught.value).replace(":", " ").split())
    with pytest.raises(ValueError, match="in a circle: nodes -> nodes"):
        Form([Integer("nodes", maximum=lambda nodes: nodes)])


def test_a_last_rule_may_look_at_its_own_field_by_value_only() -> None:
    with pytest.raises(
        ValueError, match=r'nodes: its minimum looks at "ntask", which is no field. Did you mean "ntasks"'
    ):
        Form([Integer("ntasks"), Integer("nodes", minimum=lambda ntask: ntask)])
    with pytest.raises(ValueError, match="a setting's function must name each thing"):
        Integer("nodes", minimum=lambda *everything: 1)


async def test_while_choosing_a_value_that_is_no_longer_offered_is_replaced_with_a_note() -> None:
    form = Form(
        [
            Select("cluster", choices=["summit", "blanca"], default="summit"),
            Select(
                "partition",
                choices=lambda cluster: [f"{cluster}-a", f"{cluster}-b"],
                default=lambda cluster: f"{cluster}-a",
            ),
            Integer("nodes", maximum=4),
            Text("account", required=True),
        ]
    )
    given = {"cluster": "blanca", "partition": "summit-b", "nodes": "9", "account": ""}
    answers = {a.field.name: a for a in await form.answers(given, ALICE, from_page=True, live=True)}
    assert answers["partition"].value == "blanca-a"
    assert answers["partition"].note == 'Changed: "summit-b" isn\'t possible here.'
    assert answers["partition"].message == ""
    assert answers["nodes"].given == "9"
    assert answers["nodes"].message == "Must be at most 4."
    assert answers["account"].message == ""
    html = await form.render(given, {}, ALICE, from_page=True, live=True)
    assert 'id="error-nodes"' in html
    assert 'id="note-partition"' in html
    assert 'id="flatirons-problems"' not in html


async def test_a_box_that_the_page_didnt_show_keeps_its_default() -> None:
    form = Form([Checkbox("fast"), Checkbox("sure", default=True, visible=lambda fast: fast)])
    posted = {"fast": ["on"], "_boxes": ["fast"]}
    assert await form.parse(posted, ALICE) == {"fast": True, "sure": True}
    assert await form.parse({**posted, "_boxes": ["fast,sure"]}, ALICE) == {"fast": True, "sure": False}


def test_a_box_may_stand_for_a_text() -> None:
    form = Form([Checkbox("feature", on="avx512")])
    assert asyncio.run(form.parse({"feature": ["avx512"]}, ALICE)) == {"feature": "avx512"}
    assert asyncio.run(form.parse({}, ALICE)) == {"feature": None}
    assert "feature" in messages(form.parse({"feature": ["on"]}, ALICE))


# -- forms that can't be sent


def places(**more: Any) -> Form:
    """A form in which the choices of an account depend on a partition, through a term."""
    known = {"open": ["a", "b"], "closed": [], "one": ["a"]}
    return Form(
        [
            Select("cluster", choices=more.pop("clusters", ["c"]), default="c", required=True),
            Select("partition", required=True, if_none="No partition admits you.", **more),
            Select("account", choices=lambda seen: known.get(seen, []), required=True, if_none="No account."),
        ],
        terms={"seen": lambda partition: partition},
    )


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (places(choices=[]), "No partition admits you."),
        (places(choices=["closed"], default="closed"), "No account."),
        (places(choices=["closed"], default="closed", locked=True), "No account."),
        (places(choices=["closed", "open"], default="closed"), ""),
        (places(choices=["closed", "open"], default="closed", locked=True), "No account."),
        (places(choices=None), ""),
        (places(choices=lambda cluster: [], clusters=["c", "d"]), ""),
        (places(choices=lambda cluster: [], clusters=["c"]), "No partition admits you."),
        (places(choices=["one"], default="one"), ""),
        (FORM, ""),
        (Form([Select("x", choices=[], required=False)]), ""),
        (Form([Select("x", choices=[], required=True)]), "There is nothing to choose from."),
        (Form([]), ""),
    ],
)
async def test_a_form_is_a_dead_end_where_no_other_choice_would_help(form: Form, reason: str) -> None:
    assert form.dead_end(await form.answers({}, ALICE)) == reason
    if reason:
        with pytest.raises(OptionsRefused):
            await form.parse({}, ALICE)
