"""Which job is ours: by id, user and time of submission; what helps to find one whose id was lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flatirons.slurm.identity import FirstSeen, find_by_name, is_end_of, is_same
from flatirons.slurm.model import End, Job, JobState

AT = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
OURS = Job(7, JobState.RUNNING, name="jupyter", comment="flatirons:a:b:alice/", user="alice", submit=AT)


@pytest.mark.parametrize(
    ("change", "is_ours"),
    [
        ({}, True),
        ({"name": "my-run", "comment": "cost-centre-17"}, True),
        ({"comment": "flatirons:a:another:alice/"}, True),  # a user may write anything there
        ({"partition": "other", "account": "other", "qos": "other"}, True),
        ({"user": "bob"}, False),
        ({"submit": AT + timedelta(seconds=1)}, False),
        ({"submit": AT + timedelta(hours=1)}, False),
        ({"submit": AT - timedelta(days=1)}, False),
        ({"submit": AT + timedelta(seconds=90), "restarts": 1, "state": JobState.PENDING}, True),
        ({"submit": AT - timedelta(seconds=90), "restarts": 1}, False),
        ({"submit": AT + timedelta(seconds=90), "restarts": 1, "user": "bob"}, False),
        ({"submit": AT + timedelta(hours=1), "has_local_times": True}, True),  # the clocks went back
        ({"submit": AT - timedelta(hours=5, minutes=45), "has_local_times": True}, True),  # another time zone
        ({"submit": AT + timedelta(minutes=1), "has_local_times": True}, False),
        ({"submit": AT + timedelta(days=3), "has_local_times": True}, False),
        ({"submit": None}, True),
        ({"submit": None, "user": ""}, True),
    ],
)
def test_a_job_is_the_same_by_its_user_and_the_time_of_its_submission(
    change: dict[str, object], is_ours: bool
) -> None:
    assert is_same(replace(OURS, **change), "alice", AT) is is_ours  # type: ignore[arg-type]


def test_a_job_whose_submission_was_never_seen_is_the_same_by_its_user() -> None:
    assert is_same(OURS, "alice", None)
    assert not is_same(OURS, "bob", None)


@pytest.mark.parametrize(
    ("end", "is_ours"),
    [
        (End(7, JobState.FAILED, user="alice", submit=AT), True),
        (End(7, JobState.FAILED), True),
        (End(7, JobState.FAILED, user="bob", submit=AT), False),
        (End(7, JobState.NODE_FAIL, user="alice", submit=AT - timedelta(hours=2)), False),
    ],
)
def test_the_end_in_accounting_may_be_that_of_another_job_with_the_id(end: End, is_ours: bool) -> None:
    assert is_end_of(end, OURS) is is_ours
    assert is_end_of(end, replace(OURS, has_local_times=True)) is (is_ours or end.user == "alice")


def test_another_job_than_was_first_seen_under_an_id_is_the_end_of_that_one() -> None:
    seen = FirstSeen()
    bare = Job(7, JobState.PENDING)
    assert seen.same(bare) is bare and seen.same(OURS) is OURS
    requeued = replace(OURS, submit=AT + timedelta(minutes=2), restarts=1)
    assert seen.same(requeued) is requeued
    other = replace(OURS, submit=AT + timedelta(minutes=2))
    assert seen.same(other) == replace(OURS, state=JobState.VANISHED)
    assert seen.same(replace(other, id=8)).id == 8


def test_a_job_is_found_by_its_name_only_if_no_other_can_be_it() -> None:
    bare, when = replace(OURS, comment="cost-centre-17"), AT.timestamp()
    assert find_by_name([bare], "jupyter", requested_at=when) is bare
    for other in (
        replace(bare, id=8),
        replace(bare, id=8, submit=AT + timedelta(seconds=5)),
    ):
        assert find_by_name([bare, other], "jupyter", requested_at=when) is None
    for other in (
        replace(bare, name="mine"),
        replace(bare, state=JobState.COMPLETED),
        replace(bare, submit=AT - timedelta(hours=1)),
        replace(bare, submit=AT + timedelta(hours=1)),
        replace(bare, submit=None),
        replace(bare, comment="x flatirons:a:another:alice/"),
        replace(bare, comment="flatirons-notebook:1:base"),
    ):
        assert find_by_name([other], "jupyter", requested_at=when) is None
        assert find_by_name([bare, other], "jupyter", requested_at=when) is bare
