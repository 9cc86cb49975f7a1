"""What Slurm's variables say about the notebook's own job. Pure, and light: every server imports it."""

from __future__ import annotations

from collections.abc import Mapping


def read_count(environ: Mapping[str, str], name: str) -> int:
    """The whole number in one of Slurm's variables, 0 when it isn't set or holds something else."""
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else 0


def read_memory_mib(environ: Mapping[str, str], cores: int) -> int:
    """MiB that the job of this environment has on this node, where it has `cores`; 0 when Slurm doesn't say.

    Source: SLURM_MEM_PER_NODE and SLURM_MEM_PER_CPU in sbatch(1), output environment variables.
    """
    return read_count(environ, "SLURM_MEM_PER_NODE") or read_count(environ, "SLURM_MEM_PER_CPU") * cores
