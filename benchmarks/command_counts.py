"""How many of Slurm's commands a hub starts, by what really was started.

In the hub node, /usr/local/sbin comes first on the PATH of the hubs and of sudo. There stands a script for
each command that notes the call and becomes the command; whoever starts it, and however, is counted.
"""

from cluster.demo.service import Demo

from .stage import in_hub

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
CALLS = "/run/slurm-calls"

WRAP = f"""
touch {CALLS} && chmod 0666 {CALLS}
for name; do
    command=$(command -v "/usr/bin/$name")
    printf '#!/bin/sh\\necho %s >> {CALLS}\\nexec %s "$@"\\n' "$name" "$command" > "/usr/local/sbin/$name"
    chmod 0755 "/usr/local/sbin/$name"
done
"""


def install(demo: Demo) -> None:
    """Begins to count."""
    in_hub(demo, WRAP, *COMMANDS)


def calls(demo: Demo) -> dict[str, int]:
    """Command -> how often it was started in the hub node until now."""
    listed = in_hub(demo, f"cat {CALLS}").split()
    return {name: listed.count(name) for name in sorted(set(listed))}
