"""OptionsFormSpawner: a form on any spawner, by configuration only.

    from flatirons.forms import Integer, Select

    c.JupyterHub.spawner_class = "flatirons-options"
    c.OptionsFormSpawner.child_class = "batchspawner.SlurmSpawner"
    c.OptionsFormSpawner.child_config = {"req_runtime": "1:00:00"}
    c.OptionsFormSpawner.form_fields = [
        Select("req_partition", "Partition", choices=["shas", "sknl"], default="shas", required=True),
        Integer("req_nprocs", "Cores", minimum=1, maximum=24, default=1),
    ]

The spawner that JupyterHub gets *is* the child: an instance of a class made of this one and the child's. So
there is one state, one server, one set of flags, and nothing to hand over between two objects, which is where
wrappers of spawners went wrong (the server's name, its URL, its progress, its certificates, the state after a
restart). The child's own section of the configuration, `c.SlurmSpawner`, holds as well; `child_config` comes
before it.

Values land on the child's traits, typed as these are: an Integer trait given the text "4" gets 4, a Unicode
trait given a number gets its text. A field that the child has no trait for becomes a trait of it, which is
what batchspawner's templates look for. What was chosen is part of the state, so that a running server's
traits are the same after a restart of the hub.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from jupyterhub.spawner import LocalProcessSpawner, Spawner
from jupyterhub.traitlets import ByteSpecification, Callable, EntryPointType
from traitlets import Bool, Dict, Enum, Float, Instance, Int, List, TraitError, TraitType, Unicode, Union
from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue

from flatirons.errors import OptionsRefused, Refusal, quoted
from flatirons.forms import Checkbox, Duration, Field, Form, Integer, Memory, Number, Value
from flatirons.spawners.form.hooks import FormHooks, Options
from flatirons.spawners.jupyterhub.compat import log_name

STATE_KEY = "form_options"
"""Where the state holds what was chosen: beside the child's own keys."""

_WHOLE, _DECIMAL, _BOX = Integer("whole"), Number("decimal"), Checkbox("box")


class ChildHooks(FormHooks):
    """The hooks of every OptionsFormSpawner: its form is made of its `form_fields`."""

    def __init__(self) -> None:
        super().__init__(lambda spawner: spawner.declared_form())

    def restore(self, spawner: OptionsFormSpawner, options: Mapping[str, Value | None]) -> None:
        """Lands what a running server was started with. It was judged then, and the server runs."""
        form = self.form(spawner)
        try:
            self._set_traits(form, {name: options.get(name) for name in form.fields}, spawner)
        except OptionsRefused as refused:
            spawner.log.warning("%s was started otherwise: %s", log_name(spawner), refused.user)

    def _set_traits(self, form: Form, options: Options, spawner: Spawner) -> None:
        """Sets all traits, or those before the first that takes no such value; raises OptionsRefused."""
        kind = with_traits_for(type(spawner), form.fields.values())
        if kind is not type(spawner):  # the fields of a function are known no sooner
            spawner.__class__ = kind
        configured = self._configured.setdefault(spawner, {})
        values: dict[str, object] = {}
        refused: dict[str, str] = {}
        for name, field in form.fields.items():
            if (trait := trait_of(field)) is None:
                continue
            before, value = configured.setdefault(trait, getattr(spawner, trait)), options[name]
            try:
                values[name] = before if value is None else fitting(spawner.traits()[trait], value, field)
            except Refusal as refusal:
                refused[name] = str(refusal)
        if refused:
            raise OptionsRefused(refused)
        for name, found in values.items():
            self._set(spawner, form.fields[name], found)
        spawner._chosen = options

    def _set(self, spawner: Spawner, field: Field, value: object) -> None:
        try:
            setattr(spawner, str(trait_of(field)), value)
        except TraitError as error:
            spawner.log.error("option %s, trait %s: %s", field.name, trait_of(field), error)
            raise OptionsRefused({field.name: "This server can't be given this value."}) from None


_hooks = ChildHooks()


class OptionsFormSpawner(Spawner):
    """Shows a form, and starts the server with the child's class and what was chosen."""

    child_class = EntryPointType(
        LocalProcessSpawner,
        klass=Spawner,
        entry_point_group="jupyterhub.spawners",
        help="The spawner that starts servers: a class, its importable name, or a registered name.",
    ).tag(config=True)
    child_config = Dict(help="Values of the child's traits, by name; they come before its own section.").tag(
        config=True
    )
    form_fields = Union(
        [List(Instance(Field)), Callable()],
        help="The form's fields in order, or a function of the spawner that gives them (or a whole Form). "
        "A field's value lands on the child's trait of the same name, or on the one that it names.",
    ).tag(config=True)

    _is_complete = False  # whether the child's class is among the bases

    def __new__(cls, *args: Any, **given: Any) -> Self:
        """An instance of this class and the child's in one."""
        whole: Any = cls
        if not cls._is_complete:
            child = cls.child_class.validate(None, _setting(cls, given, "child_class", LocalProcessSpawner))
            fields = _setting(cls, given, "form_fields", [])
            whole = with_traits_for(joined(whole, child), () if callable(fields) else fields)
        made: Self = super().__new__(whole, *args, **given)
        return made

    def __init__(self, **given: Any) -> None:
        self._chosen: Options = {}
        # each spawner its own copy, as traitlets does with what it reads from a configuration
        wanted = copy.deepcopy(_setting(type(self), given, "child_config", {}))
        known = {name: value for name, value in wanted.items() if self.has_trait(name)}
        super().__init__(**{**known, **given})
        if unknown := sorted(set(wanted) - set(known)):
            self.log.warning("child_config: %s has no trait %s", self.child_class, ", ".join(unknown))
        _hooks.attach(self)

    def declared_form(self) -> Form:
        """The form that is shown now."""
        fields = self.form_fields(self) if callable(self.form_fields) else self.form_fields
        return fields if isinstance(fields, Form) else Form(fields)

    @property
    def child_spawner(self) -> Self:
        """Itself: hooks written for the `optionsspawner` package look here for the child."""
        return self

    def get_state(self) -> dict[str, Any]:
        """The child's state, and what was chosen."""
        state: dict[str, Any] = super().get_state()
        return {**state, STATE_KEY: self._chosen} if self._chosen else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes up a running server: commands of the child may depend on what was chosen for it."""
        if state.get(STATE_KEY):
            _hooks.restore(self, state[STATE_KEY])
        super().load_state(state)

    def clear_state(self) -> None:
        """Forgets the server and what was chosen for it."""
        super().clear_state()
        self._chosen = {}

    # JupyterHub wants these of every class of spawner; the child, next in line, has them.

    def start(self) -> Any:
        """What the child's `start` gives."""
        return super().start()

    def stop(self, now: bool = False) -> Any:
        """What the child's `stop` gives."""
        return super().stop(now)

    def poll(self) -> Any:
        """What the child's `poll` gives."""
        return super().poll()


def _setting(cls: type[Spawner], given: Mapping[str, Any], name: str, default: Any) -> Any:
    """A setting as the instance will have it; the class of an instance is needed before there is one."""
    if name in given:
        return given[name]
    config = given.get("config") or Config()
    sections = [config[section] for section in cls.section_names() if section in config]
    found = next((section[name] for section in reversed(sections) if name in section), default)
    return found.get_value(copy.copy(default)) if isinstance(found, LazyConfigValue) else found


@functools.cache
def joined(cls: type[Spawner], child: type[Spawner]) -> type[Spawner]:
    """The class of a spawner that is both: `cls` comes first, and its `super()` is the child."""
    if "child_class" in child.class_trait_names():
        raise TraitError(f"child_class: {child.__name__} drives another spawner itself")
    body = {"__module__": cls.__module__, "__doc__": child.__doc__, "_is_complete": True}
    return type(f"{cls.__name__}Of{child.__name__}", (cls, child), body)


def with_traits_for(cls: Any, fields: Iterable[Field]) -> type[Spawner]:
    """The class, or one derived from it that has a trait for each field; raises TraitError."""
    known, missing = set(cls.class_trait_names()), {}
    for field in fields:
        trait = trait_of(field)
        if trait is None or trait in known:
            continue
        if hasattr(cls, trait):
            raise TraitError(
                f"form_fields: {trait!r} is no trait of {cls.__name__}, but something else of it"
            )
        missing[trait] = kind_of(field)
    return _extended(cls, tuple(missing.items())) if missing else cls


@functools.cache
def _extended(cls: type[Spawner], missing: Sequence[tuple[str, type[TraitType[Any, Any]]]]) -> type[Spawner]:
    traits = {name: kind().tag(config=True) for name, kind in missing}
    return type(cls.__name__, (cls,), {"__module__": cls.__module__, "__doc__": cls.__doc__, **traits})


def trait_of(field: Field) -> str | None:
    """The trait that a field's value lands on."""
    return field.name if field.trait == "" else field.trait


def kind_of(field: Field) -> type[TraitType[Any, Any]]:
    """The kind of trait that holds this field's values."""
    match field:
        case Checkbox(on=""):
            return Bool
        case Integer() | Duration() | Memory():
            return Int
        case Number():
            return Float
    return Unicode


def fitting(trait: TraitType[Any, Any], value: Value, field: Field) -> Value:
    """The value as this trait is typed; raises Refusal. What the trait itself thinks of it isn't asked."""
    match trait:
        case Unicode():
            return field.write(value)
        case Bool():
            return _BOX.read(value if isinstance(value, bool) else str(value))
        case ByteSpecification():  # bytes, or a text with K, M, G, T; a Memory field has MiB
            return field.write(value) if isinstance(field, Memory) else value
        case Int():
            return _WHOLE.read(_plain(value))
        case Float():
            return _DECIMAL.read(_plain(value))
        case Enum():
            return _listed(trait.values or (), field.write(value))
    return value


def _plain(value: Value) -> str:
    """A number's text without a point where none is needed; yes is 1 and no is 0."""
    return value if isinstance(value, str) else str(int(value) if int(value) == value else value)


def _listed(values: Iterable[Value], text: str) -> Value:
    for value in values:
        if str(value) == text:
            return value
    raise Refusal(f"{quoted(text)} isn't possible for this server.")
