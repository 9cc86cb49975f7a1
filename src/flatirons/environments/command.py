"""`flatirons images list|check`: runs the command and prints its output.

Exit codes: 0, every environment passes; 1, one fails; 2, the command line or the site file is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import textwrap
from dataclasses import asdict

from flatirons.environments.catalogue import Environment
from flatirons.environments.check import CheckTarget, check, chosen
from flatirons.environments.findings import Finding, has_failure
from flatirons.environments.listing import EnvironmentSummary, summarize
from flatirons.errors import SiteError
from flatirons.runner import AsSelf, Runner
from flatirons.site.load import load
from flatirons.site.schema import Site
from flatirons.slurm.argv import INHERITED

WIDTH = 100


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit code."""
    return _list(arguments) if arguments.verb == "list" else _check(arguments)


def _list(arguments: argparse.Namespace) -> int:
    """Prints the site's environments."""
    environments = list(chosen(load(arguments.site), []))
    summaries = asyncio.run(summarize(environments, AsSelf()))
    if arguments.json:
        print(json.dumps([summary.as_dict() for summary in summaries], indent=2))
    else:
        print("\n".join(_paragraph(summary) for summary in summaries))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """Checks the environments one after the other and prints the findings."""
    site = load(arguments.site)
    target = CheckTarget(
        arguments.cluster, arguments.partition, arguments.account, arguments.qos, arguments.gpus or ""
    )
    if target.cluster and target.cluster not in site.clusters:
        problem = f"there is no cluster {target.cluster!r}, only {', '.join(site.clusters)}"
        raise SiteError([("--cluster", problem)], arguments.site)
    environments = list(chosen(site, arguments.names))
    found = asyncio.run(_check_all(site, environments, target, arguments))
    failed = [name for name, findings in found.items() if has_failure(findings)]
    if arguments.json:
        print(json.dumps({name: [asdict(each) for each in found[name]] for name in found}, indent=2))
    elif failed:
        print(f"{len(failed)} of {_count(len(found))} failed: {', '.join(failed)}")
    elif len(found) == 1:
        print("The environment passed.")
    else:
        print(f"All {_count(len(found))} passed.")
    return 1 if failed else 0


def _count(environments: int) -> str:
    return f"{environments} environment{'s' * (environments != 1)}"


async def _check_all(
    site: Site, environments: list[Environment], target: CheckTarget, arguments: argparse.Namespace
) -> dict[str, list[Finding]]:
    runner: Runner = AsSelf(hidden=INHERITED)
    found = {}
    for environment in environments:
        findings = await check(site, environment, target, runner, float(arguments.timeout))
        found[environment.name] = findings
        if not arguments.json:
            lines = [line for each in findings for line in _lines(each)]
            print("\n".join([environment.name, *lines]), flush=True)
    return found


def _lines(finding: Finding) -> list[str]:
    head = f"  {finding.level:8} {finding.subject:16} "
    return textwrap.wrap(
        finding.text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head), break_long_words=False
    )


def _paragraph(summary: EnvironmentSummary) -> str:
    size = f"  {summary.bytes / 1e6:.0f} MB" if summary.bytes is not None else ""
    title = f"  ({summary.title})" if summary.title != summary.name else ""
    lines = [f"{summary.name}{title}", f"  {summary.kind:8} {summary.path}{size}"]
    if summary.versions:
        versions = ", ".join(f"{name} {text}" for name, text in sorted(summary.versions.items()))
        lines += textwrap.wrap(versions, WIDTH, initial_indent=" " * 11, subsequent_indent=" " * 11)
    if summary.created:
        lines.append(f"           built {summary.created}")
    return "\n".join(lines)
