"""The command line `flatirons images list|check`, and what it prints.

Exit codes: 0, nothing fails; 1, something does; 2, a mistake in what was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import textwrap

from flatirons.environments.catalogue import Environment
from flatirons.environments.check import Place, check, chosen
from flatirons.environments.findings import Finding, is_bad
from flatirons.environments.listing import Entry, entries
from flatirons.errors import SiteError
from flatirons.runner import AsSelf, Runner
from flatirons.site.load import load
from flatirons.site.schema import Site
from flatirons.slurm.argv import INHERITED

WIDTH = 100


def run(arguments: argparse.Namespace) -> int:
    """Does what the arguments say, and gives the exit code."""
    return _list(arguments) if arguments.verb == "list" else _check(arguments)


def _list(arguments: argparse.Namespace) -> int:
    """Prints what the site's environments are."""
    found = asyncio.run(entries(list(chosen(load(arguments.site), [])), AsSelf()))
    if arguments.json:
        print(json.dumps([entry.as_dict() for entry in found], indent=2))
    else:
        print("\n".join(_row(entry) for entry in found))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """Looks at the environments one after the other and prints what is found."""
    site = load(arguments.site)
    place = Place(
        arguments.cluster, arguments.partition, arguments.account, arguments.qos, arguments.gpus or ""
    )
    if place.cluster and place.cluster not in site.clusters:
        known = ", ".join(site.clusters)
        raise SiteError([("--cluster", f"{place.cluster!r} is none of {known}")], arguments.site)
    names = list(chosen(site, arguments.names))
    found = asyncio.run(_check_all(site, names, place, arguments))
    bad = [name for name, findings in found.items() if is_bad(findings)]
    if arguments.json:
        print(
            json.dumps(
                {name: [_plain(each) for each in findings] for name, findings in found.items()}, indent=2
            )
        )
    elif bad:
        print(f"Something fails in {len(bad)} of {len(found)}: {', '.join(bad)}")
    else:
        print(f"Nothing fails in {len(found)} environment(s).")
    return 1 if bad else 0


async def _check_all(
    site: Site, environments: list[Environment], place: Place, arguments: argparse.Namespace
) -> dict[str, list[Finding]]:
    runner: Runner = AsSelf(hidden=INHERITED)
    found = {}
    for environment in environments:
        findings = await check(site, environment, place, runner, float(arguments.timeout))
        found[environment.name] = findings
        if not arguments.json:
            print(
                "\n".join([environment.name, *(line for each in findings for line in _lines(each))]),
                flush=True,
            )
    return found


def _plain(finding: Finding) -> dict[str, str]:
    return {name: getattr(finding, name) for name in ("subject", "level", "sentence", "advice")}


def _lines(finding: Finding) -> list[str]:
    head = f"  {finding.level:8} {finding.subject:16} "
    return textwrap.wrap(
        finding.text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False
    )


def _row(entry: Entry) -> str:
    size = f"  {entry.bytes / 1e6:.0f} MB" if entry.bytes is not None else ""
    title = f"  ({entry.title})" if entry.title != entry.name else ""
    lines = [f"{entry.name}{title}", f"  {entry.kind:8} {entry.path}{size}"]
    if entry.versions:
        versions = ", ".join(f"{name} {text}" for name, text in sorted(entry.versions.items()))
        lines += textwrap.wrap(versions, WIDTH, initial_indent=" " * 11, subsequent_indent=" " * 11)
    if entry.created:
        lines.append(f"           built {entry.created}")
    return "\n".join(lines)
