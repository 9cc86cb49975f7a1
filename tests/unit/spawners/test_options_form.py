"""OptionsFormSpawner alone. On a real hub: tests/hub/test_options_form_spawner.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import traitlets
from jupyterhub import orm
from jupyterhub.orm import Server
from jupyterhub.spawner import LocalProcessSpawner, Spawner
from jupyterhub.traitlets import ByteSpecification
from traitlets import TraitError
from traitlets.config import Config

from flatirons.forms import Checkbox, Duration, Field, Form, Integer, Memory, Number, Radio, Select, Text
from flatirons.spawners.form.hooks import RefusedOptions
from flatirons.spawners.options_form import STATE_KEY, OptionsFormSpawner, fitting
from flatirons.spawners.slurm import SlurmSpawner


class Child(Spawner):  # type: ignore[misc]
    """A spawner with a trait of each kind that starts nothing and records the calls."""

    text = traitlets.Unicode("as configured").tag(config=True)
    count = traitlets.Integer(7, max=100).tag(config=True)
    factor = traitlets.Float(1.0).tag(config=True)
    flag = traitlets.Bool(False).tag(config=True)
    size = ByteSpecification(None)
    word = traitlets.Enum([1, 2, "many"], default_value=1)
    words = traitlets.List(traitlets.Unicode())
    pairs = traitlets.Dict()
    anything = traitlets.Any()
    started_with = ""

    async def start(self) -> str:
        self.started_with = f"{self.text} {self.count!r}"
        return "http://127.0.0.1:1"

    async def poll(self) -> int | None:
        return None if self.started_with else 0

    async def stop(self, now: bool = False) -> None:
        self.started_with = f"stopped, now={now}"

    async def progress(self) -> Any:
        yield {"progress": 10, "message": "the child's own"}

    async def get_url(self) -> str:
        return "http://the-childs-own"

    def get_state(self) -> dict[str, Any]:
        return {**super().get_state(), "with": self.started_with}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.started_with = state.get("with", "")

    def clear_state(self) -> None:
        super().clear_state()
        self.started_with = ""


class Sibling(Child):
    """Another class with the same traits."""


def made(*fields: Field, child: Any = Child, config: Any = None, **given: Any) -> Any:
    """A spawner of a user, as JupyterHub makes one."""
    user = SimpleNamespace(name="alice", url="/user/alice/", settings={})
    server = Server(id=1, base_url="/user/alice/", proto="http", ip="", port=1, cookie_name="c")
    orm_spawner = SimpleNamespace(name="", state={}, server=server)
    section = {"child_class": child, "form_fields": list(fields), **(config or {})}
    return OptionsFormSpawner(
        user=user, orm_spawner=orm_spawner, hub=None, config=Config(OptionsFormSpawner=section), **given
    )


async def landed(spawner: Any, **options: Any) -> Any:
    """The spawner with these options, after the check."""
    await spawner.apply_user_options(spawner, options)
    return spawner


def refusal(caught: pytest.ExceptionInfo[RefusedOptions]) -> str:
    return str(caught.value.message)


# -- the child


@pytest.mark.parametrize("child", [LocalProcessSpawner, "jupyterhub.spawner.LocalProcessSpawner"])
def test_the_child_is_a_class_or_its_importable_name(child: Any) -> None:
    spawner = made(child=child)
    assert isinstance(spawner, OptionsFormSpawner)
    assert isinstance(spawner, LocalProcessSpawner)


def test_the_child_may_be_a_registered_name_and_is_jupyterhubs_default_else() -> None:
    assert isinstance(made(child="simple"), LocalProcessSpawner)
    assert isinstance(OptionsFormSpawner(), LocalProcessSpawner)


@pytest.mark.parametrize("child", ["no.such.Class", "jupyterhub.user.User", int, OptionsFormSpawner])
def test_only_a_spawner_can_be_the_child(child: Any) -> None:
    with pytest.raises(TraitError, match="child_class"):
        made(child=child)


async def test_jupyterhub_calls_the_child_itself() -> None:
    spawner = made()
    assert await spawner.start() == "http://127.0.0.1:1"
    assert await spawner.poll() is None
    assert [event["message"] async for event in spawner.progress()] == ["the child's own"]
    assert await spawner.get_url() == "http://the-childs-own"
    assert spawner.child_spawner is spawner
    await spawner.stop(now=True)
    assert spawner.started_with == "stopped, now=True"


def test_child_config_overrides_the_childs_section() -> None:
    config = Config(Child={"text": "section", "count": 1}, Spawner={"start_timeout": 5})
    config.OptionsFormSpawner.update(child_class=Child, child_config={"count": 2})
    spawner = OptionsFormSpawner(config=config)
    assert (spawner.text, spawner.count, spawner.start_timeout) == ("section", 2, 5)


def test_two_spawners_share_no_value_of_child_config() -> None:
    shared: dict[str, Any] = {"child_config": {"environment": {"A": "1"}}}
    first, second = made(config=shared), made(config=shared)
    first.environment["B"] = "2"
    assert second.environment == {"A": "1"} == shared["child_config"]["environment"]


def test_an_unknown_trait_in_child_config_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    spawner = made(config={"child_config": {"cuont": 2}})
    assert not hasattr(spawner, "cuont")
    assert "has no trait cuont" in caplog.text


def test_a_configuration_may_append_to_the_fields() -> None:
    config = Config()
    config.OptionsFormSpawner.child_class = Child
    config.OptionsFormSpawner.form_fields.append(Text("more"))
    assert "more" in OptionsFormSpawner(config=config).declared_form().fields


async def test_a_subclass_of_the_operator_precedes_the_child() -> None:
    class Ours(OptionsFormSpawner):
        async def start(self) -> str:
            return f"ours, then {await super().start()}"

    config = Config(OptionsFormSpawner={"child_class": Child}, Ours={"child_class": Sibling})
    spawner = Ours(config=config)
    assert isinstance(spawner, Sibling)
    assert await spawner.start() == "ours, then http://127.0.0.1:1"


# -- the form


async def test_the_form_is_made_of_the_fields() -> None:
    page = await (spawner := made(Integer("count", "How many", maximum=9))).options_form(spawner)
    assert 'name="count"' in page and "How many" in page


async def test_the_fields_may_be_a_function_of_the_spawner() -> None:
    def fields(spawner: Any) -> Any:
        choices = [spawner.user.name, "other"]
        return [Select("text", choices=choices), Checkbox("extra")]

    spawner = await landed(made(config={"form_fields": fields}), text="alice", extra=True)
    assert (spawner.text, spawner.extra) == ("alice", True)
    whole = made(config={"form_fields": lambda spawner: Form([Text("text")])})
    assert (await landed(whole, text="all")).text == "all"


async def test_nothing_but_the_declared_options_reaches_the_child() -> None:
    with pytest.raises(RefusedOptions) as caught:
        await landed(made(Integer("count")), count=1, text="evil")
    assert "text: There is no option" in refusal(caught)


# -- where values land


@pytest.mark.parametrize(
    ("field", "given", "value"),
    [
        (Select("count", choices=["2", "4"]), "4", 4),
        (Integer("text"), 4, "4"),
        (Number("text"), "1.5", "1.5"),
        (Checkbox("text"), True, "on"),
        (Duration("text"), "90m", "1:30:00"),
        (Memory("text"), "4G", "4G"),
        (Number("count"), 3.0, 3),
        (Checkbox("count"), True, 1),
        (Select("factor", choices=["0.5"]), "0.5", 0.5),
        (Integer("factor"), 2, 2.0),
        (Radio("flag", choices=["yes", "no"]), "yes", True),
        (Integer("flag"), 1, True),
        (Checkbox("flag", on="exclusive", trait="text"), "exclusive", "exclusive"),
        (Memory("size"), "2G", 2 * 1024**3),
        (Text("size"), "2G", 2 * 1024**3),
        (Integer("size"), 4096, 4096),
        (Select("word", choices=["1", "2", "many"]), "2", 2),
        (Select("word", choices=["1", "2", "many"]), "many", "many"),
        (Text("words"), "one", ["one"]),
        (Number("anything"), 2.5, 2.5),
        (Text("start_timeout"), "00:10:00", 600),
        (Duration("start_timeout"), "10m", 600),
        (Integer("start_timeout"), 90, 90),
        (Text("http_timeout"), "90s", 90),
    ],
)
async def test_a_value_gets_the_type_of_the_trait(field: Field, given: object, value: object) -> None:
    spawner = await landed(made(field), **{field.name: given})
    found = getattr(spawner, field.trait or field.name)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("field", "given", "sentence"),
    [
        (Text("count"), "many", 'count: "many" isn\'t a whole number.'),
        (Number("count"), 1.5, 'count: "1.5" isn\'t a whole number.'),
        (Text("factor"), "half", 'factor: "half" isn\'t a number.'),
        (Text("flag"), "maybe", 'flag: "maybe" is neither yes nor no.'),
        (Text("word"), "3", 'word: "3" isn\'t possible for this server.'),
        (Integer("count"), 101, "count: This server can't be given this value."),
        (Text("http_timeout"), "90.5", 'http_timeout: "90.5" isn\'t a whole number.'),
        (Text("size"), "much", "size: This server can't be given this value."),
    ],
)
async def test_a_value_that_the_trait_refuses_gets_a_message(
    field: Field, given: object, sentence: str
) -> None:
    spawner = made(field)
    with pytest.raises(RefusedOptions) as caught:
        await landed(spawner, **{field.name: given})
    assert refusal(caught) == sentence
    assert spawner.get_state().get(STATE_KEY) is None


async def test_each_value_that_a_trait_refuses_gets_a_message() -> None:
    with pytest.raises(RefusedOptions) as caught:
        await landed(made(Text("count"), Text("factor")), count="a", factor="b")
    assert "count:" in refusal(caught) and "factor:" in refusal(caught)


async def test_an_option_left_empty_leaves_the_trait_as_configured() -> None:
    spawner = await landed(made(Text("text"), Integer("count")), text="mine", count=3)
    await landed(spawner, text=None)
    assert (spawner.text, spawner.count) == ("as configured", 7)


async def test_a_field_without_a_trait_becomes_a_trait_of_the_child() -> None:
    fields = [
        Text("req_a"),
        Integer("req_b"),
        Number("req_c"),
        Checkbox("req_d"),
        Checkbox("req_e", on="--x"),
    ]
    spawner = await landed(made(*fields), req_a="a", req_b=2, req_c=0.5, req_d=True)
    assert [getattr(spawner, name) for name in spawner.trait_names() if name.startswith("req_")] == [
        *("a", 2, 0.5, True, "")
    ]
    assert type(made(*fields)) is type(made(*fields)), "not a class for each server"
    assert not made(child=Child).has_trait("req_a")


def test_a_trait_made_for_a_field_may_be_configured() -> None:
    config = Config(Child={"req_a": "site"})
    config.OptionsFormSpawner.update(child_class=Child, child_config={"req_b": 5})
    config.OptionsFormSpawner.form_fields = [Text("req_a"), Integer("req_b")]
    spawner = OptionsFormSpawner(config=config)
    assert (spawner.req_a, spawner.req_b) == ("site", 5)


@pytest.mark.parametrize("field", [Text("environment"), Text("pairs"), Text("word", trait="pairs")])
def test_an_option_can_not_replace_a_dictionary_of_the_child(field: Field) -> None:
    with pytest.raises(TraitError, match="is a dictionary"):
        made(field)


@pytest.mark.parametrize("name", ["start", "server", "started_with", "child_spawner"])
def test_an_option_can_not_take_the_name_of_a_method_or_an_attribute(name: str) -> None:
    with pytest.raises(TraitError, match=f"'{name}' that isn't a trait"):
        made(Text(name))


# -- state


async def test_the_state_is_the_childs_state_and_the_options() -> None:
    spawner = await landed(
        made(Text("text"), Integer("count"), Text("req_a")), text="mine", count=3, req_a="x"
    )
    await spawner.start()
    state = spawner.get_state()
    assert state["with"] == "mine 3"
    again = made(Text("text"), Integer("count"), Text("req_a"))
    again.load_state(state)
    assert (again.text, again.count, again.req_a, again.started_with) == ("mine", 3, "x", "mine 3")
    assert again.get_state() == state
    again.clear_state()
    assert again.get_state() == {"with": ""}
    assert (await landed(again)).text == "as configured", "a restart doesn't make it the configuration"


async def test_the_state_that_a_child_saves_during_its_start_has_the_options() -> None:
    spawner = await landed(made(Text("partition"), child=SlurmSpawner), partition="sknl")
    database = spawner.user.db = orm.new_session_factory("sqlite:///:memory:")()
    spawner.orm_spawner = orm.Spawner(name="", state={}, user=orm.User(name="alice"))
    database.add(spawner.orm_spawner)
    database.commit()
    spawner.user.settings["cookie_secret"] = b"any"
    await spawner.save()
    database.expire_all()
    assert spawner.orm_spawner.state == {STATE_KEY: {"partition": "sknl"}}
    database.close()


async def test_a_state_that_no_longer_fits_still_finds_the_server(caplog: pytest.LogCaptureFixture) -> None:
    spawner = made(Text("count"))
    spawner.load_state({"with": "running", STATE_KEY: {"count": "many", "gone": 1}})
    assert spawner.started_with == "running"
    assert "was started with other options" in caplog.text
    spawner.load_state({"with": "from before there was a form"})
    assert spawner.started_with == "from before there was a form"


def test_a_number_without_a_short_text_is_still_read() -> None:
    assert fitting(traitlets.Integer(), 2**31 - 1, Integer("n")) == 2**31 - 1
    assert fitting(traitlets.Integer(), "+4", Text("n")) == 4
