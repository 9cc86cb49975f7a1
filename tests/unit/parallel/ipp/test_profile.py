"""The profile `slurm`."""

from __future__ import annotations

import errno
import os
import re
from importlib.resources import files
from pathlib import Path

import pytest
from traitlets.config import PyFileConfigLoader

from flatirons.parallel.ipp import profile
from flatirons.parallel.ipp.launcher import FlatironsEngineSetLauncher
from flatirons.parallel.options import NAMES
from tests.repository import REPO


def test_it_chooses_our_launchers(tmp_path: Path) -> None:
    file = profile.create(str(tmp_path))
    config = PyFileConfigLoader(str(file)).load_config()
    assert file == tmp_path / "profile_slurm" / "ipcluster_config.py"
    assert config.Cluster.engine_launcher_class == config.Cluster.controller_launcher_class == "flatirons"


def test_it_lists_every_option(tmp_path: Path) -> None:
    text = profile.create(str(tmp_path)).read_text().replace("# c.", "c.")
    (tmp_path / "all.py").write_text(text)
    config = PyFileConfigLoader(str(tmp_path / "all.py")).load_config()
    assert set(config.FlatironsEngineSetLauncher) == set(NAMES)
    launcher = FlatironsEngineSetLauncher(config=config)
    assert launcher.engine_options().runtime == 120
    assert launcher.engine_options().memory == 4096


def test_the_how_to_lists_every_option() -> None:
    page = (REPO / "docs" / "how-to" / "parallel.md").read_text()
    table = page.partition("| keyword |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", "".join(row.split("|")[1] for row in table.splitlines()[1:]))) == {
        "n",
        *NAMES,
    }


def test_what_a_user_changed_stays(tmp_path: Path) -> None:
    file = profile.create(str(tmp_path))
    file.write_text("# mine\n")
    assert profile.create(str(tmp_path)).read_text() == "# mine\n"
    assert [each.name for each in file.parent.iterdir()] == ["ipcluster_config.py"]


def test_a_home_directory_needs_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*names: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    assert profile.create(str(tmp_path)).is_file()


def test_the_environments_file_makes_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    code = (files("flatirons.parallel") / "etc" / "ipython" / "ipcluster_config.py").read_text()
    exec(code, {"get_config": None})
    assert (tmp_path / "profile_slurm" / "ipcluster_config.py").is_file()


def test_a_home_that_is_full_or_read_only_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "profile_slurm").write_text("a file where a folder should be")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    code = (files("flatirons.parallel") / "etc" / "ipython" / "ipcluster_config.py").read_text()
    exec(code, {"get_config": None})
