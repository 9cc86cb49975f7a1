"""The options of the standard form on SlurmSpawner: as its traits, and as what a job is made of."""

from __future__ import annotations

from typing import Any

from jupyterhub.spawner import Spawner
from traitlets import Bool as BoolTrait
from traitlets import Float as FloatTrait
from traitlets import HasTraits, MetaHasTraits, TraitType

from flatirons.forms import Checkbox, Duration, Field, Integer, Memory, Number
from flatirons.slurm_form.fields import FIELDS, SlurmField
from flatirons.slurm_form.gpus import Gpus
from flatirons.spawners.form.hooks import FormHooks, Options
from flatirons.spawners.trait_types import Count, GpusOnNode, Mebibytes, Minutes, Word

WRITTEN: tuple[tuple[type[Field], type[Count | Mebibytes | Minutes], str], ...] = (
    (Memory, Mebibytes, ", in MiB or as a text"),
    (Duration, Minutes, ", in minutes or as a text"),
    (Integer, Count, ""),
)
"""The trait of each kind of field that has a number, and what its help adds."""

ALTERNATIVES = tuple((each.name, other) for each in FIELDS for other in each.field.excludes)
"""Options of which a job can have only one."""


def _trait(each: SlurmField) -> TraitType[Any, Any]:
    examples = f": {', '.join(f'`{text}`' for text in each.examples)}" if each.examples else ""
    for kind, trait, unit in WRITTEN:
        if isinstance(each.field, kind):
            least = None if kind is Integer and each.sbatch else 0  # --nice may be negative
            help = f"{each.sentence[:-1]}{unit}{examples if unit else ''}."
            return trait(0, min=least, help=help).tag(config=True)
    if isinstance(each.field, Number):
        return FloatTrait(0.0, help=each.sentence).tag(config=True)
    if isinstance(each.field, Checkbox):
        return BoolTrait(False, help=each.sentence).tag(config=True)
    kind_of_text = GpusOnNode if isinstance(each.field, Gpus) else Word
    return kind_of_text(help=f"{each.sentence[:-1]}{examples}.").tag(config=True)


OptionTraits: Any = MetaHasTraits(
    "OptionTraits",
    (HasTraits,),
    {"__doc__": "A trait for each field of the standard form.", "__module__": __name__}
    | {each.trait: _trait(each) for each in FIELDS},
)


def job_options(spawner: Spawner) -> Options:
    """The typed options that the spawner's job is made of.

    They are the options that the form accepted. An option that the user left empty has the value that the
    operator configured on the spawner's trait, unless the user chose an alternative to it. A trait that code
    changed after that (a subclass, a `pre_spawn_hook`) replaces the option and its alternatives, and so does
    a value that code assigned to a field of the site in `user_options`. Without a form only the traits count,
    because then nothing has checked `user_options`.
    """
    accepted, on_traits = FormHooks.accepted(spawner)
    of_site = {name: spawner.user_options.get(name) for name in accepted if name in spawner.own_fields}
    values = {each.name: getattr(spawner, each.trait) for each in FIELDS if each.name not in of_site}
    before = {each.name: on_traits[each.trait] for each in FIELDS if each.trait in on_traits}
    changed = {name: value for name, value in values.items() if value != before.get(name, value)}
    dropped = _alternatives_to({name for name, value in changed.items() if value}) - {*changed, *of_site}
    options = {**accepted, **of_site, **changed, **dict.fromkeys(dropped)}
    replaced = _alternatives_to({name for name in values if options.get(name) is not None})
    for name, value in values.items():
        if options.get(name) is None and name not in replaced:
            options[name] = value
    return options


def _alternatives_to(names: set[str]) -> set[str]:
    """The names of the options to which the options with these names are alternatives."""
    pairs = (*ALTERNATIVES, *((other, name) for name, other in ALTERNATIVES))
    return {name for name, other in pairs if other in names}
