"""Hostile bodies from every source become options within the rules, or OptionsRefused."""

from __future__ import annotations

import asyncio
import json
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.errors import OptionsRefused
from flatirons.forms import Checkbox, Context, Form, Integer, Number, Text
from flatirons.forms.fields import SLURM_NAME
from flatirons.slurm_form.form import slurm_form
from tests.full import examples

ALICE = Context(user="alice")
SLURM = slurm_form(
    {
        "partition": {"choices": ["shas", "sknl"], "default": "shas"},
        "qos": {"default": "normal", "locked": True},
        "nodes": {"maximum": 4},
        "memory": {"maximum": "64G"},
        "gpus": {"maximum": 4},
        "runtime": {"default": "1h", "maximum": "1-00:00:00"},
    },
    {"summit": {}, "blanca": {}},
    {"python": {}, "r": {}},
)
FORM = Form(
    [
        *SLURM.fields.values(),
        Number("factor", minimum=-1.5, maximum=1.5, group="more"),
        Checkbox("verbose", group="more"),
        Text("remark", pattern="", group="more"),
        Integer("seed", group="more"),
    ],
    groups=SLURM.groups,
    terms=SLURM.terms,
)
BOUNDS = {
    "nodes": (1, 4),
    "ntasks": (1, 2**31),
    "cpus": (1, 2**31),
    "memory": (1, 65536),
    "runtime": (1, 1440),
    "factor": (-1.5, 1.5),
    "seed": (-(2**31), 2**31),
}
CHOICES = {
    "partition": {"shas", "sknl"},
    "qos": {"normal"},
    "cluster": {"summit", "blanca"},
    "environment": {"python", "r"},
    "verbose": {True, False},
}

NASTY = [
    "$(reboot)",
    "`id`",
    "; rm -rf /",
    "' OR 1=1 --",
    '"><script>alert(1)</script>',
    "a\nb",
    "a\x00b",
    "\x1b]0;x\x07",
    "\u202e",
    "\ud800",
    "😀" * 50,
    "{{ 7*7 }}",
    "{% raw %}",
    "%s%n",
    "../../etc/passwd",
    "--uid=0",
    "-1",
    "9" * 400,
    "1" * 100_000,
    "NaN",
    "1e400",
    "0x10",
    "٣",
    "2:00",
    "1-00:00:00",
    "4G",
    "v100:2",
    "999999T",
    "99999-99:59:59",
    " shas ",
    "shas",
    "null",
    "on",
]
texts = st.one_of(st.sampled_from(NASTY), st.text(st.characters(), max_size=50))
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.sampled_from([10**400, -(10**400)])
)
jsons = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
names = st.one_of(st.sampled_from(list(FORM.fields)), st.sampled_from(["_xsrf", "options", *NASTY]), texts)
plausible = st.fixed_dictionaries(
    {},
    optional={
        "partition": st.sampled_from(["shas", "sknl", ""]),
        "nodes": st.integers(0, 5).map(str),
        "cpus": st.integers().map(str),
        "memory": st.from_regex(r"[0-9]{1,4}(\.[0-9])? ?[KMGT]?(i?B)?", fullmatch=True),
        "gpus": st.from_regex(r"((a|v)100:)?[0-4]", fullmatch=True),
        "runtime": st.from_regex(r"([0-1]-)?[0-9]{1,2}(:[0-9]{2}){0,2}|[0-9]{1,4}[mhd]", fullmatch=True),
        "factor": st.floats(-2, 2, width=16).map(str),
        "seed": st.integers().map(str),
        "remark": st.text(),
        "account": st.from_regex(SLURM_NAME, fullmatch=True),
    },
)
posted_values = st.one_of(st.lists(texts, max_size=3), st.just([{"filename": "x", "body": b"x"}]))


class Tags(HTMLParser):
    """Tags and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def holds(options: dict[str, Any]) -> None:
    """Fails unless each option has its declared type and is within its rules."""
    assert options.keys() == FORM.fields.keys()
    for name, value in options.items():
        if value is None:
            continue
        if name in CHOICES:
            assert value in CHOICES[name]
        elif name in BOUNDS:
            assert type(value) is (float if name == "factor" else int)
            assert BOUNDS[name][0] <= value <= BOUNDS[name][1]
        else:
            assert type(value) is str
            assert value.isprintable() and len(value) <= 256


def survives(taken: dict[str, Any]) -> None:
    """Fails unless these options pass the database and the check unchanged."""
    holds(taken)
    assert asyncio.run(FORM.check(json.loads(json.dumps(taken)), ALICE)) == taken


def refused_well(refused: OptionsRefused) -> None:
    """Fails unless the messages are short and printable."""
    assert refused.messages
    assert len(refused.messages) <= len(FORM.fields) + 6
    for name, message in refused.messages.items():
        assert name.isprintable() and message.isprintable()
        assert 0 < len(message) < 250


@examples(500, 2000)
@given(st.dictionaries(names, posted_values, max_size=8), st.booleans())
def test_any_posted_body_or_link_is_typed_options_or_messages(body: dict[str, Any], from_page: bool) -> None:
    try:
        survives(asyncio.run(FORM.parse(body, ALICE, from_page=from_page)))
    except OptionsRefused as refused:
        refused_well(refused)


@examples(500, 2000)
@given(st.dictionaries(names, jsons, max_size=8))
def test_any_json_is_typed_options_or_messages(body: dict[str, Any]) -> None:
    try:
        survives(asyncio.run(FORM.check(body, ALICE)))
    except OptionsRefused as refused:
        refused_well(refused)


@examples(300, 1000)
@given(plausible)
def test_the_same_texts_give_the_same_by_page_and_by_rest(body: dict[str, str]) -> None:
    posted: dict[str, Any] = {name: [text] for name, text in body.items()}
    try:
        options = asyncio.run(FORM.parse(posted, ALICE, from_page=False))
    except OptionsRefused as refused:
        refused_well(refused)
        with pytest.raises(OptionsRefused) as by_rest:
            asyncio.run(FORM.check(body, ALICE))
        assert by_rest.value.messages == refused.messages
    else:
        survives(options)
        assert asyncio.run(FORM.check(body, ALICE)) == options


@examples(100, 300)
@given(st.dictionaries(names, jsons, max_size=8))
def test_any_options_of_an_earlier_start_give_options_to_begin_with(body: dict[str, Any]) -> None:
    survives(asyncio.run(FORM.initial(body, ALICE)))


@examples(100, 300)
@given(st.dictionaries(names, jsons, max_size=8), st.dictionaries(names, texts, max_size=8), texts)
def test_any_values_and_messages_render_to_the_same_kinds_of_elements(
    values: dict[str, Any], messages: dict[str, str], notice: str
) -> None:
    page = asyncio.run(FORM.render(values, messages, ALICE, notice=notice, linked=list(values)))
    page.encode()
    tags = Tags(page)
    assert not tags.tags & {"img", "iframe", "b", "object", "svg"}
    assert page.count("<script") == 1
    assert not any(name.startswith("on") for name in tags.attributes)
