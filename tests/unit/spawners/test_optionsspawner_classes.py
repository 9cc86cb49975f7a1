"""The classes of the `optionsspawner` package as code uses them that calls them and makes subclasses."""

from __future__ import annotations

import copy
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.spawner import LocalProcessSpawner
from traitlets import Bool, Enum, Float, Integer, List, TraitError, Unicode
from traitlets.config import Config

from flatirons.errors import OptionsRefused
from flatirons.forms import Context, Form, Text
from flatirons.spawners.form.hooks import RefusedOptions
from flatirons.spawners.slurm import SlurmSpawner
from optionsspawner import OptionsFormSpawner, forms
from optionsspawner.forms import (
    CheckboxInputField,
    FormField,
    NumericalInputField,
    OptionsForm,
    SelectField,
    TextInputField,
)


def made(*fields: Any, kind: Any = OptionsFormSpawner, child: Any = LocalProcessSpawner, **more: Any) -> Any:
    section = {"child_class": child, "form_fields": list(fields), **more}
    spawner = kind(config=Config(OptionsFormSpawner=section))
    spawner.user = SimpleNamespace(name="alice", settings={})
    return spawner


async def landed(spawner: Any, **options: Any) -> Any:
    await spawner.apply_user_options(spawner, options)
    return spawner


# -- the names that are imported


@pytest.mark.parametrize(
    "name",
    [
        *("forms.base.FormField", "forms.base.OptionsForm", "forms.characterfield.TextInputField"),
        *("forms.characterfield.NumericalInputField", "forms.checkboxfield.CheckboxInputField"),
        *("forms.selectfield.SelectField", "optionsspawner.OptionsFormSpawner"),
    ],
)
def test_every_class_is_in_the_module_of_its_old_name(name: str) -> None:
    module, _, found = name.rpartition(".")
    public = OptionsFormSpawner if found == "OptionsFormSpawner" else getattr(forms, found)
    assert getattr(import_module(f"optionsspawner.{module}"), found) is public


@pytest.mark.parametrize("kind", [TextInputField, NumericalInputField, CheckboxInputField, SelectField])
def test_fields_are_classes_that_isinstance_tells_apart(kind: Any) -> None:
    field = kind("a", choices=[("x", "X")]) if kind is SelectField else kind("a")
    assert isinstance(field, kind) and isinstance(field, FormField)
    assert isinstance(field, TextInputField) == (kind in (TextInputField, NumericalInputField))


# -- the trait of a field, and its default


@pytest.mark.parametrize(
    ("field", "kind", "default"),
    [
        (TextInputField("a"), Unicode, ""),
        (TextInputField("a", attr_value="x"), Unicode, "x"),
        (NumericalInputField("a"), Integer, 0),
        (NumericalInputField("a", attr_value=3), Integer, 3),
        (NumericalInputField("a", attr_value="3"), Integer, 3),
        (NumericalInputField("a", attr_step=0.5), Float, 0.0),
        (NumericalInputField("a", attr_step="any", attr_value=2), Float, 2.0),
        (CheckboxInputField("a"), Bool, False),
        (CheckboxInputField("a", attr_checked=True), Bool, True),
        (CheckboxInputField("a", attr_value="--x"), Unicode, ""),
        (CheckboxInputField("a", attr_value="--x", attr_checked=True), Unicode, "--x"),
        (SelectField("a", choices=[("x", "X"), ("y", "Y")], default="y"), Unicode, "y"),
        (SelectField("a", choices=[(1, "X"), (2, "Y")]), Integer, 1),
        (SelectField("a", choices=[(1.5, "X")]), Float, 1.5),
    ],
)
def test_a_fields_trait_has_its_name_its_type_and_its_default(field: Any, kind: Any, default: object) -> None:
    trait = field.get_trait()
    assert isinstance(trait, kind) and trait.name == "a" and trait.metadata == {"config": True}
    assert (trait.default_value, type(trait.default_value)) == (default, type(default))
    assert made(field).a == default, "before anybody chooses"
    assert made(field).has_trait("a") and not made().has_trait("a")


def test_a_trait_of_the_child_keeps_its_type_and_its_default() -> None:
    spawner = made(TextInputField("http_timeout", attr_value="20"))
    assert spawner.http_timeout == LocalProcessSpawner().http_timeout


# -- what a field makes of what was posted


@pytest.mark.parametrize(
    ("field", "posted", "value"),
    [
        (TextInputField("a", attr_value="d"), ["x y"], "x y"),
        (TextInputField("a", attr_value="d"), [""], "d"),
        (TextInputField("a"), None, ""),
        (TextInputField("a"), [12], "12"),
        (NumericalInputField("a"), ["12"], 12),
        (NumericalInputField("a", attr_value=7), [""], 7),
        (NumericalInputField("a", attr_step="any"), ["1.5"], 1.5),
        (CheckboxInputField("a"), None, False),
        (CheckboxInputField("a"), ["on"], True),
        (CheckboxInputField("a", attr_value="--x"), None, ""),
        (CheckboxInputField("a", attr_value="--x"), ["--x"], "--x"),
        (SelectField("a", choices=[(1, "X"), (2, "Y")]), ["2"], 2),
        (SelectField("a", choices=[(1.5, "X")]), ["1.5"], 1.5),
    ],
)
def test_a_posted_list_becomes_the_traits_value(field: Any, posted: Any, value: object) -> None:
    found = field.normalize_user_option(posted)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("field", "posted"),
    [
        (TextInputField("a", attr_required=True), [""]),
        (NumericalInputField("a"), ["1.0"]),
        (NumericalInputField("a", attr_step="any"), ["x"]),
        (CheckboxInputField("a", attr_required=True), None),
        (SelectField("a", choices=[("x", "X")]), ["z"]),
        (SelectField("a", choices=[(1, "X")]), ["x"]),
        (SelectField("a", choices=[("x", "X")]), None),
    ],
)
def test_anything_else_is_a_value_error(field: Any, posted: Any) -> None:
    with pytest.raises(ValueError, match="a: "):
        field.normalize_user_option(posted)


def test_a_form_of_fields_parses_and_renders_without_a_hub() -> None:
    fields = [TextInputField("a"), CheckboxInputField("b")]
    form = OptionsForm(form_fields=fields)
    assert form.fields == fields
    assert form.get_options_from_form({"a": ["x"]}) == {"a": ["x"], "b": None}
    assert form.get_normalized_user_options({"a": ["x"]}) == {"a": "x", "b": False}
    html = form.render()
    assert html.startswith(form.validation_style) and all(field.render() in html for field in fields)


def test_a_field_renders_itself_and_escapes_what_it_is_given() -> None:
    html = TextInputField(
        "a", label="<A>", attr_value='"x"', attr_required=True, attr_autofocus=False
    ).render()
    assert '<label for="a">&lt;A&gt;</label>' in html and 'id="id_a"' in html
    assert "required" in html and "autofocus" not in html and 'value="&#34;x&#34;"' in html
    html = SelectField("a", choices=[("x", "X"), ("<y>", "Y")], default="<y>").render()
    assert '<option id="id_a_option_1" value="&lt;y&gt;" selected>Y</option>' in html


# -- subclasses of a site


class Hours(TextInputField):
    """A time in hours, which the trait wants in minutes; not the same when it is read twice."""

    def normalize_user_option(self, option: Any) -> Any:
        """The minutes."""
        if not option or not option[0]:
            return 60
        if not str(option[0]).isdigit():
            raise ValueError("Write whole hours.")
        return 60 * int(option[0])


class Level(SelectField):
    """A choice with a trait that knows its values."""

    def get_trait(self) -> Any:
        """The values."""
        return Enum(["low", "high"], default_value="high").tag(config=True)


class Slider(NumericalInputField):
    """A number with its own HTML."""

    def render(self) -> str:
        """A slider."""
        return f'<input type="range" name="{self.trait_name}" data-mine="yes">'


class Flags(FormField):
    """Nothing but what the base class demands."""

    def __init__(self, trait_name: str, **given: Any) -> None:
        super().__init__(trait_name, **given)
        self.known = ["a", "b"]

    def render(self) -> str:
        """Any HTML."""
        return f'<textarea name="{self.trait_name}"></textarea>'

    def get_trait(self) -> Any:
        """A list."""
        return List(Unicode())

    def normalize_user_option(self, option: Any) -> Any:
        """The list of a text."""
        words = str(option[0]).split()
        if set(words) - set(self.known):
            raise ValueError("Only a and b.")
        return words


async def test_a_subclass_reads_a_value_in_its_own_way_once() -> None:
    spawner = await landed(made(Hours("req_runtime"), child=SlurmSpawner), req_runtime="2")
    assert spawner.runtime == 120
    assert spawner.user_options == {"req_runtime": "2"}
    assert (await landed(spawner, req_runtime="")).runtime == 60
    with pytest.raises(RefusedOptions, match="Write whole hours"):
        await landed(spawner, req_runtime="two")


async def test_a_subclass_chooses_the_trait_and_the_html() -> None:
    level, slider = Level("level", choices=[("low", "Low"), ("high", "High")]), Slider("req_n", attr_max=4)
    spawner = made(level, slider)
    assert spawner.level == "high"
    assert (await landed(spawner, level="low", req_n=3)).level == "low"
    html = await spawner.options_form(spawner)
    assert '<input type="range" name="req_n" data-mine="yes">' in html and 'id="option-req_n"' in html
    with pytest.raises(RefusedOptions, match="at most 4"):
        await landed(spawner, req_n=5)
    page = await Form([slider.as_field()]).render({}, {"req_n": "Too much."}, Context())
    assert 'id="error-req_n">Too much.' in page


async def test_a_subclass_of_the_base_class_alone_needs_no_more_than_its_methods() -> None:
    spawner = made(Flags("flags"))
    assert spawner.flags == []
    assert (await landed(spawner, flags="a b")).flags == ["a", "b"]
    with pytest.raises(RefusedOptions, match="Only a and b"):
        await landed(spawner, flags="c")
    assert "<textarea" in await spawner.options_form(spawner)


async def test_the_lists_of_the_packages_own_rest_bodies_are_read() -> None:
    fields = [TextInputField("req_partition"), NumericalInputField("req_nodes"), CheckboxInputField("x")]
    spawner = await landed(
        made(*fields, child=SlurmSpawner), req_partition=["sknl"], req_nodes=["2"], x=["on"]
    )
    assert (spawner.partition, spawner.nodes, spawner.x) == ("sknl", 2, True)
    with pytest.raises(RefusedOptions):
        await landed(spawner, req_partition=["a", "b"])


async def test_fields_of_both_kinds_stand_in_one_form() -> None:
    spawner = made(TextInputField("a"), Text("b"))
    assert list(spawner.declared_form().fields) == ["a", "b"]
    assert copy.deepcopy(TextInputField("a", label="A")).as_field().label == "A"
    with pytest.raises(TraitError, match="isn't a field"):
        made("a")


def test_spawners_share_one_class_however_many_there_are() -> None:
    fields = [Level("level", choices=[("low", "Low")]), TextInputField("a", attr_value="x")]
    assert type(made(*fields)) is type(made(*fields))


class Suggested(TextInputField):
    """A text whose attributes are known only after those of its base class."""

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        self._attributes["value"] = "normal"
        self._attributes["list"] = "qos"


async def test_a_subclass_may_add_attributes_after_its_base_class() -> None:
    spawner = made(Suggested("req_qos"), child=SlurmSpawner)
    page = await spawner.options_form(spawner)
    assert 'list="qos"' in page and 'value="normal"' in page
    assert (await landed(spawner)).qos == "normal"


# -- subclasses of the spawner


class Ours(OptionsFormSpawner):
    """A site's own, which adds to what was posted."""

    def options_from_form(self, form_data: Any) -> Any:
        """The options, with one that the site decides."""
        return {**super().options_from_form(form_data), "req_qos": ["site"]}


async def test_a_subclass_may_change_what_was_posted_and_the_check_still_holds() -> None:
    fields = [TextInputField("req_partition"), SelectField("req_qos", choices=[("user", "U"), ("site", "S")])]
    spawner = made(*fields, kind=Ours, child=SlurmSpawner)
    options = spawner.run_options_from_form({"req_partition": ["shas"], "req_qos": ["user"]})
    assert options == {"req_partition": ["shas"], "req_qos": ["site"]}
    await landed(spawner, **options)
    assert (spawner.partition, spawner.qos) == ("shas", "site")
    with pytest.raises(RefusedOptions):
        await landed(spawner, req_qos=["none"])
    with pytest.raises(Exception, match="nothing is started"):
        await spawner.options_from_query({"req_partition": ["shas"]})


async def test_a_page_of_the_sites_own_stays_in_use() -> None:
    spawner = made(TextInputField("req_partition"), child=SlurmSpawner, options_form="<b>ours</b>")
    assert await spawner.get_options_form() == "<b>ours</b>"
    options = await spawner.run_options_from_form({"req_partition": ["shas"]})
    assert (await landed(spawner, **options)).partition == "shas"


def test_the_methods_that_the_package_had_are_there() -> None:
    spawner = made(TextInputField("a", attr_value="d"), NumericalInputField("b", attr_step="any"))
    assert [field.trait_name for field in spawner.options_form_builder.fields] == ["a", "b"]
    spawner._apply_traits_from_fields()
    other = LocalProcessSpawner()
    spawner._apply_traits_from_fields(spawner_instance=other)
    spawner.user_options = {"a": ["x"], "b": [4.0]}
    for each in (spawner, other):
        spawner._set_trait_values_from_options(spawner_instance=each)
        assert (each.a, each.b) == ("x", 4.0)


async def test_a_refused_value_stands_beside_its_field_in_the_form() -> None:
    with pytest.raises(OptionsRefused) as caught:
        await Form([Hours("a").as_field()]).parse({"a": ["x"]}, Context())
    assert caught.value.messages == {"a": "Write whole hours."}
