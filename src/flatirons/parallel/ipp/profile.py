"""The IPython profile `slurm`: engines by Slurm without a word about launchers.

`ipcluster start --profile=slurm --n=8` on a log-in node or in a terminal of JupyterLab, and
`ipyparallel.Cluster(profile="slurm", n=8)` in a notebook. A file that is there is never overwritten.
"""

from __future__ import annotations

import os
from pathlib import Path

PROFILE = "slurm"
TEXT = """\
# IPyParallel engines as a Slurm job: ipcluster start --profile=slurm --n=8
c = get_config()  # noqa: F821

c.Cluster.engine_launcher_class = "flatirons"
c.Cluster.controller_launcher_class = "flatirons"

# What is asked of Slurm. Without a value: the site's defaults, then those of the notebook's own job.
# c.FlatironsEngineSetLauncher.partition = "shas"
# c.FlatironsEngineSetLauncher.account = "ucb-general"
# c.FlatironsEngineSetLauncher.qos = "normal"
# c.FlatironsEngineSetLauncher.reservation = ""
# c.FlatironsEngineSetLauncher.runtime = "2:00:00"
# c.FlatironsEngineSetLauncher.nodes = 2             # spread evenly over so many
# c.FlatironsEngineSetLauncher.engines_per_node = 4  # or at most so many on each
# c.FlatironsEngineSetLauncher.cpus = 1              # for each engine
# c.FlatironsEngineSetLauncher.memory = "4G"         # for each engine
# c.FlatironsEngineSetLauncher.inside = True         # in the notebook's own job, if that has room
# c.FlatironsEngineSetLauncher.mpi = True            # one MPI program
"""


def ensure(ipython_dir: str = "", name: str = PROFILE) -> Path:
    """The profile's configuration file, made now if there is none. Raises OSError when it can't be made."""
    folder = Path(ipython_dir or _ipython_dir()) / f"profile_{name}"
    file = folder / "ipcluster_config.py"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{file.name}.{os.getpid()}"
        draft.write_text(TEXT, encoding="utf-8")
        os.replace(draft, file)
    return file


def _ipython_dir() -> str:
    from IPython.paths import get_ipython_dir

    return str(get_ipython_dir())


if __name__ == "__main__":
    print(ensure())
