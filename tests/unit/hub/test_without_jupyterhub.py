"""Flatirons as `pip install flatirons` installs it, without the extra `hub`."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.repository import REPO

SITE = """
[hub]
address = "http://localhost:8081"
state_dir = "{state}"
account = "root"
[proxy]
command = ["/no/proxy"]
[clusters.summit]
[environments.python]
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


def needed(names: list[str]) -> Iterator[Distribution]:
    """The distributions of these names and of all that they require."""
    wanted, known = [Requirement(name) for name in names], set[str]()
    while wanted:
        requirement = wanted.pop()
        if requirement.name in known or (
            requirement.marker and not requirement.marker.evaluate({"extra": ""})
        ):
            continue
        known.add(requirement.name)
        found = distribution(requirement.name)
        yield found
        wanted += map(Requirement, found.requires or ())


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with Flatirons and what its distribution requires, and nothing else."""
    place = tmp_path_factory.mktemp("packages")
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    for found in needed(project["dependencies"]):
        for file in found.files or ():
            top = file.parts[0]
            if top != ".." and not (place / top).exists():
                (place / top).symlink_to(Path(str(found.locate_file(top))))
    (place / "flatirons").symlink_to(REPO / "src" / "flatirons")
    (place / "flatirons-9.8.7.dist-info").mkdir()
    (place / "flatirons-9.8.7.dist-info" / "METADATA").write_text("Name: flatirons\nVersion: 9.8.7\n")
    return place


@pytest.fixture
def flatirons(packages: Path, tmp_path: Path) -> Run:
    """Runs the command in that environment, with a small site file."""
    site = tmp_path / "site.toml"
    site.write_text(SITE.format(state=tmp_path / "state"))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        start = (
            "import sys; sys.path[:0] = [sys.argv.pop(1)]; from flatirons.cli import main; sys.exit(main())"
        )
        argv = [sys.executable, "-I", "-S", "-c", start, str(packages), *words]
        environment = {"FLATIRONS_SITE": str(site), "PATH": "/usr/bin:/bin"}
        return subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=60)

    return run


def test_the_version_is_that_of_the_distribution(flatirons: Run) -> None:
    assert flatirons("--version").stdout == "flatirons 9.8.7\n"


def test_check_checks_the_rest_and_says_what_it_could_not_check(flatirons: Run, tmp_path: Path) -> None:
    done = flatirons("check")
    assert (done.returncode, "no mistakes found" in done.stdout) == (0, True), done.stderr
    assert "warning: login.authenticator: not checked, because JupyterHub isn't installed here" in done.stderr
    site = tmp_path / "site.toml"
    site.write_text(site.read_text() + "clusters = ['sumit']\n")
    done = flatirons("check")
    assert done.returncode == 2
    assert "environments.python.clusters: 'sumit' is none of summit" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "more", "sentence"),
    [
        ("hub", "", "flatirons: The hub needs JupyterHub, which isn't installed here. Install it: "),
        ("proxy", "", "flatirons: /no/proxy can't be run: No such file or directory. Install it with npm"),
        (
            "proxy",
            "tls",
            "flatirons: With hub.internal_tls the proxy needs JupyterHub, which isn't installed",
        ),
    ],
)
def test_a_command_that_cannot_run_says_in_one_sentence_what_to_install(
    flatirons: Run, tmp_path: Path, command: str, more: str, sentence: str
) -> None:
    if more:
        site = tmp_path / "site.toml"
        text = site.read_text().replace("http://", "https://").replace("[hub]", "[hub]\ninternal_tls = true")
        site.write_text(text.replace("[proxy]", "[proxy]\napi = 'https://127.0.0.1:8001'"))
    done = flatirons(command)
    assert done.returncode == 2
    assert done.stderr.startswith(sentence)
    assert len(done.stderr.splitlines()) == 1
    assert "npm" in done.stderr or f"{sys.executable} -m pip install 'flatirons[hub]'" in done.stderr


def test_commands_that_need_no_hub_work(flatirons: Run) -> None:
    for words in (["render", "sudoers"], ["schema"], ["images", "list"], ["notebook", "--help"]):
        done = flatirons(*words)
        assert done.returncode == 0, done.stderr
