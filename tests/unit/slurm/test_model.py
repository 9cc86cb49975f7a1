"""Job states: every text that Slurm prints has one meaning, and an unknown text has none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.slurm.model import Cluster, Job, JobState, QueuePosition, Snapshot

QUESTIONS = ("is_waiting", "is_starting", "is_running", "is_ending", "is_over")


def answers(state: JobState) -> list[str]:
    return [question for question in QUESTIONS if getattr(state, question)]


@pytest.mark.parametrize("state", list(JobState))
def test_a_state_has_at_most_one_meaning(state: JobState) -> None:
    assert len(answers(state)) <= 1


@pytest.mark.parametrize("state", [state for state in JobState if state is not JobState.VANISHED])
def test_the_long_name_of_every_state_is_recognized(state: JobState) -> None:
    assert JobState.parse(state.value) is state
    assert JobState.parse(f" {state.value.lower()}\n") is state


@pytest.mark.parametrize(
    ("text", "state", "meaning"),
    [
        ("PENDING", JobState.PENDING, "is_waiting"),
        ("REQUEUED", JobState.REQUEUED, "is_waiting"),
        ("SPECIAL_EXIT", JobState.SPECIAL_EXIT, "is_waiting"),
        ("RESV_DEL_HOLD", JobState.RESV_DEL_HOLD, "is_waiting"),
        ("CONFIGURING", JobState.CONFIGURING, "is_starting"),
        ("SUSPENDED", JobState.SUSPENDED, "is_running"),
        ("STOPPED", JobState.STOPPED, "is_running"),
        ("SIGNALING", JobState.SIGNALING, "is_running"),
        ("COMPLETING", JobState.COMPLETING, "is_ending"),
        ("STAGE_OUT", JobState.STAGE_OUT, "is_ending"),
        ("CANCELLED by 1000", JobState.CANCELLED, "is_over"),
        ("CANCELLED+", JobState.CANCELLED, "is_over"),
        ("RUNNING,COMPLETING", JobState.COMPLETING, "is_ending"),
        ("COMPLETED,COMPLETING", JobState.COMPLETING, "is_ending"),
        ("PENDING,REQUEUE_HOLD", JobState.REQUEUE_HOLD, "is_waiting"),
        ("PD", JobState.PENDING, "is_waiting"),
        ("R", JobState.RUNNING, "is_running"),
        ("CG", JobState.COMPLETING, "is_ending"),
        ("OOM", JobState.OUT_OF_MEMORY, "is_over"),
    ],
)
def test_a_state_means_what_slurm_means_by_it(text: str, state: JobState, meaning: str) -> None:
    assert JobState.parse(text) is state
    assert answers(state) == [meaning]


@pytest.mark.parametrize(
    "text", ["", "?", "RUNNING OUT", "NOT RUNNING", "COMPLETED!", "VANISHED", "HIBERNATING", "0"]
)
def test_an_unknown_text_means_nothing(text: str) -> None:
    assert JobState.parse(text) is JobState.UNKNOWN
    assert answers(JobState.UNKNOWN) == []


@given(st.text())
def test_no_text_makes_the_parser_of_states_raise_an_error(text: str) -> None:
    assert isinstance(JobState.parse(text), JobState)


def test_a_cluster_with_its_own_configuration_and_commands_is_reached_by_them() -> None:
    cluster = Cluster("blanca", "/etc/slurm/blanca.conf", "/opt/slurm/bin/")
    assert cluster.environment() == {"SLURM_CONF": "/etc/slurm/blanca.conf"}
    assert cluster.command("squeue") == "/opt/slurm/bin/squeue"


def test_the_default_cluster_of_the_system_needs_no_settings() -> None:
    assert Cluster("summit").environment() == {}
    assert Cluster("summit").command("squeue") == "squeue"


def test_a_job_that_waits_for_several_partitions_is_shown_where_it_is_nearest_to_the_front() -> None:
    snapshot = Snapshot(queues={"shas": {5: 1, 7: 2, 6: 3}, "sknl": {6: 1, 7: 2}})
    several = Job(7, JobState.PENDING, partition="sgpu,shas,sknl")
    assert snapshot.queue_position(several) == QueuePosition(2, 2, "sknl")
    assert snapshot.queue_position(Job(9, JobState.PENDING, partition="shas")) is None
