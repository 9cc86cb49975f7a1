"""Imports from one file that holds the bytecode of what a server imports, in that order.

The root of a container is a file system in user space: each module costs some calls of it, to find the file,
to open and to read it, and a server imports over a thousand. What a module is does
not change: the same bytecode, the same `__file__`, the same loader, so its data files, its source and its
tracebacks are found as ever.

The file is written at the end of a build by `learn.py`. It counts only for this Python, and for a
site-packages in which nothing was installed or removed since; and for a module only where the path would have
led to the same file. Otherwise all is imported as usual.
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
HEAD = 8  # bytes that hold the length of the table

# name -> (file, directory of a package or "", where its bytecode begins, how long it is; 0 for an extension)
Table = dict[str, tuple[str, str, int, int]]


def identity() -> list[str]:
    """What a bundle was made for: this Python, and the installed distributions with their versions.

    And when the last of them came or went, to the second, as an image file keeps it: the same version, once
    more, may be another.
    """
    installed = sorted(name for name in os.listdir(PACKAGES) if name.endswith((".dist-info", ".pth")))
    changed = int(os.stat(PACKAGES).st_mtime)
    return [sys.version, MAGIC_NUMBER.hex(), PACKAGES, str(changed), *installed]


def searched() -> list[str]:
    """Where Python looks before the image's packages, and there."""
    return sys.path[: sys.path.index(PACKAGES) + 1]


class _Loader(SourceFileLoader):
    """Loads a module as usual, but for its bytecode, which is here already."""

    def __init__(self, name: str, path: str, code: memoryview) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = marshal.loads(self._code)
        return code


class Finder:
    """Finds what the bundle has; asked before the path is searched."""

    def __init__(self, path: list[str], table: Table, codes: memoryview) -> None:
        self.path = path
        self.table = table
        self.codes = codes

    def find_spec(
        self, name: str, path: Iterable[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """The spec of a module that the bundle has, else None; `path` is that of the package it is in."""
        found = self.table.get(name)
        if found is None:
            return None
        file, package, begin, size = found
        if path is None:
            is_same = sys.path[: len(self.path)] == self.path  # nobody put something before the image's own
        else:
            is_same = next(iter(path), "") == os.path.dirname(package or file)  # of that very package
        if not is_same:
            return None
        if not size:
            return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))
        loader = _Loader(name, file, self.codes[begin : begin + size])
        inside = [package] if package else None
        return spec_from_file_location(name, file, loader=loader, submodule_search_locations=inside)


def read(place: str = PLACE) -> Finder | None:
    """What the file holds; None where it is missing, or was made for something else."""
    try:
        with open(place, "rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError):
        return None
    size = int.from_bytes(whole[:HEAD], "little")
    made_for, path, table = marshal.loads(whole[HEAD : HEAD + size])
    return Finder(path, table, whole[HEAD + size :]) if made_for == identity() else None


def write(table: Table, codes: bytes, place: str = PLACE) -> None:
    """Makes the file, for the Python and the packages of now."""
    head = marshal.dumps((identity(), searched(), table))
    with open(place, "wb") as file:
        file.write(len(head).to_bytes(HEAD, "little") + head + codes)


def use() -> bool:
    """Imports from the bundle from now on; False, and as usual, if there is none that fits."""
    finder = None if sys.flags.optimize else read()  # -O makes another bytecode
    if finder:
        sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)
    return finder is not None
