"""Command lines: what each field becomes, and that no value can become anything else."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flatirons.slurm import argv
from flatirons.slurm.model import JobSpec

FULL = JobSpec(
    name="jupyter",
    comment="flatirons:abc:1:",
    partition="shas",
    account="ucb-general",
    qos="normal",
    reservation="workshop",
    nodes=2,
    ntasks=4,
    ntasks_per_node=2,
    cpus=3,
    memory_mib=4096,
    gpus=2,
    gpu_type="v100",
    runtime_minutes=90,
    constraint="haswell&ib",
    chdir="/home/alice",
    output="/home/alice/log",
    extra=("--signal=B:TERM@60",),
)
TEXTS = [
    "name",
    "comment",
    "partition",
    "account",
    "qos",
    "reservation",
    "constraint",
    "chdir",
    "output",
]
COUNTS = list(argv.SIZES)


def test_a_full_job_becomes_this_command_line() -> None:
    assert argv.sbatch(FULL) == [
        "sbatch",
        "--parsable",
        "--export=NIL",
        "--propagate=NONE",
        "--no-requeue",
        "--job-name=jupyter",
        "--comment=flatirons:abc:1:",
        "--partition=shas",
        "--account=ucb-general",
        "--qos=normal",
        "--reservation=workshop",
        "--constraint=haswell&ib",
        "--chdir=/home/alice",
        "--output=/home/alice/log",
        "--nodes=2",
        "--ntasks=4",
        "--ntasks-per-node=2",
        "--cpus-per-task=3",
        "--mem=4096M",
        "--time=90",
        "--gres=gpu:v100:2",
        "--signal=B:TERM@60",
    ]


def test_what_a_job_does_not_give_is_left_to_slurm() -> None:
    assert argv.sbatch(JobSpec("jupyter")) == [
        "sbatch",
        "--parsable",
        "--export=NIL",
        "--propagate=NONE",
        "--no-requeue",
        "--job-name=jupyter",
    ]


def test_every_field_of_a_job_changes_the_command_line() -> None:
    for field in fields(JobSpec):
        if field.name in ("mem_per_cpu_mib", "cpu_step"):  # these count where memory is asked for each core
            continue
        without = "" if field.name == "name" else field.default
        assert argv.sbatch(replace(FULL, **{field.name: without})) != argv.sbatch(FULL), field.name


def test_gpus_of_any_type_can_be_asked_for() -> None:
    assert "--gres=gpu:1" in argv.sbatch(JobSpec("jupyter", gpus=1))


def test_a_test_run_differs_from_a_submission_by_one_option() -> None:
    real, test = argv.sbatch(FULL), argv.sbatch(FULL, test_only=True)
    assert [word for word in test if word != "--test-only"] == real


@pytest.mark.parametrize("field", TEXTS)
@given(value=st.text(min_size=1))
def test_no_text_can_become_another_word_or_option(field: str, value: str) -> None:
    try:
        line = argv.sbatch(replace(JobSpec("x"), **{field: value}))
    except ValueError:
        assert any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in value)
        return
    base = argv.sbatch(JobSpec("x"))
    added = [word for word in line if word not in base]
    assert len(added) <= 1
    assert all(word.partition("=")[2] == value and word.startswith("--") for word in added)
    assert len(line) == len(base) + (field != "name")


@pytest.mark.parametrize("field", TEXTS)
@pytest.mark.parametrize("letter", ["\n", "\0", "\x1b", "\r", "\x7f", "\x85", "\ud800"])
def test_control_characters_are_refused(field: str, letter: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        argv.sbatch(replace(JobSpec("x"), **{field: f"a{letter}b"}))


@pytest.mark.parametrize("field", COUNTS)
@pytest.mark.parametrize("value", [-1, True, 1.5, "2", "1; reboot"])
def test_only_whole_numbers_from_one_are_accepted(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        argv.sbatch(replace(JobSpec("x"), **{field: value}))  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("extra", ["script.sh", "", "-", "--", "--wrap=a\nb"])
def test_an_extra_that_is_not_an_option_is_refused(extra: str) -> None:
    with pytest.raises(ValueError, match=r"option|control"):
        argv.sbatch(JobSpec("x", extra=(extra,)))


@pytest.mark.parametrize("job_id", [0, -1, True, "1", "1 --user=bob", None])
def test_only_a_job_id_can_be_cancelled_or_asked_for(job_id: object) -> None:
    for build in (argv.scancel, lambda one: argv.squeue_job("ab", one), lambda one: argv.sacct([one])):
        with pytest.raises(ValueError, match="whole number"):
            build(job_id)  # type: ignore[operator]  # the mistake


def test_cancelling_and_signalling_become_these_command_lines() -> None:
    assert argv.scancel(12) == ["scancel", "12"]
    assert argv.scancel(12, "TERM") == ["scancel", "--signal=TERM", "--batch", "12"]
    assert argv.scancel_named("check-1a") == ["scancel", "--quiet", "--me", "--name=check-1a"]


def test_srun_gets_the_options_of_sbatch_and_a_limit_to_its_wait() -> None:
    line = argv.srun(FULL, wait_seconds=60)
    assert line[:3] == ["srun", "--quiet", "--immediate=60"]
    assert set(line[3:]) <= set(argv.sbatch(FULL))
    assert "--partition=shas" in line and "--gres=gpu:v100:2" in line
    with pytest.raises(ValueError, match="wait_seconds"):
        argv.srun(FULL, wait_seconds=0)


@given(st.text(min_size=1))
def test_a_mark_is_hexadecimal(mark: str) -> None:
    assume(not set(mark) <= set("0123456789abcdef"))
    with pytest.raises(ValueError, match="mark"):
        argv.squeue_jobs(mark)


def test_squeue_prints_whole_fields_with_the_mark_between_them() -> None:
    line = argv.squeue_jobs("ab12", user="alice", names=["a", "b"])
    assert line[:5] == ["squeue", "--all", "--local", "--states=all", "--sort=i"]
    assert line[5].startswith("--Format=JobID:0|ab12|,State:0|ab12|,UserName:0|ab12|,")
    assert line[5].endswith(",Name:0|ab12|,Comment:0|ab12#")
    assert line[6:] == ["--user=alice", "--name=a,b"]


def test_sacct_is_asked_for_several_jobs_of_any_user_at_once() -> None:
    assert argv.sacct([1, 2]) == [
        "sacct",
        "--allusers",
        "--noheader",
        "--parsable2",
        "--noconvert",
        "--format=JobIDRaw,State,ExitCode,ElapsedRaw,MaxRSS,ReqMem,NodeList,AllocCPUS,TotalCPU,NNodes,User,Submit",
        "--jobs=1,2",
    ]


WAITING = JobSpec("jupyter", partition="sknl", account="knl", runtime_minutes=240, memory_mib=1024)


@pytest.mark.parametrize(
    ("change", "settings"),
    [
        ({}, {}),
        ({"runtime_minutes": 60}, {"TimeLimit": "60"}),
        (
            {"partition": "shas", "account": "", "qos": "debug"},
            None,
        ),  # an account can't be left to Slurm again
        (
            {"partition": "shas", "account": "general", "qos": "debug"},
            {"Partition": "shas", "Account": "general", "QOS": "debug"},
        ),
        ({"runtime_minutes": 60, "memory_mib": 512}, None),
        ({"extra": ("--hold",)}, None),
    ],
)
def test_what_changes_in_a_waiting_job_or_needs_a_new_one(
    change: dict[str, object], settings: dict[str, str] | None
) -> None:
    after = replace(WAITING, **change)  # type: ignore[arg-type]  # the test's own typing
    assert argv.changed_settings(WAITING, after) == settings


def test_a_change_of_a_waiting_job_becomes_this_command_line() -> None:
    line = argv.scontrol_update(7, {"TimeLimit": "60", "Partition": "shas"})
    assert line == ["scontrol", "update", "JobId=7", "TimeLimit=60", "Partition=shas"]


@pytest.mark.parametrize(
    "settings", [{}, {"StdOut": "/x"}, {"Partition": "a\nNodeName=b"}, {"NodeName": "shas0101"}]
)
def test_nothing_else_is_changed_by_scontrol(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        argv.scontrol_update(7, settings)


@pytest.mark.parametrize("job_id", [0, -1, True, "7"])
def test_only_a_job_with_an_id_is_changed(job_id: int) -> None:
    with pytest.raises(ValueError):
        argv.scontrol_update(job_id, {"TimeLimit": "60"})
