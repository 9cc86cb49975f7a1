"""Imports modules from one file with the bytecode of everything that a server imports, in that order.

The root of a container is a file system in user space. It takes several calls to find, open and read the file
of a module, and a server imports over a thousand. The modules themselves stay the same: the same bytecode,
`__file__` and loader, so that data files, source and tracebacks are found as usual.

`learn.py` writes the file at the end of a build. It is used only by this Python, and only if nothing was
installed in site-packages or removed since then. It provides a module only if the path would have led to the
same file. Otherwise modules are imported as usual.
"""

import marshal
import mmap
import os
import sys
from collections.abc import Iterable
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import MAGIC_NUMBER, spec_from_file_location
from types import CodeType

PACKAGES = os.path.join(
    sys.prefix, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages"
)
PLACE = os.path.join(sys.prefix, "share", "flatirons", "quickstart.bundle")
HEAD = 8  # bytes with the length of the table

# name -> (file, directory of a package or "", offset of its bytecode, length; 0 for an extension)
Table = dict[str, tuple[str, str, int, int]]


def identity() -> list[str]:
    """What a bundle is valid for: this Python, and the installed distributions with their versions.

    Also the time of the last change, in seconds as in an image file, because the same version may have been
    installed again with other contents.
    """
    installed = sorted(name for name in os.listdir(PACKAGES) if name.endswith((".dist-info", ".pth")))
    changed = int(os.stat(PACKAGES).st_mtime)
    return [sys.version, MAGIC_NUMBER.hex(), PACKAGES, str(changed), *installed]


def searched() -> list[str]:
    """The directories that Python searches up to the image's packages, these included."""
    return sys.path[: sys.path.index(PACKAGES) + 1]


class _Loader(SourceFileLoader):
    """Loads a module as usual, except that its bytecode is already known."""

    def __init__(self, name: str, path: str, code: memoryview) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = marshal.loads(self._code)
        return code


class Finder:
    """Finds the modules of the bundle, before the path is searched."""

    def __init__(self, path: list[str], table: Table, codes: memoryview) -> None:
        self.path = path
        self.table = table
        self.codes = codes

    def find_spec(
        self, name: str, path: Iterable[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """The spec of a module in the bundle, else None; `path` is that of its package."""
        found = self.table.get(name)
        if found is None:
            return None
        file, package, begin, size = found
        if path is None:
            is_same = sys.path[: len(self.path)] == self.path  # nothing was put before the image's own
        else:
            is_same = next(iter(path), "") == os.path.dirname(package or file)  # the same package
        if not is_same:
            return None
        if not size:
            return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))
        loader = _Loader(name, file, self.codes[begin : begin + size])
        inside = [package] if package else None
        return spec_from_file_location(name, file, loader=loader, submodule_search_locations=inside)


def read(place: str = PLACE) -> Finder | None:
    """The finder for the file; None if the file is missing or isn't valid here."""
    try:
        with open(place, "rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):
        return None
    size = int.from_bytes(whole[:HEAD], "little")
    made_for, path, table = marshal.loads(whole[HEAD : HEAD + size])
    return Finder(path, table, whole[HEAD + size :]) if made_for == identity() else None


def write(table: Table, codes: bytes, place: str = PLACE) -> None:
    """Writes the file for the current Python and packages."""
    head = marshal.dumps((identity(), searched(), table))
    with open(place, "wb") as file:
        file.write(len(head).to_bytes(HEAD, "little") + head + codes)


def use() -> bool:
    """Imports from the bundle from now on; returns False, and changes nothing, if there is no valid one."""
    finder = None if sys.flags.optimize else read()  # with -O the bytecode is different
    if finder:
        sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)
    return finder is not None
