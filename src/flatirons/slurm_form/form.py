"""The standard Slurm form, from plain data: what a site says of each field, its clusters and environments.

    slurm_form({"runtime": {"default": "2:00:00", "maximum": "1-00:00:00"}}, clusters, environments)

A field's settings: `label`, `help`, `default`, `choices` (values, or (value, label) pairs), `minimum`,
`maximum`, `visible`, `required`, `locked`. A field that isn't named is there with what `slurm_rules` says. A
site can only narrow what Slurm offers: its choices and bounds hold beside Slurm's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from flatirons.errors import Refusal, SiteError, quoted
from flatirons.forms import Choice, Duration, Field, Form, Group, Integer, Memory, Radio, Select, Text
from flatirons.forms.fields import as_text
from flatirons.forms.values import Value
from flatirons.slurm.model import JobSpec
from flatirons.slurm_form import rules as rules
from flatirons.slurm_form.narrowing import mistakes, narrowed, with_settings
from flatirons.slurm_form.site_fields import own_fields

SETTINGS = frozenset(
    {"label", "help", "default", "choices", "minimum", "maximum", "visible", "required", "locked"}
)
REQUESTED = (
    *("partition", "account", "qos", "reservation", "nodes", "ntasks", "cpus", "memory", "gpus", "runtime"),
)
"""The options that `request` looks at."""

MOST_CARDS = 6

GROUPS = (
    Group("environment"),
    Group("place", "Where"),
    Group("size", "How much"),
    Group("more", "More options", folded=True),
)


@dataclass(frozen=True, eq=False)
class Gpus(Text):
    """GPUs on each node: `0`, `2`, or of one type, `v100:2`. The value is such a text; bounds are counts."""

    _: KW_ONLY
    longest: int = 64
    short: ClassVar[bool] = True

    def read(self, given: object) -> Value:
        if isinstance(given, int) and not isinstance(given, bool):
            given = str(given)
        text = as_text(given, self.longest)
        match = re.fullmatch(r"(?:([A-Za-z0-9_][A-Za-z0-9_.-]*):)?([0-9]{1,4})", text)
        if match is None:
            raise Refusal(f"{quoted(text)} isn't a number of GPUs. Write 0, 1, or with a type, v100:2.")
        kind, count = match[1], int(match[2])
        return f"{kind}:{count}" if kind and count else str(count)

    def measure(self, value: Value) -> Value:
        return int(str(value).rpartition(":")[2])

    def chosen(self, given: object, choices: Sequence[Choice]) -> Value | None:
        """The choice that is meant; a bare count means the one type that there is."""
        value = super().chosen(given, choices)
        if value is not None or not re.fullmatch("[0-9]{1,4}", str(given)):
            return value
        meant = [each.value for each in choices if each.value.rpartition(":")[2] == str(int(str(given)))]
        return meant[0] if len(meant) == 1 else None


def slurm_form(
    settings: Mapping[str, Mapping[str, Any]],
    clusters: Mapping[str, Mapping[str, Any]],
    environments: Mapping[str, Mapping[str, Any]],
    own: Mapping[str, Mapping[str, Any]] | None = None,
) -> Form:
    """The form; clusters and environments are offered by name, with their `title` and `description`.

    `own` are the site's own fields, see `own_fields`. Raises SiteError, which names each setting that can't
    be.
    """
    standard = {field.name: field for field in _standard(settings, clusters, environments)}
    problems = [
        (f"form.{name}", "is no field of the Slurm form") for name in settings if name not in standard
    ]
    fields = []
    for name, field in standard.items():
        given = settings.get(name, {})
        unknown = sorted(set(given) - SETTINGS)
        problems += [(f"form.{name}.{key}", "is no setting of a field") for key in unknown]
        known = {key: value for key, value in given.items() if key in SETTINGS and value is not None}
        found = mistakes(field, known)
        problems += [(f"form.{name}.{key}", text) for key, text in found]
        fields.append(field if found else with_settings(field, known))
    more, wrong = own_fields(own or {}, taken=set(standard))
    if problems or wrong:
        raise SiteError([*problems, *wrong], "the options form")
    return Form([*fields, *more], groups=GROUPS, terms=rules.TERMS)


def request(options: Mapping[str, Any]) -> JobSpec:
    """What typed options ask of Slurm; None, zero and "" leave it to Slurm."""
    gpu_type, _, gpus = str(options.get("gpus") or "").rpartition(":")
    return JobSpec(
        name="jupyter",
        partition=options.get("partition") or "",
        account=options.get("account") or "",
        qos=options.get("qos") or "",
        reservation=options.get("reservation") or "",
        nodes=options.get("nodes") or 0,
        ntasks=options.get("ntasks") or 0,
        cpus=options.get("cpus") or 0,
        memory_mib=options.get("memory") or 0,
        gpus=int(gpus or 0),
        gpu_type=gpu_type,
        runtime_minutes=options.get("runtime") or 0,
    )


def offered(things: Mapping[str, Mapping[str, Any]]) -> list[Choice]:
    """Choices from clusters or environments by name."""
    return [
        Choice(name, str(thing.get("title") or ""), str(thing.get("description") or ""))
        for name, thing in things.items()
    ]


def _standard(
    settings: Mapping[str, Mapping[str, Any]],
    clusters: Mapping[str, Mapping[str, Any]],
    environments: Mapping[str, Mapping[str, Any]],
) -> list[Field]:
    here = narrowed(offered(clusters), settings.get("cluster", {}).get("choices"))
    there = narrowed(offered(environments), settings.get("environment", {}).get("choices"))
    needing = frozenset(name for name, said in environments.items() if said.get("needs_gpu"))
    return [_environment(there, environments), *_place(here), *_size(needing), *_more()]


def _environment(known: Sequence[Choice], environments: Mapping[str, Mapping[str, Any]]) -> Field:
    kind = Radio if len(known) <= MOST_CARDS else Select
    fitting = rules.environments(known, {each.value: environments.get(each.value, {}) for each in known})
    return kind(
        "environment",
        "Environment",
        group="environment",
        trait="environment_name",
        choices=fitting,
        default=known[0].value if known else None,
        visible=len(known) > 1,
        required=True,
        if_none="None of the environments fits this partition.",
    )


def _place(known: Sequence[Choice]) -> list[Field]:
    return [
        Select(
            "cluster",
            "Cluster",
            group="place",
            choices=rules.clusters(known),
            default=known[0].value if known else None,
            visible=len(known) > 1,
            required=True,
            if_none="You have no account on any cluster here. Please ask the operator.",
        ),
        Text(
            "partition",
            "Partition",
            flag="--partition",
            group="place",
            choices=rules.partitions,
            default=rules.default_partition,
            required=rules.is_known,
            nothing="The cluster's default",
            if_none="No partition admits you at the moment. Please ask the operator.",
        ),
        Text(
            "account",
            "Account",
            flag="--account",
            group="place",
            choices=rules.accounts,
            default=rules.default_account,
            required=rules.knows_accounts,
            nothing="Your default account",
            if_none="None of your accounts may be charged here.",
        ),
        Text(
            "qos",
            "QOS",
            flag="--qos",
            group="place",
            choices=rules.qos,
            default=rules.default_qos,
            required=rules.needs_qos,
            nothing="Your default QOS",
            if_none="Your account has no QOS that this partition admits.",
        ),
    ]


def _size(needing: frozenset[str]) -> list[Field]:
    return [
        Integer(
            "cpus",
            "Cores",
            flag="--cpus-per-task",
            group="size",
            minimum=rules.min_cpus,
            maximum=rules.max_cpus,
            default=rules.demanded_cpus,
            required=rules.demands_cpus,
            nothing="1",
            help="For each task.",
        ),
        Memory(
            "memory",
            "Memory",
            flag="--mem",
            group="size",
            minimum=rules.min_memory,
            maximum=rules.max_memory,
            default=rules.demanded_memory,
            required=rules.demands_memory,
            nothing=rules.nothing_for_memory,
            help="On each node, such as 4G or 500M.",
        ),
        Gpus(
            "gpus",
            "GPUs",
            flag="--gres=gpu",
            group="size",
            choices=rules.gpus(needing),
            default=rules.default_gpus,
            required=rules.knows_bounds,
            visible=rules.has_gpus,
            minimum=0,
            nothing="None",
            help="On each node.",
        ),
        Duration(
            "runtime",
            "Run time",
            flag="--time",
            group="size",
            minimum=1,
            maximum=rules.max_runtime,
            default=rules.demanded_runtime,
            required=rules.demands_runtime,
            nothing=rules.nothing_for_runtime,
            help="Such as 90m, 2:00:00 or 1d12h.",
        ),
    ]


def _more() -> list[Field]:
    return [
        Text(
            "reservation",
            "Reservation",
            flag="--reservation",
            group="more",
            choices=rules.reservations,
            required=rules.needs_reservation,
            visible=rules.has_reservations,
            nothing="None",
        ),
        Integer(
            "nodes",
            "Nodes",
            flag="--nodes",
            group="more",
            minimum=rules.min_nodes,
            maximum=rules.max_nodes,
            default=rules.demanded_nodes,
            required=rules.demands_nodes,
            nothing="1",
        ),
        Integer(
            "ntasks",
            "Tasks",
            flag="--ntasks",
            group="more",
            minimum=rules.min_ntasks,
            maximum=rules.max_ntasks,
            nothing="1 per node",
        ),
    ]
