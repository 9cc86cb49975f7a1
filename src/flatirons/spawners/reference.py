"""The reference of SlurmSpawner, made from its traits: `python -m flatirons.spawners.reference [FILE]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traitlets import Bool, Dict, Enum, Float, Integer, List, TraitType, Unicode

from flatirons.slurm_form.fields import FIELDS
from flatirons.spawners.site_traits import SiteTraits
from flatirons.spawners.slurm import SlurmSpawner

HEAD = """\
# SlurmSpawner

<!-- Made by `python -m flatirons.spawners.reference docs/reference/spawner.md` from the traits' help. -->

Entry point `flatirons-slurm`, class `flatirons.spawners.slurm.SlurmSpawner`. With a [site file](site.md)
none of this is needed; [a plain jupyterhub_config.py](../how-to/plain-jupyterhub.md) sets these traits, as
`c.SlurmSpawner.NAME = ...`.
"""

SITE = """\
## What the site sets

The keys of an environment are those of [`[environments.NAME]`](site.md#environmentsname), and `apptainer`,
the program that runs the container. Only its own `binds` and `options` count. The keys of `parallel`
are those of [`[parallel]`](site.md#parallel).
"""

USER = """\
## What the user chooses

The standard form sets these, for the page and for REST bodies alike. What is configured here applies if
the user leaves an option empty; 0 and an empty text leave it to Slurm.
"""

INHERITED = """\
## JupyterHub's own

All traits of JupyterHub's `Spawner` are there. `environment`, `args`, `default_url`, `notebook_dir`, `cmd`
(where an environment has none of its own), `poll_interval`, `http_timeout` and the hooks work as usual.
`start_timeout` is the sum of `queue_timeout`, `node_timeout` and `stop_timeout` unless it is set. `ip`,
`port`, `mem_limit` and `cpu_limit` have no effect: the starter finds the address on the node, and the traits
above set the size of the job.
"""

KINDS_OF_TRAITS: tuple[tuple[type[TraitType], str], ...] = (
    (Bool, "`True` or `False`"),
    (Unicode, "text"),
    (Integer, "whole number"),
    (Float, "number"),
    (Dict, "dict"),
    (List, "list"),
)


def reference() -> str:
    """The page as Markdown."""
    traits = SlurmSpawner.class_traits(config=True)
    for_users = {each.trait: traits[each.trait] for each in FIELDS}
    for_sites = {name: traits[name] for name in vars(SiteTraits) if name in traits}
    return "\n".join([HEAD, SITE, *_entries(for_sites), "", USER, *_entries(for_users), "", INHERITED])


def _entries(traits: dict[str, Any]) -> Iterator[str]:
    for name, trait in traits.items():
        facts = ", ".join(filter(None, [_kind(trait), _default(trait)]))
        yield f"- **`{name}`** ({facts}): {' '.join(trait.help.split())}"


def _kind(trait: Any) -> str:
    if isinstance(trait, Enum):
        return " or ".join(f"`{json.dumps(value)}`" for value in trait.values or ())
    return next(name for kind, name in KINDS_OF_TRAITS if isinstance(trait, kind))


def _default(trait: Any) -> str:
    value = trait.default_value
    if isinstance(value, bool):
        return f"default `{value}`"
    return f"default `{json.dumps(value)}`" if isinstance(value, str | int | float) and value else ""


def main() -> None:
    """Prints the page, or writes it to the file that is named."""
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(reference(), encoding="utf-8")
    else:
        sys.stdout.write(reference())


if __name__ == "__main__":
    main()
