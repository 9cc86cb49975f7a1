#!/opt/jupyter/bin/python3
"""`jupyterhub-singleuser` and `jupyter-lab` of this image: the same programs, sooner there.

They are imported from the bundle, without what a server doesn't need, and files that live as long as the
server lie on the node instead of in a home that may be slow. Links in `bin` lead here (finish.sh); the name
of the link says what to run.
"""

import atexit
import os
import shutil
import site
import sys
import tempfile
from collections.abc import Callable

from flatirons_start import bundle
from flatirons_start.later import stand_ins


def keep_runtime_on_the_node() -> None:
    """Puts connection files, cookies' keys and the like where only the user and this node see them.

    In the home they would outlive a server that is killed, and be of no use elsewhere: kernels listen on this
    node alone. Whoever sets JUPYTER_RUNTIME_DIR keeps it.
    """
    if not os.environ.get("JUPYTER_RUNTIME_DIR"):
        place = os.environ["JUPYTER_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="jupyter-runtime-")
        atexit.register(shutil.rmtree, place, ignore_errors=True)


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
    with stand_ins():
        from jupyterlab import labapp

        if os.path.basename(sys.argv[0]) == "jupyter-lab":
            run: Callable[[], object] = labapp.main
        else:
            from jupyterhub.singleuser import main as run
    return run


if __name__ == "__main__":
    del sys.path[0]  # where this file is: nobody else's business
    bundle.use()
    keep_runtime_on_the_node()
    look_once_for_settings_below_local()
    sys.exit(program()())
