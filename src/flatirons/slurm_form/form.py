"""The standard Slurm form, from plain data: the site's settings of each field, its clusters and environments.

    slurm_form({"runtime": {"default": "2:00:00", "maximum": "1-00:00:00"}}, clusters, environments)

The fields are declared in `slurm_form.fields`. A field's settings here are `label`, `help`, `default`,
`choices` (values, or (value, label) pairs), `minimum`, `maximum`, `visible`, `required`, `locked`. A site can
only narrow what Slurm offers: its choices and bounds hold beside Slurm's. A field that it doesn't name is as
declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from flatirons.errors import SiteError
from flatirons.forms import Choice, Field, Form, Group
from flatirons.slurm_form import rules
from flatirons.slurm_form.fields import FIELDS, NAMES, Offer, SlurmField
from flatirons.slurm_form.narrowing import mistakes, narrowed, with_settings
from flatirons.slurm_form.site_fields import site_fields

Settings: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Settings by the name of what they are for."""

SETTINGS = frozenset(
    {"label", "help", "default", "choices", "minimum", "maximum", "visible", "required", "locked"}
)

GROUPS = (
    Group("environment"),
    Group("place", "Where"),
    Group("size", "How much"),
    Group("more", "More options", folded=True),
)


def slurm_form(
    settings: Settings, clusters: Settings, environments: Settings, own: Settings | None = None
) -> Form:
    """The form; clusters and environments are offered by name, with their `title` and `description`.

    `own` are the settings of the site's own fields, see `slurm_form.site_fields`. Raises SiteError, which
    names each setting that is wrong.
    """
    own = own or {}
    standard = _standard_fields(settings, own)
    problems = [(f"form.{name}", "is no field of the Slurm form") for name in settings if name not in NAMES]
    offer, fields = _offer(settings, clusters, environments), []
    for each in standard:
        field, wrong = _with_settings(each, settings.get(each.name, {}), offer)
        fields.append(field)
        problems += wrong
    reserved = {each.reserved for each in standard if _is_used(each, settings)}
    more, wrong = site_fields(own, taken={each.name for each in standard}, reserved=reserved - {""})
    if problems or wrong:
        raise SiteError([*problems, *wrong], "the options form")
    return Form([*fields, *more], groups=GROUPS, terms=rules.TERMS)


def offered(things: Settings) -> list[Choice]:
    """Choices from clusters or environments by name."""
    return [
        Choice(name, str(thing.get("title") or ""), str(thing.get("description") or ""))
        for name, thing in things.items()
    ]


def _standard_fields(settings: Settings, own: Settings) -> Sequence[SlurmField]:
    """The fields of this site: one of its own may have the name of a standard one that it doesn't use."""
    return [each for each in FIELDS if each.name not in own or _is_used(each, settings)]


def _is_used(each: SlurmField, settings: Settings) -> bool:
    return each.is_shown or any(value is not None for value in settings.get(each.name, {}).values())


def _offer(settings: Settings, clusters: Settings, environments: Settings) -> Offer:
    def chosen(name: str, things: Settings) -> list[Choice]:
        return narrowed(offered(things), settings.get(name, {}).get("choices"))

    return Offer(chosen("cluster", clusters), chosen("environment", environments), environments)


def _with_settings(
    each: SlurmField, given: Mapping[str, Any], offer: Offer
) -> tuple[Field, list[tuple[str, str]]]:
    """The field as the site wants it, and each mistake by its key."""
    field = each.adapted(each.field, offer)
    problems = [
        (f"form.{each.name}.{key}", "is no setting of a field") for key in sorted(set(given) - SETTINGS)
    ]
    known = {key: value for key, value in given.items() if key in SETTINGS and value is not None}
    known.setdefault("visible", each.is_shown)
    if found := mistakes(field, known):
        return field, [*problems, *((f"form.{each.name}.{key}", text) for key, text in found)]
    return with_settings(field, known), problems
