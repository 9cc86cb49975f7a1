"""Private parts of others are used in the modules `compat` only, and their versions have upper bounds."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.repository import REPO

ROOM = REPO / "src" / "flatirons" / "parallel"
BOUNDED = {"ipyparallel", "tqdm", "tornado", "dask-jobqueue", "distributed", "pyspark"}
EXTRAS = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]["optional-dependencies"]
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
