"""Starts a server without modules that it imports but doesn't use.

`jupyterhub.singleuser` shares modules with the hub, which import the hub's pages and its database;
`jsonschema` builds the parsers of a format that no schema of a server has. Together they take a second. While
a server's modules are imported, stand-ins replace these modules; then the stand-ins are removed. Later
imports get the real module, and so does code that uses a stand-in.

This is done only with the packages that the bundle was made for, because the build tested them with a server.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


class _NeverRaised(Exception):
    """Replaces SQLAlchemyError: a server doesn't use the hub's database."""


class _NeverMade:
    """Replaces a page of the hub: `jupyterhub.log` tests whether a handler is an instance of it."""


def _is_valid_syntax(*arguments: Any, **named: Any) -> Any:
    """Replaces the function with this name, and calls it."""
    return import_module("rfc3987_syntax").is_valid_syntax(*arguments, **named)


# Module -> what other modules take from it during their import; all else comes from the real module later.
STAND_INS: dict[str, dict[str, Any]] = {
    "rfc3987_syntax": {"is_valid_syntax": _is_valid_syntax},
    "sqlalchemy": {},
    "sqlalchemy.exc": {"SQLAlchemyError": _NeverRaised},
    "jupyterhub.orm": {},
    "jupyterhub.roles": {},
    "jupyterhub.handlers.pages": {"HealthCheckHandler": _NeverMade},
}


class _StandIn(ModuleType):
    """A module with a few names; after the imports, all other names come from the real module."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:  # makes a build fail, and can't happen in a server
            raise AttributeError(f"{self.__name__} is imported later; {name} is wanted now")
        return getattr(import_module(self.__name__), name)


@contextmanager
def stand_ins() -> Iterator[None]:
    """Replaces the modules that aren't imported yet by stand-ins, until the end of the block."""
    placed = [name for name in STAND_INS if name not in sys.modules]
    for name in placed:
        sys.modules[name] = _StandIn(name)
        sys.modules[name].__dict__.update(STAND_INS[name])
    try:
        yield
    finally:
        for name in placed:
            del sys.modules[name]
