"""What engines may request of Slurm, and where each value comes from. Pure.

`EngineOptions` declares each option once: its parser, its default, its help, an example. The traits of the
launcher (ipp/option_traits.py), the keywords of `Cluster` and the profile `slurm` are made from it.

A value comes from the first of these that has it: the keyword or the profile; the site's `[parallel]`
section, which the hub passes on in `$FLATIRONS_PARALLEL`; the notebook's own job (partition, account, QOS);
Slurm's defaults.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from flatirons import units
from flatirons.errors import OptionsRefused, Refusal

SITE_DEFAULTS = "FLATIRONS_PARALLEL"
"""Variable with the site's defaults, a JSON object."""
DEFAULT_MPI = "pmix"  # of the kinds that `srun --mpi=list` shows, every current MPI library supports this one
_SITE_NAMES = {"runtime_minutes": "runtime", "cpus_per_engine": "cpus", "memory_mib": "memory"}


def parse_text(value: Any) -> str:
    """The value, which must be a text without control characters. Raises Refusal."""
    if not isinstance(value, str):
        raise Refusal(f"Give a text, not {value!r}.")
    if any(ord(char) < 32 or ord(char) == 127 for char in value):
        raise Refusal(f"Leave out the control character in {value!r}.")
    return value


def parse_count(value: Any) -> int:
    """The value, which must be a whole number, not negative. Raises Refusal."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise Refusal(f"Give a whole number from 0 up, not {value!r}.")
    return value


def parse_flag(value: Any) -> bool:
    """The value, which must be True or False. Raises Refusal."""
    if not isinstance(value, bool):
        raise Refusal(f"Give True or False, not {value!r}.")
    return value


def parse_minutes(value: Any) -> int:
    """Whole minutes from a number of minutes or from a text as `units.minutes` reads it. Raises Refusal."""
    return units.minutes(value) if isinstance(value, str) else parse_count(value)


def parse_mebibytes(value: Any) -> int:
    """MiB, rounded up, from a number of MiB or from a text as `units.mebibytes` reads it. Raises Refusal."""
    return units.mebibytes(value) if isinstance(value, str) else parse_count(value)


def parse_mpi(value: Any) -> str:
    """A value of srun's --mpi; True means DEFAULT_MPI, False means no MPI. Raises Refusal."""
    return parse_text(value) if isinstance(value, str) else DEFAULT_MPI * parse_flag(value)


def _option(parse: Callable[[Any], Any], default: Any, example: str, help: str) -> Any:
    return field(default=default, metadata={"parse": parse, "example": example, "help": help})


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The request for a set of engines; "" and 0 leave the decision to the next source, in the end to Slurm.

    `runtime` is in minutes, `memory` in MiB for each engine, `cpus` for each engine.
    """

    partition: str = _option(parse_text, "", '"shas"', "Partition; default: the site's, else the notebook's.")
    account: str = _option(
        parse_text, "", '"ucb-general"', "Account to charge; default: the site's, else the notebook's."
    )
    qos: str = _option(
        parse_text,
        "",
        '"normal"',
        "QOS; default: the site's, else the notebook's if partition and account are the notebook's too.",
    )
    reservation: str = _option(parse_text, "", '""', "Reservation to run in.")
    runtime: int = _option(
        parse_minutes, 0, '"2:00:00"', "Time limit: a number of minutes, or a text such as 2:00:00 or 90m."
    )
    nodes: int = _option(parse_count, 0, "2", "Number of nodes over which to spread the engines evenly.")
    engines_per_node: int = _option(parse_count, 0, "4", "Maximum number of engines on one node.")
    cpus: int = _option(parse_count, 0, "1", "Cores for each engine; Slurm's default is one.")
    memory: int = _option(
        parse_mebibytes, 0, '"4G"', "Memory for each engine: a number of MiB, or a text such as 4G or 500M."
    )
    inside: bool = _option(
        parse_flag, False, "True", "Run in the notebook's own job, on the same cores, not in a separate job."
    )
    mpi: str = _option(
        parse_mpi, "", "True", "Run as one MPI program: True, or a kind that `srun --mpi=list` shows."
    )

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> EngineOptions:
        """The options in plain data. Raises OptionsRefused with a sentence for each value that is wrong.

        Unknown keys are ignored: the hub may be newer than the image that this runs in.
        """
        known = {_SITE_NAMES.get(key, key): value for key, value in given.items()}
        return cls.parse({name: value for name, value in known.items() if name in NAMES})

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> EngineOptions:
        """The options with these names. None and "" count as not given. Raises OptionsRefused."""
        values: dict[str, Any] = {}
        messages: dict[str, str] = {}
        for name, value in given.items():
            if value is not None and value != "":
                try:
                    values[name] = parse_option(name, value)
                except Refusal as refusal:
                    messages[name] = str(refusal)
        if messages:
            raise OptionsRefused(messages)
        return cls(**values)

    def with_defaults(self, defaults: EngineOptions) -> EngineOptions:
        """These options, with `defaults` for those that are not set."""
        return EngineOptions(**{name: getattr(self, name) or getattr(defaults, name) for name in NAMES})


FIELDS = {each.name: each for each in fields(EngineOptions)}
NAMES = tuple(FIELDS)


def parse_option(name: str, value: Any) -> Any:
    """An option's value as `EngineOptions` holds it. Raises Refusal with a sentence for the user."""
    return FIELDS[name].metadata["parse"](value)


def read_site_defaults(environ: Mapping[str, str]) -> EngineOptions:
    """The site's defaults. Raises OptionsRefused when the hub passed on something else than options."""
    text = environ.get(SITE_DEFAULTS) or "{}"
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise OptionsRefused({SITE_DEFAULTS: f"must hold a JSON object, not {text!r}. Tell the operators."})
    return EngineOptions.from_mapping(given)


def read_job_options(environ: Mapping[str, str]) -> EngineOptions:
    """Partition, account and QOS of the job that this process runs in; nothing outside of a job."""
    return EngineOptions(
        partition=environ.get("SLURM_JOB_PARTITION", ""),
        account=environ.get("SLURM_JOB_ACCOUNT", ""),
        qos=environ.get("SLURM_JOB_QOS", ""),
    )


def resolve(requested: EngineOptions, environ: Mapping[str, str]) -> EngineOptions:
    """Each option from the first source that has it. Raises OptionsRefused.

    The notebook's QOS is used only with the notebook's partition and account: others may not allow it.
    """
    job = read_job_options(environ)
    options = requested.with_defaults(read_site_defaults(environ))
    is_same_place = options.partition in ("", job.partition) and options.account in ("", job.account)
    return options.with_defaults(job if is_same_place else replace(job, qos=""))
