"""Lets a server begin without what it imports for others, or for later.

`jupyterhub.singleuser` shares modules with the hub, which import the hub's pages and its database; and
`jsonschema` makes the parsers of a format that no schema of a server has: together a second. While a server's
modules are imported, stand-ins take the place of these; then they are taken away. Whoever imports one of
these modules afterwards gets the real one, and a stand-in that is used gets it, too.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _NeverRaised(Exception):
    """In the place of SQLAlchemyError: a server has no database of the hub's."""


class _NeverMade:
    """In the place of a page of the hub's, which `jupyterhub.log` asks a handler whether it is one."""


def _is_valid_syntax(*arguments: Any, **named: Any) -> Any:
    """In the place of the function of that name, which it calls."""
    return import_module("rfc3987_syntax").is_valid_syntax(*arguments, **named)


# Module -> what others take from it while they are imported; all else is the real module's, once it is asked.
STAND_INS: dict[str, dict[str, Any]] = {
    "rfc3987_syntax": {"is_valid_syntax": _is_valid_syntax},
    "sqlalchemy": {},
    "sqlalchemy.exc": {"SQLAlchemyError": _NeverRaised},
    "jupyterhub.orm": {},
    "jupyterhub.roles": {},
    "jupyterhub.handlers.pages": {"HealthCheckHandler": _NeverMade},
    "requests": {},
}


class _StandIn(ModuleType):
    """A module that has little of its own, and is the real one for whoever wants more."""

    def __init__(self, name: str, attributes: dict[str, Any]) -> None:
        super().__init__(name)
        self.__dict__.update(attributes)
        self.__path__: list[str] = []  # so that importing from it asks for nothing more; see _Inside

    def __getattr__(self, name: str) -> Any:
        _take_away(self.__name__.partition(".")[0])
        return getattr(import_module(self.__name__), name)


class _Inside:
    """Finds what is inside of a module that has a stand-in: in the real one, which takes its place."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        parent = name.rpartition(".")[0]
        if not isinstance(sys.modules.get(parent), _StandIn):
            return None
        _take_away(name.partition(".")[0])
        return find_spec(name)


def _take_away(package: str = "") -> None:
    """Ends the stand-ins in that package, or all of them: who imports such a module now gets the real one."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, _StandIn) and package in ("", name.partition(".")[0]):
            del sys.modules[name]


@contextmanager
def stand_ins() -> Iterator[None]:
    """Puts stand-ins in the place of the modules that aren't imported yet, until the end of the block."""
    for name, attributes in STAND_INS.items():
        if name not in sys.modules:
            sys.modules[name] = _StandIn(name, attributes)
    sys.meta_path.insert(0, _Inside)
    try:
        yield
    finally:
        sys.meta_path.remove(_Inside)
        _take_away()
