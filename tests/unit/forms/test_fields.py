"""What each kind of field accepts, and its messages for everything else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flatirons.forms import (
    Checkbox,
    Choice,
    Context,
    Duration,
    Field,
    Hidden,
    Integer,
    Memory,
    Number,
    Radio,
    Refusal,
    Select,
    Text,
)


def accept(field: Field, given: object, user: str = "alice") -> Any:
    """The value that the field accepts."""

    async def accepted() -> Any:
        context = Context(user=user)
        return await field.accept(given, await field.rules(context), context)

    return asyncio.run(accepted())


def refusal(field: Field, given: object) -> str:
    """The message of the field that refuses it."""
    with pytest.raises(Refusal) as caught:
        accept(field, given)
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "given", "value"),
    [
        (Text("a"), " csdms ", "csdms"),
        (Text("a", pattern=""), "Zoë & 日本", "Zoë & 日本"),
        (Integer("a"), "12", 12),
        (Integer("a"), "+7", 7),
        (Integer("a"), "-7", -7),
        (Integer("a"), 12, 12),
        (Number("a"), "1.5", 1.5),
        (Number("a"), ".5", 0.5),
        (Number("a"), 2, 2.0),
        (Checkbox("a"), "on", True),
        (Checkbox("a"), False, False),
        (Checkbox("a"), "No", False),
        (Select("a", choices=["x", ("y", "Why")]), "y", "y"),
        (Radio("a", choices=[{"value": "x", "description": "it"}]), "x", "x"),
        (Integer("a", choices=["1", "2", "4"]), 4, 4),
        (Hidden("a"), "x", "x"),
        (Duration("a"), "2:00:00", 120),
        (Duration("a"), 90, 90),
        (Memory("a"), "4G", 4096),
        (Memory("a"), 4096, 4096),
    ],
)
def test_a_value_becomes_typed(field: Field, given: object, value: object) -> None:
    taken = accept(field, given)
    assert taken == value
    assert type(taken) is type(value)
    assert accept(field, taken) == value
    assert accept(field, field.write(taken)) == value


@pytest.mark.parametrize(
    "field",
    [
        *(kind("a") for kind in (Text, Hidden, Integer, Number, Checkbox, Duration, Memory)),
        *(kind("a", choices=["x"]) for kind in (Select, Radio)),
    ],
)
@pytest.mark.parametrize(
    "given",
    [
        "a\nb",
        "a\x00b",
        "\x1b[31m",
        "\u202etxt.exe",
        "\ud800",
        "$(reboot)",
        "`reboot`",
        "'; DROP TABLE users; --",
        '"quoted"',
        "<b>bold</b>",
        "{{ 7*7 }}",
        "😀",
        "-1e9999",
        "9" * 5000,
        "x" * 1_000_000,
        " " * 1_000_000,
        10**400,
        -(10**400),
        float("nan"),
        float("inf"),
        [],
        ["x"],
        {"x": 1},
        b"x",
        object(),
    ],
)
def test_no_field_accepts_these_and_the_refusal_is_printable(field: Field, given: object) -> None:
    sentence = refusal(field, given)
    assert sentence.isprintable()
    assert len(sentence) < 200


@pytest.mark.parametrize("given", [True, 1.0, "1.0", "1e3", "0x10", "1_000", "١", "one", "--1"])
def test_a_whole_number_has_only_digits(given: object) -> None:
    assert refusal(Integer("a"), given)


@pytest.mark.parametrize(
    ("field", "given", "sentence"),
    [
        (Integer("a", minimum=1, maximum=4), "5", "Must be between 1 and 4."),
        (Integer("a", minimum=1, maximum=4), 0, "Must be between 1 and 4."),
        (Integer("a", minimum=1), "-1", "Must be at least 1."),
        (Integer("a", maximum=0), "1", "Must be at most 0."),
        (Integer("a"), "99999999999", "This number is too large."),
        (Number("a", maximum=1.5), "1.6", "Must be at most 1.5."),
        (Duration("a", maximum="1-00:00:00"), "25h", "Must be at most 1-00:00:00."),
        (Duration("a"), -1, "This can't be negative."),
        (Memory("a", minimum="1G", maximum="64G"), "65G", "Must be between 1G and 64G."),
        (Select("a", choices=["x", "y"]), "z", '"z" isn\'t offered here. Choose from x, y.'),
        (Select("a", choices=[]), "z", "There is nothing to choose from."),
        (Integer("a", choices=["1", "2"]), "many", '"many" isn\'t offered here. Choose from 1, 2.'),
        (Text("a", required=True), "", "This is needed."),
        (Select("a", choices=["x"], required=True), None, "Choose one."),
        (Text("a", locked=True, default="x"), "y", 'This is fixed to "x" here.'),
        (Text("a", visible=False, default="x"), "y", "This can't be chosen here."),
        (Checkbox("a"), "maybe", '"maybe" is neither yes nor no.'),
    ],
)
def test_a_refusal_says_what_is_accepted(field: Field, given: object, sentence: str) -> None:
    assert refusal(field, given) == sentence


def test_a_refusal_lists_only_some_of_many_choices() -> None:
    sentence = refusal(Select("a", choices=[f"partition{n}" for n in range(60)]), "x")
    assert sentence.endswith("partition7 and 52 more.")


def test_an_empty_or_missing_text_gives_none() -> None:
    assert accept(Text("a"), "") is None
    assert accept(Integer("a", minimum=1), "  ") is None
    assert accept(Integer("a", minimum=1), None) is None


def test_a_fixed_field_accepts_only_its_own_value() -> None:
    field = Duration("a", default="1h", locked=True)
    assert accept(field, None) == accept(field, 60) == accept(field, "1:00:00") == 60


def test_every_setting_may_be_a_function_of_the_user() -> None:
    async def accounts(user: str) -> list[str]:
        return ["csdms"] if user == "carol" else ["ucb"]

    field = Select("a", choices=accounts, required=lambda user: user == "carol")
    assert accept(field, "csdms", user="carol") == "csdms"
    assert accept(field, "", user="alice") is None
    with pytest.raises(Refusal):
        accept(field, "csdms", user="alice")


def test_a_last_rule_may_look_at_earlier_values() -> None:
    field = Integer("a", must=lambda value, user: f"{user} can't have {value}." if value == 3 else None)
    assert accept(field, 2) == 2
    assert refusal(field, 3) == "alice can't have 3."


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a b", "_a", "ä", "options", "display_name", "a\n"])
def test_a_name_that_no_option_can_have_is_refused_when_the_form_is_made(name: str) -> None:
    with pytest.raises(ValueError, match="option"):
        Text(name)


def test_html_attributes_that_the_form_sets_itself_are_refused() -> None:
    with pytest.raises(ValueError, match="id"):
        Text("a", attrs={"ID": "x"})


@pytest.mark.parametrize("given", [object(), [1, 2, 3], {"label": "x"}, {"value": "x", "size": "9"}])
def test_a_malformed_choice_is_a_mistake_in_the_form(given: object) -> None:
    with pytest.raises(ValueError, match="not a choice"):
        Choice.of(given)


def test_a_hidden_field_without_a_default_asks_no_function_for_its_settings() -> None:
    def never() -> int:
        raise AssertionError("nobody sees this field")

    field = Integer("cpus", visible=False, minimum=never, maximum=never)
    assert accept(field, None) is None
    assert refusal(field, 2) == "This can't be chosen here."
