#!/opt/jupyter/bin/python3
"""`jupyterhub-singleuser` and `jupyter-lab` of this image: the same programs, with a faster start.

They are imported from the bundle, without modules that a server doesn't use. Links in `bin` lead here
(finish.sh); the name of the link is the program.
"""

import gc
import os
import site
import sys
from collections.abc import Callable
from contextlib import nullcontext

if not sys.flags.safe_path:  # otherwise Python didn't add this directory
    del sys.path[0]
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
from flatirons_start import bundle
from flatirons_start.later import stand_ins

del sys.path[0]  # only needed for the two imports above


def look_once_for_settings_below_local() -> None:
    """Saves 28 look-ups of `~/.local/etc/jupyter`, where `pip install --user` puts settings, in a slow home.

    If that directory doesn't exist, Jupyter is made to ignore it. Jupyter finds `~/.local/share/jupyter`
    nevertheless, unless one of these variables names another directory.
    """
    moved = {"JUPYTER_DATA_DIR", "XDG_DATA_HOME"} & os.environ.keys()
    if not moved and not os.path.isdir(os.path.join(site.getuserbase(), "etc", "jupyter")):
        site.ENABLE_USER_SITE = False


def program() -> Callable[[], object]:
    """The function that runs the program with the name of the link."""
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
