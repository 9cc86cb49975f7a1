"""The environment in which a notebook's engines and workers run: their job's shell, and their container."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from flatirons.environments.catalogue import NODES_OWN
from flatirons.parallel.container import login_lines, task_container
from flatirons.parallel.login_environment import PROFILE_ENDED

# Runs a command as a container does, with the environment that it got.
CONTAINER = {"FLATIRONS_CONTAINER": json.dumps(["env", "IN_CONTAINER=1"])}


def environment(argv: list[str], given: dict[str, str]) -> dict[str, str]:
    """The environment of a command that is started with `given`."""
    done = subprocess.run(
        [*argv, "/usr/bin/env", "-0"], env={"PATH": "/usr/bin:/bin", **given}, capture_output=True, check=True
    )
    return dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0")[:-1])


def test_what_a_task_prolog_sets_for_the_nodes_own_software_does_not_reach_the_container() -> None:
    prolog = {**dict.fromkeys(NODES_OWN, "/opt/site"), "OMP_NUM_THREADS": "2"}
    seen = environment(task_container(CONTAINER, {}), prolog)
    assert seen["IN_CONTAINER"] == "1" and seen["OMP_NUM_THREADS"] == "2"
    assert not seen.keys() & set(NODES_OWN)


def test_what_the_user_sets_for_a_task_takes_precedence_over_a_task_prolog() -> None:
    mine = {"PYTHONPATH": '/home/ann smith/"lib"', "OTHER": "x"}
    seen = environment(
        task_container(CONTAINER, mine), {"PYTHONPATH": "/opt/site", "PYTHONHOME": "/opt/site"}
    )
    assert seen["PYTHONPATH"] == mine["PYTHONPATH"]
    assert "PYTHONHOME" not in seen and "OTHER" not in seen


def test_without_a_container_a_task_keeps_what_the_site_sets() -> None:
    assert task_container({}, {"PYTHONPATH": "/mine"}) == []


def run(lines: str, profile: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs `lines` as a job script does, on a node with this /etc/profile."""
    file = folder / "profile"
    file.write_text(profile)
    script = lines.replace("/etc/profile ]", f"{file} ]").replace(". /etc/profile", f". {file}")
    return subprocess.run(["bash", "-s"], input=script, capture_output=True, text=True, cwd=folder)


@pytest.mark.parametrize("profile", ["exit 0", "exit 3", "set -e; false", "cd /; exit 1"])
def test_a_profile_that_ends_the_script_is_told_from_the_program(profile: str, tmp_path: Path) -> None:
    done = run(login_lines(CONTAINER) + "echo engines\n", profile, tmp_path)
    assert (done.returncode, done.stdout) == (PROFILE_ENDED, "")
    assert "/etc/profile ended this job script with exit code" in done.stderr or str(tmp_path) in done.stderr


@pytest.mark.parametrize("profile", ["cd /", "set -eu", "IFS=/", "trap 'echo left' EXIT"])
def test_what_a_profile_does_to_its_shell_does_not_reach_the_program(profile: str, tmp_path: Path) -> None:
    lines = 'false; path=a/b; for word in $path; do echo "$word$UNSET"; done; pwd\n'
    done = run(login_lines(CONTAINER) + lines, profile, tmp_path)
    assert (done.returncode, done.stdout) == (0, f"a/b\n{tmp_path}\n")


def test_the_end_of_the_program_is_not_blamed_on_the_profile(tmp_path: Path) -> None:
    done = run(login_lines(CONTAINER) + "exit 5\n", "true", tmp_path)
    assert (done.returncode, done.stderr) == (5, "")


def test_engines_know_the_image_of_their_notebook(tmp_path: Path) -> None:
    image = "/srv/a b/it's.sif"
    notebook = {"CONTAINER_PATH": image, "FLATIRONS_IMAGE": image, "FLATIRONS_JOB": "{}"}
    lines = login_lines(notebook) + "/usr/bin/env -0\n"
    seen = dict(entry.split("=", 1) for entry in run(lines, "true", tmp_path).stdout.split("\0")[:-1])
    assert seen["CONTAINER_PATH"] == seen["FLATIRONS_IMAGE"] == image
    assert "FLATIRONS_JOB" not in seen
