"""The IPython profile `slurm`, with which engines are Slurm jobs and no launcher needs to be named.

It serves `ipcluster start --profile=slurm --n=8` on a log-in node or in a terminal of JupyterLab, and
`ipyparallel.Cluster(profile="slurm", n=8)` in a notebook. A file that exists is never overwritten.
"""

from __future__ import annotations

from pathlib import Path

from flatirons.files import write_atomically
from flatirons.parallel.options import FIELDS

PROFILE = "slurm"
_HEAD = """\
# IPyParallel engines as a Slurm job: ipcluster start --profile=slurm --n=8
c = get_config()  # noqa: F821

c.Cluster.engine_launcher_class = "flatirons"
c.Cluster.controller_launcher_class = "flatirons"

# Options of the engines' job. An option without a value comes from the site's defaults, then from the
# notebook's own job.
"""


def create(ipython_dir: str = "", name: str = PROFILE) -> Path:
    """The profile's configuration file, which this makes if it doesn't exist. Raises OSError."""
    folder = Path(ipython_dir or _find_ipython_dir()) / f"profile_{name}"
    file = folder / "ipcluster_config.py"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # This may replace the same text of a faster process. `replace=False` needs hard links, which some
        # home directories don't have.
        write_atomically(file, _write_text(), 0o644)
    return file


def _write_text() -> str:
    lines = []
    for name, each in FIELDS.items():
        setting = f"# c.FlatironsEngineSetLauncher.{name} = {each.metadata['example']}"
        lines += [f"\n# {each.metadata['help']}", setting]
    return _HEAD + "\n".join(lines) + "\n"


def _find_ipython_dir() -> str:
    from IPython.paths import get_ipython_dir

    return str(get_ipython_dir())


if __name__ == "__main__":
    print(create())
