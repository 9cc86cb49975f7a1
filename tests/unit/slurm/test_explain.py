"""Every reason, end and refusal that Slurm reports is explained in a plain sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.slurm import explain
from flatirons.slurm.explain.limits import explain_limit
from flatirons.slurm.model import End, Job, JobState

# job_state_reason.c of 22.05 and 26.05, and job_reason_codes.html
REASONS = Path(__file__).with_name("reasons.txt").read_text().split()


@pytest.mark.parametrize("code", REASONS)
def test_every_reason_that_slurm_has_is_explained(code: str) -> None:
    explained = explain.reason(code)
    assert not explained.sentence.startswith("Slurm's reason")
    assert code not in explained.sentence
    assert explained.sentence.endswith(".")


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (
            "AssocGrpCpuLimit",
            "The running jobs of your account use all the CPUs that your account allows at a time.",
        ),
        (
            "QOSMaxGRESPerUser",
            "Your running jobs use all the GPUs (or other generic resources) that its QOS allows at a time.",
        ),
        ("QOSMaxWallDurationPerJobLimit", "The job asks for more time than its QOS allows."),
        ("QOSMaxJobsPerUserLimit", "You already have as many jobs running as its QOS allows."),
        ("QOSGrpJobsLimit", "There are already as many jobs running as its QOS allows."),
        (
            "AssocMaxSubmitJobLimit",
            "You already have as many jobs waiting and running as your account allows.",
        ),
        ("AssocGrpCPUMinutesLimit", "Your account has used up what it was granted (CPUs times minutes)."),
        ("AssocMaxMemPerNode", "The job asks for more memory than your account allows on one node."),
        ("QOSMinCpuNotSatisfied", "The job asks for too few CPUs: its QOS demands more."),
        (
            "MaxMemoryPerAccount",
            "The running jobs of your account use all the memory that its QOS allows at a time.",
        ),
    ],
)
def test_a_limit_is_explained_from_the_parts_of_its_name(code: str, sentence: str) -> None:
    assert explain.reason(code).sentence == sentence


@pytest.mark.parametrize(
    "text", ["Priority", "QOSMax", "AssocGrp", "MaxTurtlesPerUser", "AssocGrpCpuLimitX", ""]
)
def test_a_text_that_names_no_limit_is_not_taken_for_one(text: str) -> None:
    assert explain_limit(text) is None


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("(Priority)", "ahead of it"),
        ("ReqNodeNotAvail, UnavailableNodes:c[1-3]", "out of service (c[1-3])"),
        ("ReqNodeNotAvail,_May_be_reserved_for_other_job", "reserved"),
        ("ReqNodeNotAvail, Reserved for maintenance", "maintenance"),
        ("ReqNodeNotAvail, UnavailableNodes:", "not available"),
        (
            "Nodes_required_for_job_are_DOWN,_DRAINED_or_reserved_for_jobs_in_higher_priority_partitions",
            "out of service",
        ),
        ("launch failed requeued held", "could not be started"),
        ("user env retrieval failed requeued held", "log-in environment"),
    ],
)
def test_reasons_that_are_sentences_are_understood_with_spaces_and_with_underscores(
    text: str, part: str
) -> None:
    assert part in explain.reason(text).sentence


def test_an_unknown_reason_is_passed_on_in_slurms_words() -> None:
    assert explain.reason("Phase_of_moon").sentence == "Slurm's reason: Phase of moon."


@given(st.text())
def test_no_reason_raises_an_error(text: str) -> None:
    assert explain.reason(text).sentence


# -- ends

JOB = Job(7, JobState.RUNNING, batch_host="c1", runtime_limit_minutes=90, raw_state="RUNNING")


def ended(state: JobState, **facts: object) -> str:
    return str(explain.end(JOB, End(7, state, **facts)))  # type: ignore[arg-type]  # the test's own typing


@pytest.mark.parametrize("state", [state for state in JobState if state.is_over])
def test_every_end_is_explained_with_and_without_accounting(state: JobState) -> None:
    for explained in (explain.end(JOB, End(7, state)), explain.end(Job(7, state, raw_state=state.value))):
        assert explained.sentence.endswith(".")
        assert "last state" not in explained.sentence


def test_the_end_of_a_job_out_of_memory_says_what_it_asked_for_and_used() -> None:
    assert ended(JobState.OUT_OF_MEMORY, max_rss_mib=3900, requested_memory_mib=20480) == (
        "The job ran out of memory and was killed. It had asked for 20 GB. Slurm last saw it use 3.8 GB."
        " Ask for more memory."
    )


def test_a_job_killed_near_its_memory_limit_ran_out_of_memory() -> None:
    assert "ran out of memory" in ended(JobState.FAILED, signal=9, max_rss_mib=980, requested_memory_mib=1000)
    assert "signal 9" in ended(JobState.FAILED, signal=9, max_rss_mib=100, requested_memory_mib=1000)
    assert "signal 9" in ended(JobState.FAILED, signal=9)


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        ({"state": JobState.TIMEOUT}, "time limit of 90 minutes"),
        ({"state": JobState.CANCELLED, "cancelled_by": 0}, "by an operator"),
        ({"state": JobState.CANCELLED, "cancelled_by": 1000}, "by the user with id 1000"),
        ({"state": JobState.CANCELLED}, "The job was cancelled."),
        ({"state": JobState.NODE_FAIL}, "Its node c1 failed"),
        ({"state": JobState.FAILED, "exit_code": 127}, "exit code 127: a program in it was not found"),
        ({"state": JobState.FAILED, "exit_code": 3}, "exit code 3."),
        ({"state": JobState.FAILED, "exit_code": 0}, "before its script could run"),
    ],
)
def test_an_end_is_explained_with_its_facts(facts: dict[str, object], part: str) -> None:
    assert part in str(explain.end(JOB, End(7, **facts)))  # type: ignore[arg-type]  # the test's own typing


def test_a_job_that_could_not_be_launched_is_explained_so() -> None:
    job = Job(7, JobState.FAILED, reason="JobLaunchFailure", signal=53)
    assert "could not be started on its node" in explain.end(job).sentence


def test_accounting_that_believes_an_ended_job_alive_is_ignored() -> None:
    job = Job(7, JobState.TIMEOUT)
    assert "time limit" in explain.end(job, End(7, JobState.RUNNING)).sentence


# -- refusals, as sbatch of 24.11 printed them


@pytest.mark.parametrize(
    ("stderr", "sentence", "part"),
    [
        (
            "sbatch: error: Batch job submission failed: "
            "Invalid account or account/partition combination specified\n",
            "Invalid account or account/partition combination specified.",
            "this account",
        ),
        (
            "sbatch: error: Memory specification can not be satisfied\n"
            "sbatch: error: Batch job submission failed: Requested node configuration is not available\n",
            "Memory specification can not be satisfied. Requested node configuration is not available.",
            "that much memory",
        ),
        (
            "sbatch: error: invalid partition specified: nope\n"
            "sbatch: error: Batch job submission failed: Invalid partition name specified\n",
            "invalid partition specified: nope. Invalid partition name specified.",
            "no such partition",
        ),
        (
            "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
            "sbatch: error: Batch job submission failed: "
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n",
            "QOSMaxSubmitJobPerUserLimit. "
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits).",
            "as many jobs waiting and running",
        ),
        (
            "allocation failure: Access denied to requested reservation\n",
            "Access denied to requested reservation.",
            "may not use this reservation",
        ),
        (
            "sbatch: error: You need a project. See https://example.org/!\n"
            "sbatch: error: Batch job submission failed: Unspecified error\n",
            "You need a project. See https://example.org/! Unspecified error.",
            "operator",
        ),
    ],
)
def test_a_refusal_keeps_the_sentence_of_slurm_and_explains_it(stderr: str, sentence: str, part: str) -> None:
    said, explanation = explain.refusal(stderr)
    assert said == sentence
    assert part in str(explanation)


@given(st.text())
def test_no_refusal_raises_an_error(text: str) -> None:
    said, explanation = explain.refusal(text)
    assert "\n" not in said
    assert str(explanation)
