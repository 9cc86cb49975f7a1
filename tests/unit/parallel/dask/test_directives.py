"""The job scripts of dask_jobqueue, with the options of sbatch that the cluster takes."""

from __future__ import annotations

import pytest

from flatirons.parallel.dask.directives import respelled
from flatirons.slurm.spelling import USUAL, Spelling

SCRIPT = """\
#!/usr/bin/env bash

#SBATCH -J dask-worker
#SBATCH -p shas
#SBATCH -n 1
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH -t 01:00:00
#SBATCH --qos=normal
export A=1
python -m distributed.cli.dask_worker --memory-limit 8GiB --mem=1
"""


def added(spelling: Spelling, script: str = SCRIPT) -> list[str]:
    before, after = script.splitlines(), respelled(script, spelling).splitlines()
    assert [line for line in after if not line.startswith("#SBATCH")] == [
        line for line in before if not line.startswith("#SBATCH")
    ]
    return [line.removeprefix("#SBATCH ") for line in after if line not in before]


def test_a_script_stays_as_it_is_where_the_usual_options_are_taken() -> None:
    assert respelled(SCRIPT, USUAL) == SCRIPT


@pytest.mark.parametrize(
    ("spelling", "options"),
    [
        (Spelling(memory="--mem-per-cpu"), ["--mem-per-cpu=2048M"]),
        (Spelling(memory="none"), []),
        (USUAL.without_memory_in(["shas"]), []),
        (USUAL.without_memory_in(["knl"]), ["--mem=8192M"]),
        (Spelling(cpus=("--tres-per-task",)), ["--mem=8192M", "--tres-per-task=cpu=4"]),
        (Spelling(features="haswell", memory="none"), ["--constraint=haswell"]),
    ],
)
def test_cores_and_memory_are_put_as_the_cluster_takes_them(spelling: Spelling, options: list[str]) -> None:
    assert added(spelling) == options


def test_no_memory_is_left_where_the_cluster_counts_none() -> None:
    assert "#SBATCH --mem" not in respelled(SCRIPT, USUAL.without_memory_in(["shas"]))
    users = SCRIPT.replace("#SBATCH --mem=8G", "#SBATCH --mem-per-cpu 2G")
    assert "#SBATCH --mem" not in respelled(users, USUAL.without_memory_in(["shas"]))


def test_the_users_own_features_are_kept() -> None:
    users = SCRIPT.replace("#SBATCH --qos=normal", '#SBATCH -C "ib"')
    assert added(Spelling(features="haswell", memory="none"), users) == ["--constraint=ib&haswell"]


def test_an_amount_that_cannot_be_read_is_left_to_sbatch() -> None:
    users = SCRIPT.replace("--mem=8G", "--mem=lots")
    assert respelled(users, Spelling(memory="--mem-per-cpu")) == users
