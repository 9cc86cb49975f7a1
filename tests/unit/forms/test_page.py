"""The form's HTML: labels, descriptions and messages belong to their inputs, and everything is escaped."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest

from flatirons.forms import (
    Checkbox,
    Choice,
    Context,
    Form,
    Group,
    Hidden,
    Integer,
    Memory,
    Radio,
    Select,
    Text,
)
from flatirons.forms.page import Card, PageSettings

ALICE = Context(user="alice")
FORM = Form(
    [
        Radio(
            "environment",
            "Environment",
            choices=[Choice("py", "Python", "numpy"), Choice("r")],
            required=True,
        ),
        Select(
            "partition",
            "Partition",
            choices=["shas", Choice("knl", group="Knights")],
            nothing="Slurm's default",
        ),
        Integer(
            "nodes",
            "Nodes",
            minimum=1,
            maximum=4,
            default=1,
            unit="nodes",
            help="Whole nodes.",
            flag="--nodes",
        ),
        Memory("memory", "Memory", default="4G"),
        Text("account", "Account", locked=True, default="ucb"),
        Checkbox("verbose", "Verbose"),
        Text("secret", "Secret", visible=False, default="s"),
        Hidden("carried", default="c"),
        Text("reservation", "Reservation", group="more", attrs={"data-x": "1"}),
    ],
    groups=[Group(""), Group("more", "More", folded=True)],
)


class Page(HTMLParser):
    """Elements with their attributes, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"twice the same attribute: {attrs}"
        self.elements.append((tag, dict(attrs)))

    def by_id(self, id_: str) -> dict[str, str | None]:
        """The one element with this id."""
        [attributes] = [attributes for _, attributes in self.elements if attributes.get("id") == id_]
        return attributes

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all these elements."""
        return [attributes for name, attributes in self.elements if name == tag]


async def page(given: dict[str, Any], messages: dict[str, str] | None = None, **options: Any) -> Page:
    return Page(await FORM.render(given, messages or {}, ALICE, **options))


async def test_each_input_carries_its_options_name_and_has_a_label() -> None:
    shown = await page({})
    labelled = {label.get("for") for label in shown.all("label")}
    for name in ("partition", "nodes", "memory", "verbose", "reservation"):
        assert shown.by_id(f"option-{name}")["name"] == name
        assert f"option-{name}" in labelled
    assert [radio["name"] for radio in shown.all("input") if radio["type"] == "radio"] == ["environment"] * 2


async def test_texts_next_to_an_input_describe_it_for_screen_readers() -> None:
    shown = await page({"nodes": "9"}, {"nodes": "Must be between 1 and 4."})
    nodes = shown.by_id("option-nodes")
    assert nodes["aria-describedby"] == "help-nodes error-nodes"
    assert nodes["aria-invalid"] == "true"
    assert (nodes["value"], nodes["min"], nodes["max"]) == ("9", "1", "4")
    assert shown.by_id("help-nodes") and shown.by_id("error-nodes")
    assert "aria-invalid" not in shown.by_id("option-memory")


async def test_the_summary_links_to_each_field_on_the_page() -> None:
    wrong = {
        "nodes": "no",
        "reservation": "no",
        "secret": "no",
        "carried": "no",
        "strange": "no",
        "options": "no",
    }
    shown = await page({}, wrong)
    assert [link["href"] for link in shown.all("a")] == ["#option-nodes", "#option-reservation"]
    assert "autofocus" in shown.by_id("flatirons-problems")


async def test_the_summary_counts_in_words() -> None:
    assert "One thing needs a change." in await FORM.render({}, {"nodes": "no"}, ALICE)
    assert "2 things need a change." in await FORM.render({}, {"nodes": "no", "memory": "no"}, ALICE)


async def test_a_folded_group_opens_when_a_message_is_inside() -> None:
    assert "open" not in (await page({})).all("details")[0]
    assert "open" in (await page({}, {"reservation": "no"})).all("details")[0]
    assert "open" in (await page({}, linked=["reservation"])).all("details")[0]


async def test_values_are_shown_as_users_write_them() -> None:
    shown = await page({"memory": 2048, "verbose": True, "environment": "r", "partition": "knl"})
    assert shown.by_id("option-memory")["value"] == "2G"
    assert "checked" in shown.by_id("option-verbose")
    assert "checked" in shown.by_id("option-environment-2")
    assert [o["value"] for o in shown.all("option") if "selected" in o] == ["knl"]
    assert shown.all("optgroup") == [{"label": "Knights"}]


async def test_a_value_that_isnt_offered_selects_nothing() -> None:
    shown = await page({"partition": "gone", "environment": "gone"})
    assert [o["value"] for o in shown.all("option") if "selected" in o] == [""]
    assert not any("checked" in radio for radio in shown.all("input"))


async def test_a_locked_field_is_shown_and_not_posted() -> None:
    account = (await page({})).by_id("option-account")
    assert "disabled" in account and "name" not in account
    assert account["value"] == "ucb"


async def test_an_invisible_field_isnt_on_the_page_and_a_hidden_one_is_an_input() -> None:
    shown = await page({})
    assert not any(attributes.get("id") == "option-secret" for _, attributes in shown.elements)
    assert shown.by_id("option-carried") == {
        "type": "hidden",
        "id": "option-carried",
        "value": "c",
        "name": "carried",
    }


LINKED = PageSettings(form="/form", link="/hub/spawn", cards=[Card("defaults", "Defaults")], can_save=True)


@pytest.mark.parametrize("live", [False, True])
async def test_a_link_leaves_out_wrong_fields_and_says_so(live: bool) -> None:
    given = {"memory": "lots", "nodes": "9", "reservation": "workshop"}
    shown = Page(await FORM.render(given, {}, ALICE, live=live, page=LINKED))
    link = shown.by_id("flatirons-link")
    assert link["href"] == "/hub/spawn?opt-reservation=workshop"
    assert link["data-left-out"] == "Nodes, Memory"
    assert link["aria-describedby"] == "flatirons-left-out"
    html = await FORM.render(given, {}, ALICE, live=live, page=LINKED)
    assert "The link leaves out what needs a change: Nodes, Memory." in html


async def test_a_link_leaves_out_a_field_that_was_refused_for_another_reason_than_its_value() -> None:
    html = await FORM.render({"nodes": None}, {"nodes": "Give one value, not 2."}, ALICE, page=LINKED)
    assert Page(html).by_id("flatirons-link")["href"] == "/hub/spawn?"
    assert "The link leaves out what needs a change: Nodes." in html


async def test_a_link_without_mistakes_leaves_nothing_out() -> None:
    html = await FORM.render({"nodes": "2"}, {}, ALICE, page=LINKED)
    assert "opt-nodes=2" in html and "leaves out" not in html


async def test_where_nothing_can_be_started_the_form_offers_no_cards_and_no_start() -> None:
    form = Form([Select("account", choices=[], required=True, if_none="<b>You</b> have no account.")])
    html = await form.render({}, {}, ALICE, page=LINKED)
    shown = Page(html)
    assert not html.can_start
    assert "data-dead-end" in shown.by_id("flatirons-form")
    assert "You can't start a server here. &lt;b&gt;You&lt;/b&gt; have no account." in str(html)
    buttons = shown.all("button")
    assert [button.get("name") for button in buttons if "disabled" not in button] == [None], "only Update"
    assert "flatirons-link" not in html and "flatirons-saving" not in html
    assert (await FORM.render({}, {}, ALICE, page=LINKED)).can_start


async def test_no_id_occurs_twice() -> None:
    every = dict.fromkeys(FORM.fields, "no")
    ids = [
        a["id"]
        for _, a in (await page({}, every, notice="n", linked=list(FORM.fields))).elements
        if "id" in a
    ]
    assert len(ids) == len(set(ids))


async def test_the_operators_attributes_are_on_the_input() -> None:
    assert (await page({})).by_id("option-reservation")["data-x"] == "1"


async def test_hostile_text_is_shown_as_text() -> None:
    evil = "</textarea><script>alert(1)</script>\"' onfocus=alert(1) x='\x00\u202e"
    given = dict.fromkeys(FORM.fields, evil)
    messages = {**dict.fromkeys(FORM.fields, evil), evil: evil}
    plain = await page({}, {**dict.fromkeys(FORM.fields, "no"), "strange": "no"}, notice="n")
    shown = await page(given, messages, notice=evil)
    assert {tag for tag, _ in shown.elements} == {tag for tag, _ in plain.elements}
    assert not any(key.startswith("on") for _, attributes in shown.elements for key in attributes)
    assert shown.by_id("option-memory")["value"] == evil[:-2] + "\ufffd\ufffd"


async def test_a_megabyte_of_text_is_shortened_on_the_page() -> None:
    assert len(await FORM.render({"memory": "x" * 1_000_000}, {}, ALICE)) < 20_000


async def test_a_form_without_fields_renders() -> None:
    assert "flatirons-form" in await Form([]).render({}, {}, ALICE)
