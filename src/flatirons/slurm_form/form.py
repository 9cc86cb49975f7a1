"""The standard Slurm form, from plain data: the site's settings of each field, its clusters and environments.

    slurm_form({"runtime": {"default": "2:00:00", "maximum": "1-00:00:00"}}, clusters, environments)

The fields are declared in `slurm_form.fields`. A field's settings here are `label`, `help`, `default`,
`choices` (values, or (value, label) pairs), `minimum`, `maximum`, `visible`, `required`, `locked`. A site can
only narrow what Slurm offers: its choices and bounds apply in addition to Slurm's. A field that it doesn't
name is as declared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from flatirons.errors import SiteError
from flatirons.forms import Choice, Field, Form, Group
from flatirons.slurm.model import DEFAULT_CLUSTER
from flatirons.slurm.spelling import Spelling
from flatirons.slurm_form import rules
from flatirons.slurm_form.fields import FIELDS, NAMES, Offer, SlurmField
from flatirons.slurm_form.narrowing import mistakes, narrowed, with_settings
from flatirons.slurm_form.site_fields import fields_of_site

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
    settings: Settings, clusters: Settings, environments: Settings, site_fields: Settings | None = None
) -> Form:
    """The form; clusters and environments are offered by name, with their `title` and `description`.

    Without clusters there is the one that Slurm's commands find by themselves. `site_fields` are the settings
    of the site's own fields, see `slurm_form.site_fields`. Raises SiteError, which names each setting that is
    wrong.
    """
    site_fields, clusters = site_fields or {}, clusters or {DEFAULT_CLUSTER: {}}
    standard = _standard_fields(settings, site_fields)
    names = {each.name for each in standard}
    problems = [(f"form.{name}", "there is no such field") for name in settings if name not in NAMES]
    offer, fields = _offer(settings, clusters, environments), []
    for each in standard:
        field, wrong = _with_settings(each, settings.get(each.name, {}), offer)
        alternatives = {name: text for name, text in field.excludes.items() if name in names}
        fields.append(replace(field, excludes=alternatives))
        problems += wrong
    reserved = {each.reserved for each in standard if each.reserved and _is_used(each, settings)}
    reserved |= frozenset().union(*(spelling.options for spelling in offer.spellings.values()))
    more, wrong = fields_of_site(site_fields, names, reserved)
    if problems or wrong:
        raise SiteError([*problems, *wrong], "the options form")
    return Form([*fields, *more], groups=GROUPS, terms=rules.TERMS)


def offered(things: Settings) -> list[Choice]:
    """Choices from clusters or environments by name."""
    return [
        Choice(name, str(thing.get("title") or ""), str(thing.get("description") or ""))
        for name, thing in things.items()
    ]


def _standard_fields(settings: Settings, site_fields: Settings) -> Sequence[SlurmField]:
    """The standard fields of this site. A field that is hidden by default, and that the site doesn't set up,
    leaves its name to a field of the site."""
    return [each for each in FIELDS if each.name not in site_fields or _is_used(each, settings)]


def _is_used(each: SlurmField, settings: Settings) -> bool:
    return each.is_shown or any(value is not None for value in settings.get(each.name, {}).values())


def _offer(settings: Settings, clusters: Settings, environments: Settings) -> Offer:
    def chosen(name: str, things: Settings) -> list[Choice]:
        return narrowed(offered(things), settings.get(name, {}).get("choices"))

    spellings = {name: Spelling.of(cluster) for name, cluster in clusters.items()}
    return Offer(
        chosen("cluster", clusters),
        chosen("environment", environments),
        environments,
        spellings,
        has_tasks=settings.get("ntasks", {}).get("visible") is not False,
    )


def _with_settings(
    each: SlurmField, given: Mapping[str, Any], offer: Offer
) -> tuple[Field, list[tuple[str, str]]]:
    """The field as the site wants it, and each mistake by its key."""
    field = each.adapted(each.field, offer)
    problems = [
        (f"form.{each.name}.{key}", "a field has no such setting") for key in sorted(set(given) - SETTINGS)
    ]
    known = {key: value for key, value in given.items() if key in SETTINGS and value is not None}
    known.setdefault("visible", each.is_shown)
    if found := mistakes(field, known):
        return field, [*problems, *((f"form.{each.name}.{key}", text) for key, text in found)]
    return with_settings(field, known), problems
