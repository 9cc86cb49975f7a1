"""The keywords by which a user says what to ask of Slurm, as traits, for the cluster and the launcher."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, HasTraits, Integer, TraitError, Unicode, Union, validate

from flatirons.parallel.options import NAMES, EngineOptions, typed


def _kept(trait: Any) -> Any:
    """A trait that a profile may set and that another process finds again."""
    return trait.tag(config=True, to_dict=True)


class Asked(HasTraits):
    """What may be asked of Slurm; "" and 0 leave it to the site, to the notebook's own job, to Slurm."""

    partition = _kept(Unicode(help="Partition; by default the site's for engines, else the notebook's."))
    account = _kept(Unicode(help="Account to charge; by default the site's, else the notebook's."))
    qos = _kept(Unicode(help="QOS; by default the site's, else the notebook's if partition and account are."))
    reservation = _kept(Unicode(help="Reservation to run in."))
    runtime = _kept(Union([Integer(), Unicode()], help="How long: minutes, or 2:00:00, or 90m."))
    nodes = _kept(Integer(help="Nodes to spread the engines over, evenly; 0: where Slurm finds room."))
    engines_per_node = _kept(Integer(help="The most engines on one node; 0: where Slurm finds room."))
    cpus = _kept(Integer(help="Cores for each engine; 0: Slurm's default, which is one."))
    memory = _kept(Union([Integer(), Unicode()], help="Memory for each engine: MiB, or 4G, or 500M."))
    inside = _kept(
        Bool(help="In the notebook's own job, whose cores they share, and not in one of their own.")
    )
    mpi = _kept(Union([Unicode(), Bool()], help="One MPI program: True, or a kind of `srun --mpi=list`."))

    @validate(*NAMES)
    def _typed(self, proposal: Any) -> Any:
        name = proposal.trait.name
        if name in ("runtime", "memory") and proposal.value == "":
            return 0
        try:
            return typed(name, proposal.value)
        except ValueError as error:
            raise TraitError(f"{name}: {error}") from error

    def asked(self) -> EngineOptions:
        """What the user said, nothing filled in."""
        return EngineOptions(**{name: getattr(self, name) for name in NAMES})
