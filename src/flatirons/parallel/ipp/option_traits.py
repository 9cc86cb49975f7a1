"""EngineOptions as traits, for the cluster and for the launcher."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, HasTraits, Integer, MetaHasTraits, TraitError, Unicode, Union, validate

from flatirons.errors import Refusal
from flatirons.parallel import options
from flatirons.parallel.options import FIELDS, NAMES, EngineOptions, parse_option

_TRAITS: dict[Any, Any] = {
    options.parse_text: Unicode,
    options.parse_count: Integer,
    options.parse_flag: Bool,
    options.parse_minutes: lambda **words: Union([Integer(), Unicode()], **words),
    options.parse_mebibytes: lambda **words: Union([Integer(), Unicode()], **words),
    options.parse_mpi: lambda **words: Union([Unicode(), Bool()], **words),
}


class _CheckedOptions(HasTraits):
    """The checks and the conversion; the traits themselves are added below."""

    @validate(*NAMES)
    def _check(self, proposal: Any) -> Any:
        name = proposal.trait.name
        if name in ("runtime", "memory") and proposal.value == "":
            return 0
        try:
            return parse_option(name, proposal.value)
        except Refusal as refusal:
            raise TraitError(f"{name}: {refusal}") from refusal

    def engine_options(self) -> EngineOptions:
        """The options that the user set, without any defaults."""
        return EngineOptions(**{name: getattr(self, name) for name in NAMES})


def _make_trait(name: str) -> Any:
    """A trait that a profile may set (`config`) and that another process finds again (`to_dict`)."""
    about = FIELDS[name].metadata
    return _TRAITS[about["parse"]](help=about["help"]).tag(config=True, to_dict=True)


OptionTraits: Any = MetaHasTraits(
    "OptionTraits",
    (_CheckedOptions,),
    {"__doc__": EngineOptions.__doc__, **{name: _make_trait(name) for name in NAMES}},
)
"""A class with a trait for each field of EngineOptions."""


def describe_keywords() -> str:
    """A line for each option, for a docstring."""
    return "\n".join(f"    {name}: {each.metadata['help']}" for name, each in FIELDS.items())
