"""The modules that run in an image find their imports there: Flatirons is installed without dependencies."""

from __future__ import annotations

import re
import sys
from importlib.metadata import packages_distributions

from tests.repository import REPO
from tests.unit.test_rooms import code_of, imports, modules


def held_by(*images: str) -> set[str]:
    """The distributions in the images' lock files."""
    locks = [(REPO / "images" / image / "requirements.txt").read_text() for image in images]
    return {name.lower() for lock in locks for name in re.findall(r"^[\w.-]+", lock, re.MULTILINE)}


def reached_from(room: str) -> set[str]:
    """The full names of all direct and indirect imports of a room's modules."""
    known, names = set(modules()), set[str]()
    due = {module for module in known if module == room or module.startswith(f"{room}.")}
    seen: set[str] = set()
    while due:
        module = due.pop()
        seen.add(module)
        for name in imports(code_of(module)):
            names.add(name)
            parts = name.removeprefix("flatirons.").split(".") if name.startswith("flatirons.") else []
            due |= {".".join(parts[:size]) for size in range(1, len(parts) + 1)} & known - seen
    return names


def test_parallel_imports_only_what_the_images_hold() -> None:
    held, distributions = held_by("base", "pyspark"), packages_distributions()
    packages = {name.partition(".")[0] for name in reached_from("parallel")} - {"flatirons"}
    missing = {
        package
        for package in packages - set(sys.stdlib_module_names)
        if not held & {name.lower().replace("_", "-") for name in distributions.get(package, [package])}
    }
    assert "ipyparallel" in packages
    assert not missing
