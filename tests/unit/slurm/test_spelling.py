"""By which options of sbatch a cluster takes resources: what a site may say, and what a job becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.errors import SubmitRefused
from flatirons.slurm import argv
from flatirons.slurm.model import Cluster, JobSpec
from flatirons.slurm.sizes import both
from flatirons.slurm.spelling import CPUS, GPUS, MEMORY, SETTINGS, USUAL, Spelling

JOB = JobSpec("jupyter", partition="shas", cpus=4, memory_mib=8192, gpus=2, gpu_type="v100", nodes=2)


def words(spec: JobSpec, **settings: object) -> list[str]:
    """The options for the size and the features of the job, on a cluster with these settings."""
    cluster = Cluster.of("summit", {f"sbatch_{key}": value for key, value in settings.items()})
    before = len(argv.sbatch(JobSpec("jupyter", partition=spec.partition)))
    return argv.sbatch(spec, cluster.spelling)[before:]


def test_the_usual_options_are_used_where_the_site_says_nothing() -> None:
    assert words(JOB) == ["--nodes=2", "--cpus-per-task=4", "--mem=8192M", "--gres=gpu:v100:2"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"memory": "--mem-per-cpu"}, {"--cpus-per-task=4", "--mem-per-cpu=2048M", "--gres=gpu:v100:2"}),
        ({"memory": "--mem-per-gpu"}, {"--cpus-per-task=4", "--mem-per-gpu=4096M", "--gres=gpu:v100:2"}),
        ({"memory": "none"}, {"--cpus-per-task=4", "--gres=gpu:v100:2"}),
        ({"gpus": "--gpus"}, {"--cpus-per-task=4", "--mem=8192M", "--gpus=v100:4"}),
        ({"gpus": "-G"}, {"--cpus-per-task=4", "--mem=8192M", "--gpus=v100:4"}),
        ({"gpus": ["--gpus-per-node"]}, {"--cpus-per-task=4", "--mem=8192M", "--gpus-per-node=v100:2"}),
        (
            {"gpus": "--gpus-per-task"},
            {"--ntasks=2", "--cpus-per-task=4", "--mem=8192M", "--gpus-per-task=v100:2"},
        ),
        (
            {"cpus": "--tres-per-task", "gpus": "--tres-per-task"},
            {"--ntasks=2", "--mem=8192M", "--tres-per-task=cpu=4,gres/gpu:v100=2"},
        ),
        (
            {"cpus": ["--cpus-per-task", "--cores-per-socket"]},
            {
                *("--ntasks=2", "--cpus-per-task=4", "--cores-per-socket=4", "--mem=8192M"),
                "--gres=gpu:v100:2",
            },
        ),
        (
            {"cpus": "--cores-per-socket"},
            {"--cores-per-socket=4", "--mem=8192M", "--gres=gpu:v100:2"},
        ),
        (
            {"gpus": ["--gpus", "-C"]},
            {"--constraint=v100", "--cpus-per-task=4", "--mem=8192M", "--gpus=4"},
        ),
        (
            {"gpus": ["--gpus-per-node", "-C=gpu"], "constraint": "cpu"},
            {"--constraint=gpu", "--cpus-per-task=4", "--mem=8192M", "--gpus-per-node=v100:2"},
        ),
        (
            {"constraint": "haswell"},
            {"--constraint=haswell", "--cpus-per-task=4", "--mem=8192M", "--gres=gpu:v100:2"},
        ),
    ],
)
def test_a_cluster_gets_the_options_that_it_takes(settings: dict[str, object], expected: set[str]) -> None:
    assert set(words(JOB, **settings)) == expected | {"--nodes=2"}


def test_memory_for_each_core_never_adds_up_to_more_than_was_asked_for() -> None:
    small = JobSpec("jupyter", cpus=3, memory_mib=10000)
    assert "--mem-per-cpu=3333M" in words(small, memory="--mem-per-cpu")
    several = JobSpec("jupyter", nodes=2, ntasks=4, cpus=3, memory_mib=6000)
    assert "--mem-per-cpu=1000M" in words(several, memory="--mem-per-cpu")
    assert "--mem-per-cpu=1M" in words(JobSpec("jupyter", cpus=8, memory_mib=4), memory="--mem-per-cpu")


def test_memory_for_each_core_counts_the_cpus_that_slurm_allocates() -> None:
    threads = JobSpec("jupyter", cpus=3, memory_mib=8000, cpu_step=2)
    assert "--mem-per-cpu=2000M" in words(threads, memory="--mem-per-cpu"), "Slurm allocates two cores"
    assert "--mem=8000M" in words(threads)


def test_memory_that_was_asked_for_each_core_becomes_that_of_a_node() -> None:
    per_core = JobSpec("jupyter", nodes=2, ntasks=4, cpus=3, mem_per_cpu_mib=1000)
    assert "--mem-per-cpu=1000M" in words(per_core)
    assert "--mem=6000M" in words(per_core, memory="--mem")


def test_jobs_without_gpus_get_the_features_of_all_jobs() -> None:
    settings = {"gpus": ["--gpus-per-node", "--constraint=gpu"], "constraint": "cpu"}
    assert words(JobSpec("jupyter"), **settings) == ["--constraint=cpu"]
    assert words(JobSpec("jupyter", constraint="ib"), **settings) == ["--constraint=ib&cpu"]


def test_gpus_that_tasks_cannot_share_equally_are_refused_with_the_numbers() -> None:
    with pytest.raises(SubmitRefused, match="2 can't be shared out equally among 4 tasks"):
        words(JobSpec("jupyter", gpus=2, ntasks=4), gpus="--gpus-per-task")


def test_gpus_of_the_whole_job_are_on_one_node_unless_it_asks_for_several() -> None:
    assert words(JobSpec("jupyter", gpus=2), gpus="--gpus") == ["--nodes=1", "--gpus=2"]


def test_a_partition_that_counts_no_memory_gets_no_request_for_it() -> None:
    spelling = USUAL.without_memory_in(["shas", "knl"])
    assert not [word for word in argv.sbatch(JOB, spelling) if word.startswith("--mem")]
    several = JobSpec("jupyter", partition="gpu,shas", memory_mib=100)
    assert not [word for word in argv.sbatch(several, spelling) if word.startswith("--mem")]
    assert "--mem=100M" in argv.sbatch(JobSpec("jupyter", partition="gpu", memory_mib=100), spelling)


@pytest.mark.parametrize(
    ("constraints", "together"),
    [
        (("", "gpu"), "gpu"),
        (("haswell", "gpu"), "haswell&gpu"),
        (("gpu", "gpu"), "gpu"),
        (("a|b", "gpu"), "(a&gpu)|(b&gpu)"),
        (("(a&b)|c", "gpu"), "(a&b&gpu)|(c&gpu)"),
        (("[r1|r2]", "gpu"), "[r1|r2]&gpu"),
        (("(a|b)&c", "gpu"), "(a|b)&c&gpu"),
        (("a", "x|y"), "a&(x|y)"),
    ],
)
def test_features_that_users_choose_are_demanded_together_with_the_clusters(
    constraints: tuple[str, ...], together: str
) -> None:
    assert both(*constraints) == together


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("memory", "--mem=4G"),
        ("memory", "mem-per-cpu"),
        ("cpus", "--gpus"),
        ("gpus", ["--gpus", "--gpu"]),
        ("gpus", "--constraint="),
        ("gpus", "--gpus=2"),
    ],
)
def test_other_options_are_refused_with_those_that_are_known(key: str, value: object) -> None:
    with pytest.raises(ValueError, match="is expected, not"):
        Spelling.of({f"sbatch_{key}": value})


@given(
    st.fixed_dictionaries(
        {
            SETTINGS[0]: st.sampled_from(["", *MEMORY]),
            SETTINGS[1]: st.lists(st.sampled_from(CPUS), unique=True),
            SETTINGS[2]: st.lists(st.sampled_from(GPUS), unique=True),
            SETTINGS[3]: st.sampled_from(["", "haswell"]),
        }
    ),
    st.lists(st.sampled_from(["shas", "knl"])),
)
def test_engines_read_what_the_hub_says(settings: dict[str, object], partitions: list[str]) -> None:
    spelling = Spelling.of(settings).without_memory_in(partitions)
    assert Spelling.from_text(spelling.as_text()) == spelling


@pytest.mark.parametrize("text", ["", "x", "[]", '{"cpus": 3}', '{"later": true}', "null"])
def test_a_text_of_another_release_gives_the_usual_options(text: str) -> None:
    assert Spelling.from_text(text) == USUAL
    assert USUAL.as_text() == ""
