"""The messages about a job, as a sentence and in a few words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from flatirons.parallel import messages
from flatirons.slurm.model import Job, JobState

NOW = datetime(2026, 11, 3, 12, 0).astimezone()


def pending(reason: str = "", start: datetime | None = None) -> Job:
    return Job(id=12, state=JobState.PENDING, reason=reason, start=start)


def on(nodes: str, state: JobState = JobState.RUNNING) -> Job:
    return Job(id=12, state=state, nodes=nodes)


def test_a_job_that_waits_is_explained_with_its_expected_start() -> None:
    start = datetime(2026, 11, 3, 17, 30, tzinfo=UTC)
    message = messages.waiting(pending("Resources", start))
    assert message.startswith("Engines (job 12) wait: It is first in line")
    assert message.endswith(f"Slurm expects to start it at {start.astimezone():%H:%M on %d %b}.")
    assert "expects" not in messages.waiting(pending("Resources"))
    assert messages.waiting(pending("Priority"), "Spark", " waits").startswith("Spark (job 12) waits: Other")


def test_a_profile_that_ended_a_job_is_named_and_the_program_isnt_blamed() -> None:
    failed = Job(id=12, state=JobState.FAILED, exit_code=78, batch_host="shas0101", nodes="shas[0101-0102]")
    assert messages.why_ended(failed).startswith("/etc/profile of shas0101 ended the job's shell")
    cancelled = Job(id=12, state=JobState.CANCELLED, exit_code=78)
    assert "profile" not in messages.why_ended(cancelled)
    assert messages.why_ended(failed) in messages.worker_ended("SLURMCluster-0", failed)


def test_an_estimate_that_comes_later_is_shown_without_the_reason() -> None:
    first = messages.waiting(pending("Resources"))
    then = messages.waiting(pending("Resources", NOW))
    assert messages.new_part(first, "") == first
    assert messages.new_part(then, first) == "Slurm expects to start it at 12:00 on 03 Nov."
    assert messages.new_part(messages.waiting(pending("Priority")), then).startswith(
        "Engines (job 12) wait: Other"
    )


@pytest.mark.parametrize(
    ("job", "words"),
    [
        (pending(), "waits"),
        (pending("None"), "waits"),
        (pending("Priority"), "waits (Priority)"),
        (pending("Priority", NOW + timedelta(hours=2, minutes=5)), "waits (Priority, about 14:05)"),
        (pending("", NOW + timedelta(days=2)), f"waits (about {NOW + timedelta(days=2):%a} 12:00)"),
        (pending("", NOW + timedelta(days=30)), "waits (about 03 Dec)"),
        (pending("ReqNodeNotAvail, UnavailableNodes:c1"), "waits (ReqNodeNotAvail)"),
        (pending("Nodes required for job are DOWN, DRAINED or reserved"), "waits"),
        (pending("AssocMaxCpuMinutesPerJobLimit"), "waits"),
        (on("shas[0101-0102]"), "starts on shas[0101-0102]"),
        (on("", JobState.CANCELLED), "job 12 has ended"),
    ],
)
def test_a_bar_has_room_for_a_few_words(job: Job, words: str) -> None:
    assert messages.progress_text(job, NOW) == words


def test_a_node_that_slurm_takes_from_a_running_job_was_lost() -> None:
    before = on("n[1-3]")
    assert messages.find_lost_nodes(before, on("n2")) == ("n1", "n3")
    assert not messages.find_lost_nodes(before, on("n[1-3]"))
    assert not messages.find_lost_nodes(before, on("n2", JobState.CANCELLED))
    assert not messages.find_lost_nodes(on("", JobState.PENDING), before)
    assert not messages.find_lost_nodes(None, before)
    message = messages.nodes_removed(("n1", "n3"), on("n2"))
    assert message.startswith(
        "Slurm has removed n1, n3 from the engines (job 12) after a failure; the engines on n2 keep running."
    )
    assert "run them again" in message


def test_a_lost_node_is_named_with_how_many_engines_are_lost_and_left() -> None:
    message = messages.engines_lost("shas0102", 4, 3)
    assert message.startswith(
        "Node shas0102 no longer answers: 4 engines are lost with it; 3 on other nodes keep running."
    )
    assert "rc.cluster.start_engines_sync" in message
    assert "1 engine is lost with it, and no engine is left." in messages.engines_lost("shas0102", 1, 0)
