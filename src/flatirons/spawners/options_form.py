"""OptionsFormSpawner: a form on any spawner, by configuration only.

    from flatirons.forms import Integer, Select

    c.JupyterHub.spawner_class = "flatirons-options"
    c.OptionsFormSpawner.child_class = "batchspawner.SlurmSpawner"
    c.OptionsFormSpawner.child_config = {"req_runtime": "1:00:00"}
    c.OptionsFormSpawner.form_fields = [
        Select("req_partition", "Partition", choices=["shas", "sknl"], default="shas", required=True),
        Integer("req_nprocs", "Cores", minimum=1, maximum=24, default=1),
    ]

The spawner that JupyterHub gets *is* the child: an instance of a class that inherits from this one and from
the child's. So there is one state, one server and one set of flags. Wrappers with two objects had bugs
wherever one had to pass something on to the other (the server's name, its URL, its progress, its
certificates, the state after a restart). The child's own section of the configuration, `c.SlurmSpawner`,
counts as well; `child_config` overrides it.

Values become the child's traits, with the types of these: an Integer trait gets 4 for the text "4", a Unicode
trait gets a number's text. A field for which the child has no trait becomes a new trait, where batchspawner's
templates look for it. The chosen options are part of the state, so that a running server has the same traits
after a restart of the hub.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

from jupyterhub.spawner import LocalProcessSpawner, Spawner
from jupyterhub.traitlets import ByteSpecification, Callable, EntryPointType
from traitlets import Bool, Dict, Enum, Float, Int, List, TraitError, TraitType, Unicode, Union
from traitlets.config import Config
from traitlets.config.loader import LazyConfigValue

from flatirons.errors import OptionsRefused, Refusal, quoted
from flatirons.forms import Checkbox, Duration, Field, Form, Integer, Memory, Number, Value
from flatirons.spawners.form.hooks import FormHooks, Options
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.trait_types import Seconds, Written, plain

STATE_KEY = "form_options"
"""The key of the chosen options in the state, next to the child's own keys."""

IN_SECONDS = frozenset({"start_timeout", "http_timeout", "poll_interval"})
"""Traits of JupyterHub that are times in seconds."""

_WHOLE, _DECIMAL, _BOX = Integer("whole"), Number("decimal"), Checkbox("box")


class ChildHooks(FormHooks):
    """The hooks of every OptionsFormSpawner, with the form of its `form_fields`."""

    def __init__(self) -> None:
        super().__init__(lambda spawner: spawner.declared_form())

    def restore(self, spawner: OptionsFormSpawner, options: Mapping[str, Value | None]) -> None:
        """Sets the traits by the options of a running server. They were checked when it was started."""
        form = self.form(spawner)
        try:
            self._set_traits(form, {name: options.get(name) for name in form.fields}, spawner)
        except OptionsRefused as refused:
            spawner.log.warning(
                "%s was started with other options: %s", compat.log_name(spawner), refused.user
            )

    def _set_traits(self, form: Form, options: Options, spawner: Spawner) -> None:
        """Sets the traits in the order of the fields; raises OptionsRefused for a value that doesn't fit."""
        kind = with_traits_for(type(spawner), form.fields.values())
        if kind is not type(spawner):  # the fields of a function are known no sooner
            spawner.__class__ = kind
        configured = self._configured.setdefault(spawner, {})
        values: dict[str, object] = {}
        refused: dict[str, str] = {}
        for name, field in form.fields.items():
            if (trait := trait_of(field, kind)) is None:
                continue
            before = configured.setdefault(trait, getattr(spawner, trait))
            try:
                value = field.trait_value(options[name]) if isinstance(field, MakesTrait) else options[name]
                values[name] = before if value is None else fitting(spawner.traits()[trait], value, field)
            except Refusal as refusal:
                refused[name] = str(refusal)
        if refused:
            raise OptionsRefused(refused)
        for name, found in values.items():
            self._set(spawner, form.fields[name], found)
        spawner._chosen = options

    def _set(self, spawner: Spawner, field: Field, value: object) -> None:
        trait = trait_of(field, type(spawner))
        try:
            setattr(spawner, str(trait), value)
        except TraitError as error:
            spawner.log.error("option %s, trait %s: %s", field.name, trait, error)
            raise OptionsRefused({field.name: "This server can't be given this value."}) from None


_hooks = ChildHooks()


class OptionsFormSpawner(Spawner):
    """Shows a form, and starts the server with the child's class and the chosen options."""

    child_class = EntryPointType(
        LocalProcessSpawner,
        klass=Spawner,
        entry_point_group="jupyterhub.spawners",
        help="The spawner that starts servers: a class, its importable name, or a registered name.",
    ).tag(config=True)
    child_config = Dict(help="Values of the child's traits, by name; they override its own section.").tag(
        config=True
    )
    form_fields = Union(
        [List(), Callable()],
        help="The form's fields in order, or a function of the spawner that returns them (or a whole Form). "
        "The child's trait of the field's name gets the value, or the trait that the field names.",
    ).tag(config=True)

    _is_complete = False  # whether the child's class is among the bases

    def __new__(cls, *args: Any, **given: Any) -> Self:
        """An instance of a class that inherits from this one and from the child's."""
        whole: Any = cls
        if not cls._is_complete:
            whole = with_traits_for(joined(whole, _child(cls, given)), _fields(cls, given))
        made: Self = super().__new__(whole, *args, **given)
        return made

    def __init__(self, **given: Any) -> None:
        self._chosen: Options = {}
        # a copy for each spawner, as traitlets makes of values from a configuration
        wanted = copy.deepcopy(_setting(type(self), given, "child_config", {}))
        if hasattr(type(self), "adapted"):  # the child takes settings by other names, too
            wanted = type(self).adapted(wanted, given.get("config"), _fields(type(self), given))
        known = {name: value for name, value in wanted.items() if self.has_trait(name)}
        super().__init__(**{**known, **given})
        if unknown := sorted(set(wanted) - set(known)):
            self.log.warning("child_config: %s has no trait %s", self.child_class, ", ".join(unknown))
        _hooks.attach(self)

    @classmethod
    def at_hub_start(cls, app: Any) -> None:
        """Calls the child's `at_hub_start`, if it has one. Raises TraitError for a child that can't be."""
        given = {"config": app.config}
        fields = _fields(cls, given)
        this: Any = cls
        whole = with_traits_for(joined(this, _child(cls, given)), fields)
        if tell := getattr(super(OptionsFormSpawner, whole), "at_hub_start", None):
            tell(app, fields, _setting(cls, given, "child_config", {}))

    def declared_form(self) -> Form:
        """The form for this moment."""
        fields = self.form_fields(self) if callable(self.form_fields) else self.form_fields
        return fields if isinstance(fields, Form) else Form(declared(fields))

    @property
    def child_spawner(self) -> Self:
        """Itself: here hooks for the `optionsspawner` package look for the child."""
        return self

    def get_state(self) -> dict[str, Any]:
        """The child's state and the chosen options."""
        state: dict[str, Any] = super().get_state()
        return {**state, STATE_KEY: self._chosen} if self._chosen else state

    def load_state(self, state: dict[str, Any]) -> None:
        """Resumes a running server with its options, on which commands of the child may depend."""
        if state.get(STATE_KEY):
            _hooks.restore(self, state[STATE_KEY])
        super().load_state(state)

    def clear_state(self) -> None:
        """Forgets the server and its options."""
        super().clear_state()
        self._chosen = {}

    # JupyterHub requires these of every class of spawners; here the child implements them.

    def start(self) -> Any:
        """The result of the child's `start`."""
        return super().start()

    def stop(self, now: bool = False) -> Any:
        """The result of the child's `stop`."""
        return super().stop(now)

    def poll(self) -> Any:
        """The result of the child's `poll`."""
        return super().poll()


@runtime_checkable
class MakesTrait(Protocol):
    """A field that makes its own trait and says what a trait gets for its value."""

    def get_trait(self) -> TraitType[Any, Any]:
        """A new trait for a child that has none of this name."""

    def trait_value(self, value: Value | None) -> Any:
        """What the trait gets; None leaves it as configured. Raises Refusal."""


def declared(fields: Iterable[Any]) -> list[Field]:
    """Fields of `flatirons.forms`, and others by their `as_field`; raises TraitError for anything else."""
    found = [each.as_field() if hasattr(each, "as_field") else each for each in fields]
    if wrong := [each for each in found if not isinstance(each, Field)]:
        raise TraitError(f"form_fields: {wrong[0]!r} isn't a field")
    return found


def _fields(cls: Any, given: Mapping[str, Any]) -> list[Field]:
    """The configured fields; none where a function makes them for each spawner."""
    fields = _setting(cls, given, "form_fields", [])
    return [] if callable(fields) else declared(fields)


def _child(cls: Any, given: Mapping[str, Any]) -> Any:
    return cls.child_class.validate(None, _setting(cls, given, "child_class", LocalProcessSpawner))


def _setting(cls: type[Spawner], given: Mapping[str, Any], name: str, default: Any) -> Any:
    """The value that a trait of the instance will have: its class is made before the instance exists."""
    if name in given:
        return given[name]
    config = given.get("config") or Config()
    sections = [config[section] for section in cls.section_names() if section in config]
    found = next((section[name] for section in reversed(sections) if name in section), default)
    return found.get_value(copy.copy(default)) if isinstance(found, LazyConfigValue) else found


@functools.cache
def joined(cls: type[Spawner], child: type[Spawner]) -> type[Spawner]:
    """A class that inherits from `cls` first, whose `super()` is the child, and from the child."""
    if "child_class" in child.class_trait_names():
        raise TraitError(f"child_class: {child.__name__} has a child itself")
    body = {"__module__": cls.__module__, "__doc__": child.__doc__, "_is_complete": True}
    return type(f"{cls.__name__}Of{child.__name__}", (cls, child), body)


def with_traits_for(cls: Any, fields: Iterable[Field]) -> type[Spawner]:
    """The class, or one derived from it that has a trait for each field; raises TraitError."""
    known, missing = cls.class_traits(), dict[str, Any]()
    for field in fields:
        trait = trait_of(field, cls)
        if trait is None:
            continue
        if isinstance(known.get(trait), Dict):
            raise TraitError(
                f"form_fields: {field.name} can't be chosen: the child's trait {trait!r} is a dictionary. "
                "Give the field another name, or name its trait: trait=..."
            )
        if trait in known:
            continue
        if hasattr(cls, trait):
            raise TraitError(f"form_fields: {cls.__name__} has an attribute {trait!r} that isn't a trait")
        missing[trait] = field if isinstance(field, MakesTrait) else kind_of(field)
    return _extended(cls, tuple(missing.items())) if missing else cls


@functools.lru_cache(256)
def _extended(
    cls: type[Spawner], missing: Sequence[tuple[str, type[TraitType[Any, Any]] | MakesTrait]]
) -> type[Spawner]:
    made = {name: kind.get_trait() if isinstance(kind, MakesTrait) else kind() for name, kind in missing}
    traits = {name: trait.tag(config=True) for name, trait in made.items()}
    return type(cls.__name__, (cls,), {"__module__": cls.__module__, "__doc__": cls.__doc__, **traits})


def trait_of(field: Field, cls: Any) -> str | None:
    """The name of the trait of `cls` that gets a field's value, None for none."""
    return trait_named(field.name, cls) if field.trait == "" else field.trait


def trait_named(name: str, cls: Any) -> str:
    """The trait of `cls` that is meant by a name. A class may know other names, in `trait_named`."""
    translate = getattr(cls, "trait_named", None)
    return str(translate(name)) if translate else name


def kind_of(field: Field) -> type[TraitType[Any, Any]]:
    """The type of a trait for this field's values."""
    match field:
        case Checkbox(on=""):
            return Bool
        case Integer() | Duration() | Memory():
            return Int
        case Number():
            return Float
    return Unicode


def fitting(trait: TraitType[Any, Any], value: Value, field: Field) -> Value:
    """The value in the trait's type; raises Refusal. The trait's own validation isn't part of this."""
    match trait:
        case Written():
            return trait.fitting(value, field)
        case Int() | Float() if trait.name in IN_SECONDS:
            seconds = Seconds().fitting(value, field)
            return fitting(type(trait)(), seconds, _DECIMAL)
        case Unicode():
            return field.write(value)
        case Bool():
            return _BOX.read(value if isinstance(value, bool) else str(value))
        case ByteSpecification():  # bytes, or a text with K, M, G, T; a Memory field has MiB
            return field.write(value) if isinstance(field, Memory) else value
        case Int():
            return _WHOLE.read(plain(value))
        case Float():
            return _DECIMAL.read(plain(value))
        case Enum():
            return _listed(trait.values or (), field.write(value))
    return value


def _listed(values: Iterable[Value], text: str) -> Value:
    for value in values:
        if str(value) == text:
            return value
    raise Refusal(f"{quoted(text)} isn't possible for this server.")


compat.at_start(compat.tell_spawner_class)
