"""Writes the bundle: the bytecode of what a server with its extensions imports.

The end of each build runs it. Who installs packages into an image afterwards may run it again, as root.
"""

import marshal
import os
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader
from importlib.util import find_spec

from flatirons_start import bundle
from flatirons_start.later import stand_ins


def of_a_server() -> list[str]:
    """The modules of a server that is about to listen, in the order in which they were imported."""
    with stand_ins():
        import jupyterhub.singleuser.extension  # noqa: F401
        import jupyterlab.labapp  # noqa: F401
    from jupyter_server.serverapp import ServerApp

    ServerApp.instance().initialize(["--allow-root", "--no-browser", "--port=0", "--ip=127.0.0.1"])
    return list(sys.modules)


def specification(name: str) -> ModuleSpec | None:
    """Where a module comes from; None for what another module made or renamed, and for `__main__`."""
    try:
        found = find_spec(name)
    except (ImportError, ValueError):  # of six.moves and its like
        return None
    return found if found and found.name == name else None


def main() -> None:
    """Writes the bundle; an exception if anything of it can't be had."""
    del sys.path[0]  # where this file is
    ours = tuple(os.path.join(place, "") for place in bundle.searched())
    table: bundle.Table = {}
    codes = bytearray()
    for name in of_a_server():
        spec = specification(name)
        if spec is None or not (spec.origin or "").startswith(ours):
            continue
        folder = spec.submodule_search_locations[0] if spec.submodule_search_locations else ""
        if type(spec.loader) is ExtensionFileLoader:
            table[name] = (spec.origin, folder, 0, 0)
        elif type(spec.loader) is SourceFileLoader:
            code = marshal.dumps(spec.loader.get_code(name))
            table[name] = (spec.origin, folder, len(codes), len(code))
            codes += code
    bundle.write(table, bytes(codes))
    print(f"quickstart: {len(table)} modules, {len(codes) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
