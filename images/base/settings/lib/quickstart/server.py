#!/opt/jupyter/bin/python3
"""`jupyterhub-singleuser` and `jupyter-lab` of this image: the same programs, sooner there.

They are imported from the bundle, without what a server doesn't need. Links in `bin` lead here (finish.sh);
the name of the link says what to run.
"""

import gc
import os
import site
import sys
from collections.abc import Callable
from contextlib import nullcontext

if not sys.flags.safe_path:  # else Python didn't put this directory there
    del sys.path[0]
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from flatirons_start import bundle
from flatirons_start.later import stand_ins

del sys.path[0]  # nobody else's business


def look_once_for_settings_below_local() -> None:
    """Spares a slow home 28 looks for `~/.local/etc/jupyter`, where `pip install --user` puts settings.

    Where there is none, Jupyter is told that this directory doesn't count. It has another name for
    `~/.local/share/jupyter`, unless one of these variables puts that elsewhere.
    """
    moved = {"JUPYTER_DATA_DIR", "XDG_DATA_HOME"} & os.environ.keys()
    if not moved and not os.path.isdir(os.path.join(site.getuserbase(), "etc", "jupyter")):
        site.ENABLE_USER_SITE = False


def program() -> Callable[[], object]:
    """What the name under which we were started stands for."""
    with stand_ins() if bundle.use() else nullcontext():
        from jupyterlab import labapp

        if os.path.basename(sys.argv[0]) == "jupyter-lab":
            run: Callable[[], object] = labapp.main
        else:
            from jupyterhub.singleuser import main as run
    return run


if __name__ == "__main__":
    look_once_for_settings_below_local()
    gc.disable()  # nothing that is imported is garbage
    run = program()
    gc.freeze()
    gc.enable()
    sys.exit(run())
