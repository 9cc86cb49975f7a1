"""Settings of other spawners (batchspawner, jupyterhub_moss, wrapspawner): what they are called here.

A configuration that was written for one of them has settings that SlurmSpawner doesn't have. `req_NAME` is
taken as `NAME`, wherever it stands. Of batchspawner's command and script, three things count here as well:
the slurm.conf that the command names, `--ntasks-per-node={ntasks}`, and what is bound into the container.
`leftovers` names everything that isn't taken as it stands.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from traitlets.config import Config, Configurable
from traitlets.config.loader import LazyConfigValue

from flatirons.forms import Choice, Field
from flatirons.slurm.model import DEFAULT_CLUSTER
from flatirons.slurm_form.fields import FIELDS
from flatirons.spawners.trait_types import check

Spawning: TypeAlias = type[Configurable]
"""A class of spawners."""

PREFIX = "req_"
CHILD_CONFIG, FORM_FIELDS = "c.OptionsFormSpawner.child_config", "c.OptionsFormSpawner.form_fields"

BASES = ("BatchSpawnerBase", "BatchSpawnerRegexStates", "UserEnvMixin")
DERIVED = ("MultiSlurmSpawner", "MOSlurmSpawner", "SlurmFormSpawner")
"""Sections of classes above and below batchspawner's SlurmSpawner; those below override those above."""

OTHERS = frozenset({*BASES, *DERIVED, "SlurmSpawner", "SbatchForm", "SlurmAPI"})

RENAMED = {
    **{each.name: each.trait for each in FIELDS},
    **{"queue": "partition", "nprocs": "cpus", "ncpus": "cpus", "ngpus": "gpus"},
    **{"mem": "memory", "time": "runtime", "walltime": "runtime", "image_path": "image"},
}
"""The trait of SlurmSpawner for each name that others give to the same thing."""

_COMMANDS = "Flatirons runs Slurm's commands itself: `run_as` says as whom, `clusters` where they are"
_STATES = "Flatirons asks Slurm for states by format strings, and for nodes by name"
_SERVER = "the starter, which is part of the job's script, runs the server and reports to the hub"
_FORM = "the form asks Slurm, and [form] in site.toml or the settings of `slurm_form` narrow it"
NO_EFFECT = {
    "batch_script": "Flatirons writes the job's script. Software and images are `environments`, shell lines "
    "are `prologue`, options of sbatch are the form's or `own_fields`",
    **dict.fromkeys(("batch_submit_cmd", "batch_query_cmd", "batch_cancel_cmd", "exec_prefix"), _COMMANDS),
    **dict.fromkeys(("state_pending_re", "state_running_re", "state_unknown_re"), _STATES),
    **dict.fromkeys(("state_exechost_re", "state_exechost_exp", "startup_poll_interval"), _STATES),
    **dict.fromkeys(("batchspawner_singleuser_cmd", "req_srun"), _SERVER),
    "req_options": "an option of sbatch is a field of the form, or one of `own_fields`",
    "req_host": "there is no batch server to name: `clusters` says where Slurm is",
    "req_epilogue": "nothing runs after a server",
    "req_keepvars": "the hub passes no variables on, except those named in `env_keep`",
    "req_keepvars_extra": "the hub passes no variables on, except those named in `env_keep`",
    "req_username": "the job's user is the server's",
    "req_homedir": "the server begins in its user's home directory; see `notebook_dir`",
    **dict.fromkeys(("slurm_info_cmd", "ui_args", "disable_form"), _FORM),
    "partitions": f"{_FORM}; `jupyter_environments` are c.SlurmSpawner.environments",
    "profiles": "choices under a name are [presets] in site.toml, or `Presets` of the form's hooks",
    "daemon_resolver": _STATES,
}
"""Why a setting has no effect, and what does the same here."""

WITHOUT_LIMIT = {
    **dict.fromkeys(("mem_limit", "mem_guarantee"), "the memory of a job is c.SlurmSpawner.memory"),
    **dict.fromkeys(("cpu_limit", "cpu_guarantee"), "the cores of a job are c.SlurmSpawner.cpus"),
    **dict.fromkeys(
        ("ip", "port"), "the starter finds the address on the node; see c.SlurmSpawner.port_range"
    ),
}
"""JupyterHub's own settings that decide nothing about a job."""

NO_SUCH_SETTING = "SlurmSpawner has no such setting"

_CONF = re.compile(r"(?:^|\s)SLURM_CONF=(/\S+)")
_PROGRAM = re.compile(r"(?:^|\s)(/\S+)/sbatch(?:\s|$)")
_TASKS_PER_NODE = re.compile(r"--ntasks-per-node[= ]\{\{?\s*ntasks\b")
_CONTAINER = re.compile(r"\b(?:singularity|apptainer)\s+(?:exec|run|shell)\b((?:[^\n\\]|\\.|\\\n)*)")
_BIND = re.compile(r"(?:--bind|-B)[= ]\s*([^\s{}$\\\"']+)")
_CLUSTER = re.compile(r"\{\{?\s*cluster\s*\}?\}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def trait_named(name: str, cls: Spawning) -> str:
    """The trait that is meant by the name of a field; the name itself if there is none."""
    traits = cls.class_traits()
    for each in (name, name.removeprefix(PREFIX)):
        found = RENAMED.get(each, each)
        if found in traits:
            return found
    return name


def setting_named(name: str, cls: Spawning) -> str:
    """The same for a setting: there `environment` is JupyterHub's own."""
    return name if name in cls.class_traits() else trait_named(name, cls)


def adapted(
    cls: Spawning, given: Mapping[str, Any], config: Config | None, fields: Iterable[Field] = ()
) -> dict[str, Any]:
    """The arguments for a spawner, with what others' settings mean as traits of it.

    `given` are arguments or `child_config`, and take precedence over the configuration's sections. A trait
    that is set under its own name anywhere is left alone. `fields` are the form's, which may offer clusters.
    """
    config, traits = config or Config(), cls.class_traits()
    own = {key for section in cls.section_names() if section in config for key in config[section]}
    others = {name: value for name, value in given.items() if name not in traits and is_others(name)}
    kept = {name: value for name, value in given.items() if name not in others}
    others = {**_configured(config, cls), **others}
    meant = {setting_named(name, cls): value for name, value in others.items() if value not in ("", None)}
    meant |= _from_commands(others, offered_clusters(fields, cls) or _texts(meant.get("cluster")))
    found = {name: value for name, value in meant.items() if name in traits and name not in own}
    return {**found, **kept}


def is_others(name: str) -> bool:
    """Whether this is the name of another spawner's setting."""
    return name.startswith(PREFIX) or name in NO_EFFECT


def offered_clusters(fields: Iterable[Field], cls: Spawning) -> list[str]:
    """The clusters that the form offers, without a form or for a rule none."""
    for field in fields:
        if trait_named(field.trait or field.name, cls) == "cluster" and not callable(field.choices):
            return [Choice.of(each).value for each in field.choices or ()]
    return []


def _sections(cls: Spawning) -> tuple[str, ...]:
    """The sections whose `req_NAME` are taken, each before those that override it."""
    return (*BASES, *cls.section_names(), *DERIVED)


def _configured(config: Config, cls: Spawning) -> dict[str, Any]:
    """Others' settings in the sections of the configuration."""
    traits, found = cls.class_traits(), dict[str, Any]()
    for section in _sections(cls):
        for name, value in config[section].items() if section in config else ():
            if name not in traits and is_others(name) and not isinstance(value, LazyConfigValue):
                found[name] = value
    return found


def _from_commands(others: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """What batchspawner's command and script decide here."""
    command, script = (str(others.get(name) or "") for name in ("batch_submit_cmd", "batch_script"))
    clusters = _clusters(command, names)
    found: dict[str, Any] = {"clusters": clusters} if clusters else {}
    if _TASKS_PER_NODE.search(script):
        found["ntasks_is_per_node"] = True
    if settings := _container(script):
        found["image_settings"] = settings
    return found


def _container(script: str) -> dict[str, Any]:
    """What the script's own container sees of the node, as settings of an environment."""
    words = " ".join(_CONTAINER.findall(script))
    binds = [path for text in _BIND.findall(words) for path in text.split(",") if path.startswith("/")]
    is_nv = re.search(r"\s--nv\b", words) is not None
    return {**({"binds": binds} if binds else {}), **({"nv": True} if is_nv else {})}


def _clusters(command: str, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The clusters of a command that names a slurm.conf or the folder of sbatch; {} if it doesn't."""
    conf, program = _CONF.search(command), _PROGRAM.search(command)
    facts = {"slurm_conf": conf[1] if conf else "", "bin_dir": program[1] if program else ""}
    known = [name for name in names if _NAME.fullmatch(name)]
    if not any(facts.values()):
        return {}
    if any(_CLUSTER.search(text) for text in facts.values()):
        found = {name: {key: _CLUSTER.sub(name, text) for key, text in facts.items()} for name in known}
    else:
        found = {known[0] if len(known) == 1 else DEFAULT_CLUSTER: facts}
    is_filled = not any("{" in text for each in found.values() for text in each.values())
    return found if is_filled else {}


def _texts(value: Any) -> list[str]:
    return [value] if isinstance(value, str) and value else []


# -- what the hub says at its start


class Leftover(NamedTuple):
    """A setting of another spawner: what it is called here, or why it has no effect."""

    sentence: str
    has_effect: bool


def leftovers(
    cls: Spawning,
    config: Config,
    fields: Sequence[Field] = (),
    child_config: Mapping[str, Any] | None = None,
) -> list[Leftover]:
    """Each setting that doesn't count under its own name, by its name in the configuration."""
    given, traits = child_config or {}, cls.class_traits()
    sections = [section for section in sorted(config) if section in OTHERS or section.endswith("Spawner")]
    return [
        *(found for section in sections for found in _of_section(section, config[section], cls)),
        *(_of_setting(f"{CHILD_CONFIG}[{name!r}]", name, cls) for name in given if name not in traits),
        *(found for field in fields for found in _of_field(field, cls)),
        *_of_commands({**_configured(config, cls), **given}, adapted(cls, given, config, fields)),
    ]


def _of_section(section: str, settings: Mapping[str, Any], cls: Spawning) -> Iterator[Leftover]:
    is_own, traits = section in cls.section_names(), cls.class_traits(config=True)
    for name in settings:
        what = f"c.{section}.{name}"
        if is_own and name in WITHOUT_LIMIT:
            yield _without_effect(what, WITHOUT_LIMIT[name])
        elif is_own and name in traits:
            continue
        elif section in _sections(cls) and (is_own or is_others(name)):
            yield _of_setting(what, name, cls)
        elif name in NO_EFFECT:
            yield _without_effect(what, NO_EFFECT[name])
        elif section in OTHERS and setting_named(name, cls) in traits:
            yield _without_effect(what, f"write c.SlurmSpawner.{setting_named(name, cls)}")
        else:
            yield _without_effect(what, "SlurmSpawner starts the servers here")


def _of_setting(what: str, name: str, cls: Spawning) -> Leftover:
    trait = setting_named(name, cls)
    if trait not in cls.class_traits() or trait == name:
        return _without_effect(what, NO_EFFECT.get(name, NO_SUCH_SETTING))
    if is_others(name):
        return Leftover(f"{what} is {trait!r} here, and is taken as c.SlurmSpawner.{trait}.", True)
    return _without_effect(what, f"write c.SlurmSpawner.{trait}")


def _of_field(field: Field, cls: Spawning) -> Iterator[Leftover]:
    trait, what = trait_named(field.name, cls), f"{FORM_FIELDS}: {field.name}"
    if field.trait == "" and trait != field.name:
        yield Leftover(f"{what} is {trait!r} here, and sets c.SlurmSpawner.{trait}.", True)
    elif field.trait == "" and is_others(field.name):
        yield _without_effect(what, NO_EFFECT.get(field.name, NO_SUCH_SETTING))


def _of_commands(others: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Leftover]:
    sources = {"clusters": "batch_submit_cmd"}
    for trait in ("clusters", "ntasks_is_per_node", "image_settings"):
        source = sources.get(trait, "batch_script")
        if trait in found and source in others:
            yield Leftover(f"c.SlurmSpawner.{trait} is taken from {source}: {found[trait]!r}.", True)


def _without_effect(what: str, reason: str) -> Leftover:
    return Leftover(f"{what} has no effect: {reason}.", False)


# -- for SlurmSpawner


class OtherNames(Configurable):
    """Takes the settings of other spawners as those of this class. Stands before Spawner among the bases."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**adapted(type(self), kwargs, kwargs.get("config")))

    @classmethod
    def trait_named(cls, name: str) -> str:
        """The trait that a field of any form sets by its name."""
        return trait_named(name, cls)

    @classmethod
    def adapted(
        cls, given: Mapping[str, Any], config: Config | None, fields: Iterable[Field]
    ) -> dict[str, Any]:
        """The `child_config` of OptionsFormSpawner as arguments of this class."""
        return adapted(cls, given, config, fields)

    @classmethod
    def at_hub_start(
        cls, app: Any, fields: Sequence[Field] = (), child_config: Mapping[str, Any] | None = None
    ) -> None:
        """Logs what the configuration says for other spawners, and how much of it is taken.

        Raises TraitError for a value that can't be read.
        """
        for found in leftovers(cls, app.config, fields, child_config):
            app.log.log(logging.INFO if found.has_effect else logging.WARNING, found.sentence)
        check(cls, adapted(cls, child_config or {}, app.config, fields))

    def _find_my_config(self, cfg: Config) -> Any:
        """The settings of this class, without those that `adapted` has read."""
        found = super()._find_my_config(cfg)
        for name in [each for each in found if is_others(each) and not self.has_trait(each)]:
            del found[name]
        return found
