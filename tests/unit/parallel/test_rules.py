"""Rules of this room: private parts of others only in `compat`, upper bounds for them, unique names."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.repository import REPO

SOURCE = REPO / "src" / "flatirons"
ROOM = SOURCE / "parallel"
BOUNDED = {"ipyparallel", "tqdm", "traitlets", "tornado", "dask-jobqueue", "distributed", "pyspark"}
EXTRAS = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["optional-dependencies"]
CONFIGURATION = ROOM / "etc" / "jupyter" / "jupyter_server_config.py"
LOCKS = ("images/base/requirements.txt", "images/pyspark/requirements.txt", "requirements-dev.txt")


def private_parts(file: Path) -> list[str]:
    """Private attributes of other objects than `self` and `cls`, as `client._engines`."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr):
            of = ast.unparse(node.value)
            if not re.fullmatch(r"self|cls|super\(\)|os", of):
                found.append(f"{of}.{node.attr}")
    return found


@pytest.mark.parametrize("file", sorted(ROOM.rglob("*.py")), ids=lambda file: str(file.relative_to(ROOM)))
def test_only_compat_uses_private_parts_of_others(file: Path) -> None:
    if file.name == "compat.py":
        return
    assert private_parts(file) == []


def bounds() -> dict[str, Requirement]:
    requirements = [Requirement(each) for room in ("parallel", "dask", "spark") for each in EXTRAS[room]]
    return {each.name: each for each in requirements if each.name in BOUNDED}


def test_each_package_with_private_parts_that_we_use_has_an_upper_bound() -> None:
    assert set(bounds()) == BOUNDED
    for each in bounds().values():
        assert any(one.operator == "<" for one in each.specifier), each


@pytest.mark.parametrize("lock", LOCKS)
def test_the_versions_in_the_images_and_in_the_tests_are_within_the_bounds(lock: str) -> None:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", (REPO / lock).read_text(), re.MULTILINE))
    known = BOUNDED & set(pinned)
    assert known
    for name in known:
        assert bounds()[name].specifier.contains(pinned[name]), (name, pinned[name])


def test_the_tests_have_the_same_versions_as_the_images() -> None:
    base, ours = (
        dict(re.findall(r"^([\w.-]+)==(\S+)", (REPO / lock).read_text(), re.MULTILINE))
        for lock in (LOCKS[0], LOCKS[2])
    )
    for name in BOUNDED & set(ours):
        assert base[name] == ours[name], name


def classes(folder: Path) -> list[tuple[str, str]]:
    """(name, module) of each class below a folder."""
    return [
        (node.name, str(file.relative_to(SOURCE)))
        for file in sorted(folder.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
    ]


def test_no_class_of_this_room_has_the_name_of_another_class_of_the_package() -> None:
    modules: dict[str, set[str]] = {}
    for name, module in classes(SOURCE):
        modules.setdefault(name, set()).add(module)
    assert not {name: modules[name] for name, _ in classes(ROOM) if len(modules[name]) > 1}


def test_what_every_jupyter_server_imports_of_this_room_is_light() -> None:
    imports = [line for line in CONFIGURATION.read_text().splitlines() if line.startswith("from flatirons")]
    code = "\n".join([*imports, "import sys", "print(*sys.modules)"])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(REPO / "src"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"flatirons.slurm", "ipyparallel", "IPython", "dask", "distributed", "cryptography", "pydantic"}
    assert not heavy & set(done.stdout.split())
