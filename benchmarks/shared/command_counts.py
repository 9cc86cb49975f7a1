"""Counts the Slurm commands that a hub starts.

/usr/local/sbin comes first on the PATH of the hubs and of sudo. On the hub node it gets a script for each
command, which records the call and then becomes the command. So every call is counted, whatever makes it.
"""

from collections.abc import Sequence

from cluster.demo.service import Demo

from .testbed import run_script_in_hub

COMMANDS = (
    "sacct",
    "sacctmgr",
    "salloc",
    "sbatch",
    "scancel",
    "scontrol",
    "sinfo",
    "squeue",
    "srun",
    "sstat",
)
SHOWING = tuple(name for name in COMMANDS if name not in ("sbatch", "scancel"))
CALLS = "/run/slurm-calls"

WRAP = f"""
touch {CALLS} && chmod 0666 {CALLS}
for name; do
    command=$(command -v "/usr/bin/$name")
    printf '#!/bin/sh\\necho %s >> {CALLS}\\nexec %s "$@"\\n' "$name" "$command" > "/usr/local/sbin/$name"
    chmod 0755 "/usr/local/sbin/$name"
done
"""


def start_counting(demo: Demo, commands: Sequence[str] = COMMANDS) -> None:
    """Installs the counting scripts on the hub node. A hub that starts servers needs SHOWING.

    sudo's rules name the paths of sbatch and scancel: with scripts before them, sudo would refuse them.
    """
    run_script_in_hub(demo, WRAP, *commands)


def count_calls(demo: Demo) -> dict[str, int]:
    """Command -> how many times it was started on the hub node since counting began."""
    listed = run_script_in_hub(demo, f"cat {CALLS}").split()
    return {name: listed.count(name) for name in sorted(set(listed))}
