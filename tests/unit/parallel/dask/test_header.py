"""The log files of Dask's workers, in homes with unusual names."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from dask_jobqueue.slurm import SLURMJob

from flatirons.parallel.dask import compat
from flatirons.parallel.dask.header import quote_log_files

HOMES = ["ann smith", "o'brien", '"x"', "100%j", "a,b:c#d", "münchen 🙂", "$HOME`id`"]


def followed() -> Any:
    """dask_jobqueue's class of jobs, changed as in a notebook."""
    kind = type("Followed", (SLURMJob,), {"job_script": SLURMJob.job_script})
    for _ in range(2):  # a second cluster changes nothing
        compat.change_headers(kind, quote_log_files)
    return kind


def make_script(directory: Path) -> list[str]:
    job = followed()("tls://10.0.0.7:1", name="x", cores=1, memory="1GiB", log_directory=str(directory))
    first: str = job.job_script()
    assert job.job_script() == first
    return first.split("\n")


def directives(lines: list[str], option: str) -> list[str]:
    return [line for line in lines if line.startswith(f"#SBATCH {option} ")]


@pytest.mark.parametrize("home", HOMES)
def test_a_workers_logs_are_one_word_for_sbatch(home: str, tmp_path: Path) -> None:
    directory = tmp_path / home / "log"
    lines = make_script(directory)
    assert directory.is_dir()
    for option, ending in (("-o", "out"), ("-e", "err")):
        [line] = directives(lines, option)
        # shlex has the rules of sbatch for a word in double quotes
        assert shlex.split(line)[1:] == [
            option,
            f"{str(directory).replace('%', '%%')}/dask-worker-%J.{ending}",
        ]


def test_an_ordinary_path_stays_as_dask_writes_it(tmp_path: Path) -> None:
    assert f"#SBATCH -o {tmp_path}/dask-worker-%J.out" in make_script(tmp_path)


def test_logs_that_sbatch_cannot_name_are_opened_by_the_job(tmp_path: Path) -> None:
    directory = tmp_path / r"DOM\ann 'x'"
    lines = make_script(directory)
    assert [*directives(lines, "-o"), *directives(lines, "-e")] == [
        "#SBATCH -o /dev/null",
        "#SBATCH -e /dev/null",
    ]
    opening = [line for line in lines if line.startswith("exec ")]
    script = "\n".join([*opening, "echo out", "echo err >&2"])
    subprocess.run(["bash", "-c", script], env={"SLURM_JOB_ID": "12"}, check=True)
    assert (directory / "dask-worker-12.out").read_text() == "out\n"
    assert (directory / "dask-worker-12.err").read_text() == "err\n"
    assert lines.index(opening[0]) > max(i for i, line in enumerate(lines) if line.startswith("#SBATCH"))


def test_without_a_log_directory_nothing_is_changed() -> None:
    job = followed()("tls://10.0.0.7:1", name="x", cores=1, memory="1GiB")
    assert not directives(job.job_script().split("\n"), "-o")
