"""The names of the `optionsspawner` package, used as in configurations for it."""

from __future__ import annotations

from typing import Any

import pytest
from jupyterhub.spawner import LocalProcessSpawner
from traitlets.config import Config

import optionsspawner
from flatirons.errors import OptionsRefused
from flatirons.forms import Context, Form
from optionsspawner.forms import (
    CheckboxInputField,
    FormField,
    NumericalInputField,
    SelectField,
    TextInputField,
)


async def posted(field: FormField, *values: str, shown: bool = True) -> Any:
    """The options of a posted page; `shown`: the field was on the page."""
    name = field.trait_name
    body = {name: list(values), "_boxes": [name if shown else ""]}
    return (await Form([field.as_field()]).parse(body, Context()))[name]


async def message(field: FormField, *values: str) -> str:
    with pytest.raises(OptionsRefused) as caught:
        await posted(field, *values)
    return caught.value.messages[field.trait_name]


async def page(field: FormField) -> str:
    return await Form([field.as_field()]).render({}, {}, Context())


async def test_a_text_has_its_value_its_label_and_its_attributes() -> None:
    field = TextInputField("user_email", label="Email", attr_type="email", attr_autofocus=True, attr_size=40)
    html = await page(field)
    assert 'type="email"' in html and "Email" in html and 'autofocus=""' in html and 'size="40"' in html
    assert isinstance(field, FormField) and field.label == "Email"
    assert await posted(field, "a@b.org") == "a@b.org"
    assert await posted(field, "") is None
    assert TextInputField("plain").label == "plain"


async def test_a_text_accepts_any_line_or_what_matches_its_pattern() -> None:
    assert (
        await posted(TextInputField("req_prologue"), "module load $X; ./run 'it'")
        == "module load $X; ./run 'it'"
    )
    time = TextInputField(
        "t", attr_value="02:00:00", attr_pattern="[01][0-9](:[0-5][0-9]){2}", attr_title="HH:MM:SS"
    )
    assert await posted(time, "12:30:00") == "12:30:00"
    assert await message(time, "99:00:00") == "HH:MM:SS"
    assert "Too long" in await message(TextInputField("t", attr_maxlength=3), "four")


async def test_required_fields_are_required_of_links_and_rest_bodies_too() -> None:
    required = TextInputField("a", attr_value="", attr_required=True)
    assert await message(required, "") == "This is needed."
    assert await message(CheckboxInputField("terms", attr_required=True)) == "Please tick this to continue."
    assert await posted(TextInputField("a", attr_required=False), "") is None


async def test_a_number_is_whole_unless_its_step_is_not() -> None:
    whole = NumericalInputField("req_nodes", attr_value=1, attr_min=1, attr_max=4, attr_required=True)
    assert await posted(whole, "3") == 3
    assert await message(whole, "5") == "Must be between 1 and 4."
    assert await message(whole, "1.5") == '"1.5" isn\'t a whole number.'
    for step in (0.1, "any"):
        assert (
            await posted(NumericalInputField("factor", attr_min=0, attr_max=2, attr_step=step), "0.5") == 0.5
        )
    assert 'value="1"' in await page(whole)


@pytest.mark.parametrize(
    ("attributes", "ticked", "empty"),
    [
        ({}, True, False),
        ({"attr_checked": True}, True, False),
        ({"attr_value": True}, True, False),
        ({"attr_value": "exclusive"}, "exclusive", None),
        ({"attr_value": "exclusive", "attr_checked": True}, "exclusive", None),
    ],
)
async def test_a_checkbox_gives_its_value_or_yes_and_no(
    attributes: Any, ticked: object, empty: object
) -> None:
    box = CheckboxInputField("mode", label="Mode", **attributes)
    assert await posted(box, "exclusive" if ticked == "exclusive" else "on") == ticked
    assert await posted(box) == empty
    assert (" checked" in await page(box)) == ("attr_checked" in attributes)


async def test_a_selection_is_of_the_type_of_its_choices() -> None:
    text = SelectField("req_qos", choices=[("debug", "Debug"), ("normal", "Normal")], default="normal")
    assert await posted(text, "debug") == "debug"
    assert 'value="normal" selected' in await page(text)
    assert "isn't offered here" in await message(text, "other")
    real = SelectField("factor", attr_required=True, choices=[(1.0, "One"), (2.5, "More")], default=2.5)
    assert await posted(real, "1.0") == 1.0 and await posted(real, "2.5") == 2.5
    whole = SelectField("n", choices=((1, "One"), (2, "Two")))
    assert await posted(whole, "2") == 2
    for field in (real, whole):
        assert "<select" in await page(field) and " selected" in await page(field)


async def test_a_selection_is_the_first_choice_unless_a_default_is_there() -> None:
    choices = [("summit", "Summit"), ("blanca", "Blanca")]
    for given in ({}, {"default": "gone"}):
        field = SelectField("req_cluster", choices=choices, **given)
        assert (await Form([field.as_field()]).check({}, Context()))["req_cluster"] == "summit"
    assert await message(SelectField("req_cluster", choices=choices), "") == "Choose one."


async def test_an_empty_choice_leaves_the_trait_unchanged() -> None:
    field = SelectField("req_qos", choices=[("", "The default"), ("debug", "Debug")])
    assert await posted(field, "") is None
    assert "The default" in await page(field)


def test_mistakes_are_reported_when_the_configuration_is_read() -> None:
    for mistake in (
        lambda: SelectField("a", choices=[("x", "1"), ("x", "2")]),
        lambda: TextInputField("a", attr_pattern="["),
        lambda: TextInputField("a", attr_value="x", attr_pattern="[0-9]+"),
        lambda: NumericalInputField("a", attr_max="many"),
        lambda: CheckboxInputField("a", attr_type="radio"),
        lambda: TextInputField("c.Spawner.cmd"),
    ):
        with pytest.raises(ValueError, match="a"):
            mistake()
    with pytest.raises(TypeError, match="one type"):
        SelectField("a", choices=[(1, "1"), ("x", "2")])


async def test_the_first_example_of_the_old_manual_works() -> None:
    config = Config()
    config.OptionsFormSpawner.child_class = "jupyterhub.spawner.LocalProcessSpawner"
    config.OptionsFormSpawner.child_config = {}
    config.OptionsFormSpawner.form_fields = [
        TextInputField("text_attribute", label="A text", attr_value="Default value", attr_required=True),
        SelectField("select_attribute", attr_required=True, choices=[(1.0, "1"), (2.0, "2")], default=2.0),
    ]
    spawner: Any = optionsspawner.OptionsFormSpawner(config=config)
    assert isinstance(spawner, LocalProcessSpawner)
    spawner.user = type("User", (), {"name": "alice"})
    await spawner.apply_user_options(spawner, {})
    assert (spawner.text_attribute, spawner.select_attribute) == ("Default value", 2.0)
