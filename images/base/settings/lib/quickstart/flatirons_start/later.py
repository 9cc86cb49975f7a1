"""Lets a server begin without what it imports for others, or for later.

`jupyterhub.singleuser` shares modules with the hub, which import the hub's pages and its database; and
`jsonschema` makes the parsers of a format that no schema of a server has: together a second. While a server's
modules are imported, stand-ins take the place of these; then they are taken away. Whoever imports one of
these modules afterwards gets the real one, and a stand-in that is used gets it, too.

Only for the very packages that the bundle was made for, with which a server was started so at the build.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
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
}


class _StandIn(ModuleType):
    """A module that has little of its own, and is the real one for whoever wants more afterwards."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:  # a build fails by this, a server never
            raise AttributeError(f"{self.__name__} is imported later; {name} is wanted now")
        return getattr(import_module(self.__name__), name)


@contextmanager
def stand_ins() -> Iterator[None]:
    """Puts stand-ins in the place of the modules that aren't imported yet, until the end of the block."""
    placed = [name for name in STAND_INS if name not in sys.modules]
    for name in placed:
        sys.modules[name] = _StandIn(name)
        sys.modules[name].__dict__.update(STAND_INS[name])
    try:
        yield
    finally:
        for name in placed:
            del sys.modules[name]
