"""How the image's servers import: the bundle gives what the path gives, and stand-ins are gone afterwards."""

from __future__ import annotations

import importlib
import marshal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

PLACE = Path(__file__).parents[2] / "images/base/settings/lib/quickstart"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A directory in which modules are found; what was imported is forgotten."""
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


@pytest.mark.parametrize(("path", "expected"), [("", "bundle"), ("/somewhere", "file")])
def test_a_pythonpath_comes_before_the_bundle(
    modules: Path, monkeypatch: pytest.MonkeyPatch, path: str, expected: str
) -> None:
    bundle = bundled(modules, "quickly", "which = 'bundle'")
    found = bundle.read(str(modules / "bundle"))
    monkeypatch.setattr(bundle, "read", lambda: found)
    monkeypatch.setenv("PYTHONPATH", path)
    bundle.use()
    assert importlib.import_module("quickly").which == expected
    bundle.stop()
    assert found not in sys.meta_path


def test_what_has_a_stand_in_is_imported_only_by_who_uses_it(
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


@pytest.mark.parametrize(
    "source", ["import heavy\nclass Own(heavy.Base): pass\n", "import heavy.other\nheavy.other.Base\n"]
)
def test_a_stand_in_that_is_used_at_once_gives_way_with_all_of_its_package(
    modules: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    later = importlib.import_module("flatirons_start.later")
    (modules / "heavy").mkdir()
    (modules / "heavy/__init__.py").write_text("from heavy.part import Failure\nclass Base: pass\n")
    (modules / "heavy/part.py").write_text("class Failure(Exception): pass\n")
    (modules / "heavy/other.py").write_text("from heavy import Base\n")
    (modules / "user.py").write_text(source)
    monkeypatch.setattr(later, "STAND_INS", {"heavy": {}, "heavy.part": {"Failure": later._NeverRaised}})
    with later.stand_ins():
        importlib.import_module("user")
    assert sys.modules["heavy"].Failure is sys.modules["heavy.part"].Failure is not later._NeverRaised
