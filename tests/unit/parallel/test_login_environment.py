"""The environment of a notebook without the variables of its job."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from flatirons.parallel import login_environment

JOB = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURMD_NODENAME": "n1", "PMIX_RANK": "0", "SRUN_DEBUG": "3"}
KEPT = {"SLURM_CONF": "/etc/slurm.conf", "SLURM_JWT": "x", "PATH": "/bin", "SBATCH_ACCOUNT": "mine"}


def test_the_jobs_variables_are_removed_and_those_that_lead_to_slurm_stay() -> None:
    environ = {**JOB, **KEPT}
    login_environment.hide_job(environ)
    assert {name: environ[name] for name in environ if not name.startswith("FLATIRONS")} == KEPT
    assert environ["FLATIRONS_JOB_ID"] == "7"
    assert json.loads(environ["FLATIRONS_JOB"]) == JOB
    assert login_environment.job_environment(environ).items() >= {**JOB, **KEPT}.items()


def test_a_second_time_changes_nothing() -> None:
    environ = {**JOB, **KEPT}
    login_environment.hide_job(environ)
    once = dict(environ)
    login_environment.hide_job(environ)
    assert environ == once


def test_a_job_that_was_submitted_from_a_notebook_has_its_own_variables() -> None:
    environ = {**JOB}
    login_environment.hide_job(environ)
    later = {**environ, "SLURM_JOB_ID": "8"}
    assert login_environment.job_environment(later) == later


def test_outside_of_a_job_nothing_is_kept() -> None:
    environ = dict(KEPT)
    login_environment.hide_job(environ)
    assert environ == KEPT == login_environment.job_environment(environ)


@pytest.mark.parametrize("text", ["{", "[]", "3"])
def test_saved_variables_that_cannot_be_read_are_ignored(text: str) -> None:
    assert login_environment.job_environment({"FLATIRONS_JOB": text}) == {"FLATIRONS_JOB": text}


def test_a_command_can_be_started_without_the_jobs_variables() -> None:
    assert login_environment.env_command({"SLURM_JOB_ID": "7", "SLURM_CONF": "x", "A": "b"}) == [
        "env",
        "--unset=SLURM_JOB_ID",
    ]


def test_a_server_hides_its_job_when_it_reads_its_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    for name, text in JOB.items():
        monkeypatch.setenv(name, text)
    for name in ("FLATIRONS_JOB", "FLATIRONS_JOB_ID"):
        monkeypatch.setenv(name, "")  # so that it is restored
    code = (files("flatirons.parallel") / "etc" / "jupyter" / "jupyter_server_config.py").read_text()
    space: dict[str, object] = {}
    exec(code, space)
    import os

    assert not set(JOB) & set(os.environ)
    assert os.environ["FLATIRONS_JOB_ID"] == "7"
    assert (tmp_path / "profile_slurm" / "ipcluster_config.py").is_file()
