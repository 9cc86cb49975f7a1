"""site.toml, the operator's one file: `load` reads a file, `parse` its text.

Both return a `Site`, or raise SiteError with every mistake by its key. `schema` says what each key means.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flatirons.environments.catalogue import Environment as ImageEnvironment
from flatirons.errors import ImageError, Refusal, SiteError
from flatirons.forms import Form
from flatirons.site.path import advice_if_unreadable
from flatirons.site.problems import problems
from flatirons.site.remaining import has_what_others_refer_to, remaining_site
from flatirons.site.schema import EnvironmentSection, Site
from flatirons.slurm_form.form import slurm_form

Mistake = tuple[str, str]
"""A dotted key ("" for the whole file) and what is wrong with it."""


def load(path: str | Path) -> Site:
    """The site that a file describes; raises SiteError with every mistake in it."""
    return parse(read(path), str(path))


def parse(text: str, source: str = "site.toml") -> Site:
    """The site that a TOML text describes; raises SiteError with every mistake in it."""
    site, mistakes = inspect(text, source)
    if mistakes or site is None:
        raise SiteError(mistakes, source)
    return site


def read(path: str | Path) -> str:
    """The text of a site file; raises SiteError when it can't be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SiteError([("", "is not UTF-8 text")], str(path)) from error
    except OSError as error:
        sentence = f"can't be read: {error.strerror}{advice_if_unreadable(path)}"
        raise SiteError([("", sentence)], str(path)) from error


def inspect(text: str, source: str = "site.toml") -> tuple[Site | None, list[Mistake]]:
    """The site that a TOML text describes, as far as it can be understood, and every mistake in it.

    With mistakes the site is only good for further checks: it lacks what is wrong. It is None where nothing
    can be said of the rest. Raises SiteError for a text that isn't TOML.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SiteError([("", f"is not TOML: {error}")], source) from error
    try:
        site = Site.model_validate(given)
    except ValidationError as error:
        mistakes = problems(error, Site, given)
        rest = remaining_site(given, error)
        if rest is not None and has_what_others_refer_to(rest, given):
            mistakes += besides(mistakes, _contradictions(rest))
        return rest, mistakes
    return site, _contradictions(site)


def besides(mistakes: Sequence[Mistake], others: Iterable[Mistake]) -> list[Mistake]:
    """The `others`, without those about a key, or a part of a key, that already has a mistake."""
    named = [key for key, _ in mistakes]
    return [
        (key, text)
        for key, text in others
        if not any(key == known or key.startswith((f"{known}.", f"{known}[")) for known in named)
    ]


def _contradictions(site: Site) -> list[Mistake]:
    """The mistakes in how sections fit together, where each section is correct by itself."""
    mistakes = [*_bad_environments(site), *_bad_names_in_form(site), *_bad_schemes(site)]
    try:
        mistakes += _bad_presets(site, options_form(site))
    except SiteError as error:
        mistakes += error.problems
    return list(dict.fromkeys(mistakes))


def options_form(site: Site) -> Form:
    """The form that the site's users see; raises SiteError for settings that no form can have."""
    clusters = {name: cluster.model_dump() for name, cluster in site.clusters.items()}
    environments = {name: environment.model_dump() for name, environment in site.environments.items()}
    return slurm_form(site.form.settings(), clusters, environments, site.form.site_fields())


def _bad_presets(site: Site, form: Form) -> list[tuple[str, str]]:
    """Options of presets that the form doesn't have, or can't read."""
    mistakes = []
    for name, preset in site.presets.items():
        for option, value in preset.options.items():
            key = f"presets.{name}.options.{option}"
            if option not in form.fields:
                mistakes.append((key, f"is no option of the form; there are {', '.join(form.fields)}"))
                continue
            try:
                form.fields[option].read(value)
            except Refusal as refusal:
                mistakes.append((key, str(refusal)))
    return mistakes


def _bad_environments(site: Site) -> list[tuple[str, str]]:
    """Environments that can't be run as they are described."""
    mistakes = [
        (f"environments.{name}.clusters", f"{cluster!r} is none of {', '.join(site.clusters)}")
        for name, environment in site.environments.items()
        for cluster in environment.clusters
        if cluster not in site.clusters
    ]
    for name, settings in site.environment_settings().items():
        if not settings["image"]:
            mistakes += _container_keys_without_image(name, site.environments[name])
        try:
            ImageEnvironment.from_dict(name, settings)
        except ImageError as error:
            mistakes.append((f"environments.{name}", error.user.partition(": ")[2]))
    return mistakes


def _bad_schemes(site: Site) -> list[tuple[str, str]]:
    """Internal addresses whose scheme doesn't fit internal_tls."""
    scheme = "https" if site.hub.internal_tls else "http"
    why = f"must begin with {scheme}:// when internal_tls is {str(site.hub.internal_tls).lower()}"
    urls = {"hub.address": site.hub.address, "hub.listen": site.hub.listen, "proxy.api": site.proxy.api}
    return [(key, why) for key, url in urls.items() if url and not url.startswith(f"{scheme}://")]


def _container_keys_without_image(name: str, environment: EnvironmentSection) -> list[tuple[str, str]]:
    keys = [key for key in ("binds", "options", "nv") if getattr(environment, key)]
    return [(f"environments.{name}.{key}", "is of no use without an image") for key in keys]


def _bad_names_in_form(site: Site) -> list[tuple[str, str]]:
    """Fields of the form that name clusters or environments that don't exist."""
    known: Mapping[str, Mapping[str, Any]] = {"cluster": site.clusters, "environment": site.environments}
    mistakes = []
    for name, names in known.items():
        for value in site.form.named(name):
            if value not in names:
                mistakes.append((f"form.{name}", f"{value!r} is none of {', '.join(names)}"))
    return mistakes
