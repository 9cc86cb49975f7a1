"""The fields of the standard Slurm form. This is the only place where a field is declared.

To add an option of sbatch, add one `SlurmField` to `FIELDS`. From this one entry come

=====================================  ================================================================
the field of the form, its rules       `slurm_form.form.slurm_form`
what is asked of Slurm                 `slurm_form.job.request`
the section `[form.NAME]` of a site    `site.form_settings.FormSection`, and docs/reference/site.md
the spawner's trait                    `spawners.form.job_options`, and docs/reference/spawner.md
the option of `flatirons notebook`     `notebook.arguments`
=====================================  ================================================================

Where Flatirons itself calculates with an option (limits, estimates, reports), `job` names the attribute of
`slurm.model.JobSpec` that holds it. Any other option needs no more than its `sbatch` here. The field may be
of any kind in `flatirons.forms`; a `Checkbox` gives the option without a value, such as `--exclusive`:

    SlurmField(
        field=Checkbox("exclusive", "Whole nodes", flag="--exclusive", group="more"),
        about="whether the nodes run no other jobs",
        sbatch="--exclusive",
        is_shown=False,
    )

Then write both reference pages again, in the top folder of the repository:

    PYTHONPATH=src python -m flatirons.site.reference docs/reference/site.md
    PYTHONPATH=src python -m flatirons.spawners.reference docs/reference/spawner.md

(with the Python of the tests, `$(scripts/demo --tools)/bin/python`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flatirons.forms import Checkbox, Choice, Duration, Field, Integer, Memory, Radio, Select, Text, Value
from flatirons.slurm.spelling import NONE, Spelling
from flatirons.slurm_form import rules
from flatirons.slurm_form.gpus import Gpus, job_attributes

MOST_CARDS = 6
"""With more environments than these, a list takes the place of the cards."""

_FEATURE = r"[A-Za-z0-9_][A-Za-z0-9_.-]*(\*[0-9]{1,4})?"
_FEATURES = rf"{_FEATURE}([&|]{_FEATURE})*"
_IN_PARENTHESES = rf"({_FEATURE}|\({_FEATURES}\)(\*[0-9]{{1,4}})?)"
_IN_BRACKETS = rf"\[{_IN_PARENTHESES}([&|]{_IN_PARENTHESES})*\]"
CONSTRAINT = rf"({_IN_PARENTHESES}|{_IN_BRACKETS})([&|]({_IN_PARENTHESES}|{_IN_BRACKETS}))*"
"""Features of nodes, combined by & and |, in groups of one level, with counts. Source: --constraint in
sbatch(1)."""


@dataclass(frozen=True)
class Offer:
    """What a site has: its clusters and environments as choices, and the settings of each.

    `has_tasks`: users see the number of tasks, so the cores are said to be for each.
    """

    clusters: Sequence[Choice] = ()
    environments: Sequence[Choice] = ()
    environment_settings: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    spellings: Mapping[str, Spelling] = dataclasses.field(default_factory=dict)
    has_tasks: bool = True

    def options_for(self, resource: str) -> dict[str, tuple[str, ...]]:
        """The options for a resource (`cpus`, `memory`, `gpus`), by the clusters that don't take the usual
        ones."""
        named = {cluster: getattr(spelling, resource) for cluster, spelling in self.spellings.items()}
        return {
            cluster: (given,) if isinstance(given, str) else given
            for cluster, given in named.items()
            if given
        }


@dataclass(frozen=True, kw_only=True)
class SlurmField:
    """One option of the standard form, with everything that the rest of Flatirons needs to know of it.

    `field` is the field as every site has it, and `adapted` what a site's clusters and environments make of
    it. `about` is a phrase for the references and for `flatirons notebook --help`, without a full stop. `job`
    is the attribute of JobSpec that gets the value, or a function that gives several attributes. `sbatch` is
    the option of sbatch that gets the value where JobSpec has no such attribute; a ticked box gives it
    unchanged. A site's own field can't set the same option of sbatch (`field.flag`, or else `sbatch`).
    `is_shown` is False for a field that a site has to ask for (`visible = true`). `long` and `short` are the
    options of `flatirons notebook`; by default the field's own flag, or its name.
    """

    field: Field
    about: str
    examples: tuple[str, ...] = ()
    job: str | Callable[[Value], Mapping[str, Any]] = ""
    sbatch: str = ""
    is_shown: bool = True
    long: str = ""
    short: str = ""
    adapted: Callable[[Field, Offer], Field] = lambda field, offer: field

    def __post_init__(self) -> None:
        if isinstance(self.field, Checkbox) and self.field.on:
            raise ValueError(f'{self.name}: instead of `on`, write sbatch="{self.sbatch}={self.field.on}"')

    @property
    def name(self) -> str:
        """The option's name."""
        return self.field.name

    @property
    def sentence(self) -> str:
        """What it is, as a sentence without examples."""
        return f"{self.about[0].upper()}{self.about[1:]}."

    @property
    def trait(self) -> str:
        """The trait of SlurmSpawner that gets the value."""
        return self.field.trait or self.field.name

    @property
    def flags(self) -> tuple[str, ...]:
        """The options of `flatirons notebook`."""
        long = self.long or self.reserved or f"--{self.name}"
        return (long, self.short) if self.short else (long,)

    @property
    def reserved(self) -> str:
        """The option of sbatch that this field sets, "" for none."""
        return (str(self.field.flag) or self.sbatch).partition("=")[0]


def _environment(field: Field, offer: Offer) -> Field:
    known, settings = offer.environments, offer.environment_settings
    fitting = rules.environments(known, {each.value: settings.get(each.value, {}) for each in known})
    field = replace(field, choices=fitting, default=known[0].value if known else None, visible=len(known) > 1)
    if len(known) <= MOST_CARDS:
        return field
    given = {each.name: getattr(field, each.name) for each in dataclasses.fields(field) if each.init}
    return Select(**given)


def _cluster(field: Field, offer: Offer) -> Field:
    known = offer.clusters
    default = known[0].value if known else None
    return replace(field, choices=rules.clusters(known), default=default, visible=len(known) > 1)


def _cpus(field: Field, offer: Offer) -> Field:
    label = f"{field.label} for each task" if offer.has_tasks else field.label
    return replace(field, label=label, flag=rules.spelled(str(field.flag), offer.options_for("cpus")))


def _memory(field: Field, offer: Offer) -> Field:
    named = offer.options_for("memory")
    flag = rules.spelled(str(field.flag), named) if field.name == "memory" else field.flag
    without = frozenset(cluster for cluster, (option, *_) in named.items() if option == NONE)
    return replace(field, flag=flag, applies=rules.takes_memory(without))


def _gpus(field: Field, offer: Offer) -> Field:
    settings = offer.environment_settings
    needing = frozenset(name for name, environment in settings.items() if environment.get("needs_gpu"))
    flag = rules.spelled(str(field.flag), offer.options_for("gpus"))
    return replace(field, choices=rules.gpus(needing), flag=flag)


FIELDS: tuple[SlurmField, ...] = (
    SlurmField(
        field=Radio(
            "environment",
            "Environment",
            group="environment",
            trait="environment_name",
            required=True,
            if_none="None of the environments fits this partition.",
        ),
        about="environment, by its name in the site file (default: the first)",
        adapted=_environment,
    ),
    SlurmField(
        field=Select(
            "cluster",
            "Cluster",
            group="place",
            required=True,
            if_none="You have no account on any cluster here. Please ask the operator.",
        ),
        about="Slurm cluster, by its name in the site file (default: the first)",
        adapted=_cluster,
    ),
    SlurmField(
        field=Text(
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
        about="Slurm partition",
        job="partition",
        short="-p",
    ),
    SlurmField(
        field=Text(
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
        about="Slurm account that is charged",
        job="account",
        short="-A",
    ),
    SlurmField(
        field=Text(
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
        about="Slurm QOS",
        job="qos",
        short="-q",
    ),
    SlurmField(
        field=Integer(
            "cpus",
            "Cores",
            flag="--cpus-per-task",
            group="size",
            minimum=rules.min_cpus,
            maximum=rules.max_cpus,
            default=rules.demanded_cpus,
            required=rules.demands_cpus,
            nothing="1",
        ),
        about="cores for each task",
        job="cpus",
        adapted=_cpus,
        short="-c",
    ),
    SlurmField(
        field=Memory(
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
            excludes={"mem_per_cpu": "Give the memory on each node or for each core, not both."},
        ),
        about="memory on each node",
        examples=("4G", "500M"),
        job="memory_mib",
        adapted=_memory,
    ),
    SlurmField(
        field=Memory(
            "mem_per_cpu",
            "Memory for each core",
            flag="--mem-per-cpu",
            group="size",
            minimum=1,
            maximum=rules.max_mem_per_cpu,
            help="Such as 2G, in place of the memory on each node.",
        ),
        about="memory for each core, in place of the memory on each node",
        examples=("2G",),
        job="mem_per_cpu_mib",
        adapted=_memory,
        is_shown=False,
    ),
    SlurmField(
        field=Gpus(
            "gpus",
            "GPUs",
            flag="--gres=gpu",
            group="size",
            default=rules.default_gpus,
            required=rules.knows_bounds,
            visible=rules.has_gpus,
            minimum=0,
            nothing="None",
            help="On each node.",
        ),
        about="GPUs on each node, a number with or without a type",
        examples=("1", "v100:2"),
        job=job_attributes,
        long="--gpus-per-node",
        adapted=_gpus,
    ),
    SlurmField(
        field=Duration(
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
        about="how long the server may run",
        examples=("2:00:00", "90m", "1-12:00:00"),
        job="runtime_minutes",
        short="-t",
    ),
    SlurmField(
        field=Text(
            "reservation",
            "Reservation",
            flag="--reservation",
            group="more",
            choices=rules.reservations,
            required=rules.needs_reservation,
            visible=rules.has_reservations,
            nothing="None",
        ),
        about="Slurm reservation",
        job="reservation",
    ),
    SlurmField(
        field=Text(
            "constraint",
            "Node features",
            flag="--constraint",
            group="more",
            pattern=CONSTRAINT,
            says="Write features of nodes, joined by & (all of them) or | (any of them): haswell&ib.",
            nothing="Any node",
            help="Features that the nodes must have.",
        ),
        about="features that the nodes must have",
        examples=("haswell", "haswell&ib"),
        job="constraint",
        short="-C",
        is_shown=False,
    ),
    SlurmField(
        field=Integer(
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
        about="number of nodes",
        job="nodes",
        short="-N",
    ),
    SlurmField(
        field=Integer(
            "ntasks",
            "Tasks",
            flag="--ntasks",
            group="more",
            minimum=rules.min_ntasks,
            maximum=rules.max_ntasks,
            nothing="1 per node",
        ),
        about="number of tasks",
        job="ntasks",
        short="-n",
    ),
)

NAMES: tuple[str, ...] = tuple(each.name for each in FIELDS)
