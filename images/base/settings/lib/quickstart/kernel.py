"""The Python kernel of this image: ipykernel's own, from the bundle. finish.sh names it in kernel.json.

What the user's code imports is looked for as ever: the bundle is gone before the first of it runs.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec

if not sys.flags.safe_path:  # else Python didn't put this directory there
    del sys.path[0]
sys.path.insert(0, os.path.dirname(__file__))
from flatirons_start import bundle

del sys.path[0]  # the user's code is looked for in its own directory

# What ipykernel imports only when it begins; a debugger is the most of it.
LATER = ("ipykernel.debugger", "IPython.core.completerlib", "IPython.extensions.storemagic")

if __name__ == "__main__":
    bundle.use()
    from ipykernel import kernelapp

    for name in LATER:
        import_module(name)
    launcher = find_spec("ipykernel_launcher")
    assert launcher and launcher.origin
    sys.argv[0] = launcher.origin  # by which programs know that they are in a notebook
    bundle.stop()
    for name in [name for name in sys.modules if name.partition(".")[0] == "flatirons_start"]:
        del sys.modules[name]
    kernelapp.launch_new_instance()
