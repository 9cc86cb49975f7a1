"""How the image's servers import: from the bundle as from the path; stand-ins are removed afterwards."""

from __future__ import annotations

import importlib
import marshal
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.repository import REPO

PLACE = REPO / "images/base/settings/lib/quickstart"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A directory on the path of modules; what the test imports is removed afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(PLACE)
    before, path = dict(sys.modules), list(sys.meta_path)
    yield tmp_path
    for name in sys.modules.keys() - before.keys():
        del sys.modules[name]
    sys.meta_path[:] = path


def bundled(place: Path, name: str, source: str) -> ModuleType:
    """The module that makes bundles, and a bundle of one module, whose file says something else."""
    bundle = importlib.import_module("flatirons_start.bundle")
    (place / f"{name}.py").write_text("which = 'file'\n")
    code = marshal.dumps(compile(source, str(place / f"{name}.py"), "exec"))
    bundle.write({name: (str(place / f"{name}.py"), "", 0, len(code))}, code, str(place / "bundle"))
    return bundle


def test_a_module_of_the_bundle_has_the_bundles_bytecode_and_its_own_file(modules: Path) -> None:
    bundle = bundled(modules, "quickly", "which = 'bundle'")
    sys.meta_path.insert(0, bundle.read(str(modules / "bundle")))
    module = importlib.import_module("quickly")
    assert (module.which, module.__file__) == ("bundle", str(modules / "quickly.py"))
    assert module.__loader__.get_source("quickly") == "which = 'file'\n"


def test_a_bundle_counts_only_for_the_packages_that_it_was_made_for(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundled(modules, "quickly", "which = 'bundle'")
    assert bundle.read(str(modules / "bundle"))
    monkeypatch.setattr(bundle, "identity", lambda: ["another"])
    assert bundle.read(str(modules / "bundle")) is None
    assert bundle.read(str(modules / "none")) is None


def test_a_second_installation_of_the_same_version_makes_a_bundle_invalid(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("flatirons_start.bundle"), "PACKAGES", str(modules))
    bundled(modules, "quickly", "which = 'bundle'")
    bundle = bundled(modules, "quickly", "which = 'bundle'")  # makes no new file
    assert bundle.read(str(modules / "bundle"))
    os.utime(modules, (1, 1))
    assert bundle.read(str(modules / "bundle")) is None


@pytest.mark.parametrize(("at", "expected"), [(0, "file"), (9999, "bundle")])
def test_directories_before_the_images_packages_come_first(
    modules: Path, monkeypatch: pytest.MonkeyPatch, at: int, expected: str
) -> None:
    bundle = bundled(modules, "quickly", "which = 'bundle'")
    found = bundle.read(str(modules / "bundle"))
    monkeypatch.setattr(bundle, "read", lambda: found)
    assert bundle.use()
    sys.path.insert(at, str(modules / "somewhere"))
    assert importlib.import_module("quickly").which == expected


def test_a_module_of_another_package_of_that_name_is_not_the_bundles(modules: Path) -> None:
    bundle = importlib.import_module("flatirons_start.bundle")
    code = marshal.dumps(compile("", "", "exec"))
    table = {"outer.inner": (str(modules / "outer/inner.py"), "", 0, len(code))}
    bundle.write(table, code, str(modules / "bundle"))
    found = bundle.read(str(modules / "bundle"))
    assert found.find_spec("outer.inner", [str(modules / "outer")])
    assert found.find_spec("outer.inner", [str(modules / "elsewhere/outer")]) is None


def test_a_module_with_a_stand_in_is_imported_when_it_is_used(
    modules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = importlib.import_module("flatirons_start.later")
    (modules / "heavy").mkdir()
    (modules / "heavy/__init__.py").write_text("weight = 1\n")
    (modules / "heavy/part.py").write_text("class Failure(Exception): pass\n")
    (modules / "light.py").write_text("import heavy\nfrom heavy.part import Failure\n")
    stand_ins = {"heavy": {}, "heavy.part": {"Failure": later._NeverRaised}}
    monkeypatch.setattr(later, "STAND_INS", stand_ins)
    with later.stand_ins():
        light = importlib.import_module("light")
    assert "heavy" not in sys.modules and light.Failure is later._NeverRaised
    assert light.heavy.weight == 1  # imports it
    assert importlib.import_module("heavy.part").Failure is not later._NeverRaised


@pytest.mark.parametrize("source", ["from heavy import Base\n", "import heavy.other\n"])
def test_a_build_fails_whose_server_wants_more_of_a_stand_in_than_there_is(
    modules: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    later = importlib.import_module("flatirons_start.later")
    (modules / "user.py").write_text(source)
    monkeypatch.setattr(later, "STAND_INS", {"heavy": {}})
    with pytest.raises(ImportError), later.stand_ins():
        importlib.import_module("user")
    assert "heavy" not in sys.modules
