"""Writes the bundle: the bytecode of what a server with its extensions imports until a notebook is open.

It runs at the end of each build. After installing packages in an image, run it again as root.
"""

import marshal
import os
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec, SourceFileLoader
from importlib.util import find_spec

from flatirons_start import bundle
from flatirons_start.later import stand_ins


def of_a_server() -> list[str]:
    """The modules of a server with a notebook, in the order of their import."""
    with stand_ins():
        import jupyterhub.singleuser.extension  # noqa: F401
        import jupyterlab.labapp  # noqa: F401
    from jupyter_server.serverapp import ServerApp

    ServerApp.instance().initialize(["--allow-root", "--no-browser", "--port=0", "--ip=127.0.0.1"])
    load_for_first_page()
    return list(sys.modules)


def load_for_first_page() -> None:
    """Imports what a server imports when JupyterLab and a notebook open: while somebody waits."""
    from ipyparallel.cluster import ClusterManager
    from nbconvert.exporters import get_export_names, get_exporter

    ClusterManager().load_clusters(init_default_clusters=True)
    for name in get_export_names():
        get_exporter(name)


def specification(name: str) -> ModuleSpec | None:
    """The spec of a module; None for `__main__` and for modules that others created or renamed."""
    try:
        found = find_spec(name)
    except (ImportError, ValueError):  # six.moves and similar modules
        return None
    return found if found and found.name == name else None


def main() -> None:
    """Writes the bundle; raises an exception if a part is missing."""
    del sys.path[0]  # the directory of this file
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
