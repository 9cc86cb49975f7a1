"""What remains of a site file without its mistakes, so that the rest can be checked in the same go. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from pydantic import ValidationError

from flatirons.site.schema import Site

# What a site must have: something to put in its place if it is missing or wrong.
STAND_INS: Mapping[tuple[str, ...], Any] = {
    ("hub",): {"address": "http://hub.invalid:8081"},
    ("hub", "address"): "http://hub.invalid:8081",
    ("clusters",): {"cluster": {}},
    ("environments",): {"environment": {}},
}
MOST_ROUNDS = 5


def remaining_site(given: Mapping[str, Any], error: ValidationError) -> Site | None:
    """The site without the values that pydantic found wrong, with stand-ins for what it must have.

    None where no site remains. Taking a value out may show another mistake: that one goes in the next round.
    """
    rest = deepcopy(dict(given))
    for _ in range(MOST_ROUNDS):
        for item in error.errors():
            _take_out(rest, item["loc"])
        try:
            return Site.model_validate(rest)
        except ValidationError as again:
            error = again
    return None


def has_what_others_refer_to(site: Site, given: Mapping[str, Any]) -> bool:
    """Whether the site kept what its sections refer to. Else a contradiction in it may not be the file's."""
    return (
        _section(given, "hub").get("internal_tls", False) is site.hub.internal_tls
        and _section(given, "clusters").keys() == site.clusters.keys()
        and _section(given, "environments").keys() == site.environments.keys()
        and _section(_section(given, "form"), "own").keys() == site.form.own.keys()
    )


def _section(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = given.get(key)
    return value if isinstance(value, Mapping) else {}


def _take_out(rest: dict[str, Any], where: Sequence[int | str]) -> None:
    """Removes the innermost key of a table on the way to `where`, or puts its stand-in there.

    A field that the site adds is removed as a whole: with a default for a wrong value it would be another
    field.
    """
    where = where[:3] if where[:2] == ("form", "own") else where
    table, path = rest, list[str]()
    for part in where:
        if not isinstance(part, str) or not isinstance(table, dict) or part not in table:
            break
        path.append(part)
        parent, table = table, table[part]
    stand_in = STAND_INS.get(tuple(map(str, where)))
    if stand_in is not None:
        _put(rest, [str(part) for part in where], deepcopy(stand_in))
    elif path:
        del parent[path[-1]]


def _put(rest: dict[str, Any], path: list[str], value: Any) -> None:
    for part in path[:-1]:
        rest = rest.setdefault(part, {})
    rest[path[-1]] = value
