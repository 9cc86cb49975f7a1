"""What is in the archives that people install."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.repository import REPO

PACKAGES = ("flatirons", "optionsspawner")


def build(target: str, source: Path, into: Path, panel: str = "none") -> Path:
    """The archive that hatchling makes of a source tree, with the compiled panel in this directory."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(into)]
    env = {**os.environ, "FLATIRONS_PANEL": panel}
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120, env=env)
    [archive] = into.iterdir()
    return archive


def contents(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as opened:
        return sorted(name for name in opened.namelist() if name.partition("/")[0] in PACKAGES)


def is_source(file: Path) -> bool:
    return file.is_file() and "__pycache__" not in file.parts


def test_a_wheel_holds_every_file_also_if_it_is_built_from_a_source_archive(tmp_path: Path) -> None:
    packages = [REPO / "src" / name for name in PACKAGES]
    packages += [REPO / "src" / "flatirons" / "deploy"]  # a link, which rglob doesn't follow
    files = [file for package in packages for file in package.rglob("*") if is_source(file)]
    expected = sorted({str(file.relative_to(REPO / "src")) for file in files})
    assert contents(build("wheel", REPO, tmp_path / "wheel")) == expected
    with tarfile.open(build("sdist", REPO, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    [source] = (tmp_path / "source").iterdir()
    assert contents(build("wheel", source, tmp_path / "wheel of source")) == expected


def test_a_wheel_ships_the_compiled_panel_where_jupyterlab_looks(tmp_path: Path) -> None:
    panel = tmp_path / "panel"
    (panel / "static").mkdir(parents=True)
    for name in ("package.json", "static/style.js"):
        (panel / name).write_text("{}")
    wheel = build("wheel", REPO, tmp_path / "wheel", str(panel))
    with zipfile.ZipFile(wheel) as opened:
        shipped = {name.partition("/data/")[2] for name in opened.namelist() if "labextensions" in name}
    place = "share/jupyter/labextensions/flatirons"
    assert shipped == {f"{place}/package.json", f"{place}/static/style.js"}


def test_a_directory_that_is_no_compiled_panel_is_refused(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        build("wheel", REPO, tmp_path / "wheel", str(tmp_path))
    assert b"isn't a compiled JupyterLab panel" in refused.value.stderr
