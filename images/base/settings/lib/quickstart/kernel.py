"""The Python kernel of this image: ipykernel's own, from the bundle. finish.sh names it in kernel.json.

What the user's code imports is looked for as ever: the bundle is gone before the first of it runs.
"""

import sys
from importlib import import_module

from flatirons_start import bundle

# What ipykernel imports only when it begins; a debugger is the most of it.
LATER = ("ipykernel.debugger", "IPython.core.completerlib", "IPython.extensions.storemagic")

if __name__ == "__main__":
    del sys.path[0]  # where this file is: the user's code is looked for in its own directory
    bundle.use()
    from ipykernel import kernelapp

    for name in LATER:
        import_module(name)
    bundle.stop()
    for name in [name for name in sys.modules if name.partition(".")[0] == "flatirons_start"]:
        del sys.modules[name]
    kernelapp.launch_new_instance()
