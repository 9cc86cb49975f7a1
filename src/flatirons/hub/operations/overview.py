"""All that operators see of a hub, from what it knows already."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flatirons.hub.operations.charts import Chart, counts, seconds
from flatirons.hub.operations.rows import rows_of
from flatirons.servers.end_kinds import kind_in_words
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.shared.history import History
from flatirons.spawners.shared.metrics import RPCS
from flatirons.spawners.shared.registry import Registry

MINUTES = 180
"""Of the charts."""

NEWEST = 5
"""Servers named for each kind of failure."""


def clusters(registry: Registry[ServerRun]) -> list[dict[str, Any]]:
    """How each cluster answers, and what it was asked."""
    return [_cluster(registry, name) for name in registry.clients]


def _cluster(registry: Registry[ServerRun], name: str) -> dict[str, Any]:
    watcher, commands = registry.watchers.get(name), registry.metrics.commands(name)
    has_answer = watcher is not None and watcher.snapshot is not None
    error = watcher.last_error if watcher else None
    return {
        "name": name,
        "age_seconds": round(watcher.age, 1) if watcher and has_answer else None,
        "failures": watcher.failures if watcher else 0,
        "trouble": str(error.detail or error) if error else "",
        "commands": commands,
        "rpcs": sum(RPCS.get(command, 0) * count for command, count in commands.items()),
    }


def failures(history: History) -> list[dict[str, Any]]:
    """The failures of the last day by kind, the most frequent first, with the newest of each."""
    last_hour = history.failures_by_kind(60)
    return [
        {
            "kind": kind,
            "words": kind_in_words(kind),
            "last_hour": last_hour[kind],
            "last_day": count,
            "newest": [
                {"user": each.user, "server": each.server, "at": each.at}
                for each in history.newest_failures(kind, NEWEST)
            ],
        }
        for kind, count in history.failures_by_kind().most_common()
    ]


def charts(registry: Registry[ServerRun]) -> list[Chart]:
    """The last hours: submissions, failures, and the slowest query of each cluster in each minute."""
    history = registry.metrics.history
    return [
        counts("Submissions", history.submissions(MINUTES)),
        counts("Failures", history.failures(MINUTES), is_bad=True),
        *(
            seconds(f"Slurm's answers, {name}", history.slowest_queries(name, MINUTES))
            for name in registry.clients
        ),
    ]


def as_json(registry: Registry[ServerRun]) -> dict[str, Any]:
    """The hub's clusters, servers, failures, the orphans that it found, newest first, and the last hours.

    `since` is in seconds since 1970; the lists of `history` have a value for each minute, the last one now.
    """
    history = registry.metrics.history
    return {
        "since": registry.began_at,
        "clusters": clusters(registry),
        "servers": [row.as_dict() for row in rows_of(registry.runs)],
        "orphans": [asdict(orphan) for orphan in reversed(registry.orphans.found)],
        "left_alone": [asdict(job) for job in registry.orphans.left_alone],
        "failures": failures(history),
        "history": {
            "submissions": history.submissions(MINUTES),
            "failures": history.failures(MINUTES),
            "slowest_query_seconds": {
                name: history.slowest_queries(name, MINUTES) for name in registry.clients
            },
        },
    }
