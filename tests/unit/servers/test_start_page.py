"""What the page of a start is told: the parts of the start, the expected start, times in words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flatirons.servers.start_page import StartPage
from flatirons.servers.status import Queue, ServerStatus
from flatirons.servers.timing import Step
from flatirons.slurm.model import QueuePosition


def states(status: ServerStatus) -> list[str]:
    return [each.state for each in status.milestones]


def test_every_part_of_a_start_is_shown_whether_or_not_it_has_begun() -> None:
    steps = (Step("submission", 10.0, 0.5), Step("queue", 10.5, None))
    waiting = ServerStatus("alice", "", "waiting", steps=steps)
    assert states(waiting) == ["done", "now", "ahead", "ahead", "ahead"]
    assert [each.label for each in waiting.milestones][:2] == ["Submitted", "In the queue"]
    assert waiting.milestones[1].began_at == 10.5


def test_a_part_that_this_start_did_not_need_is_left_out() -> None:
    steps = (Step("submission", 1.0, 0.5), Step("queue", 1.5, 2.0), Step("container", 3.5, None))
    assert states(ServerStatus("alice", "", "starting", steps=steps)) == [
        *("done", "done", "left out", "now", "ahead")
    ]


def test_nothing_goes_on_in_a_start_that_is_over() -> None:
    steps = (Step("submission", 1.0, 0.5), Step("queue", 1.5, None))
    assert states(ServerStatus("alice", "", "stopping", steps=steps))[1] == "done"


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (ServerStatus("alice", "", "submitting"), "Starting: your server"),
        (ServerStatus("alice", "gpu", "waiting"), "Waiting: gpu"),
        (ServerStatus("alice", "gpu", "waiting", title="GPU work"), "Waiting: GPU work"),
        (
            ServerStatus("alice", "gpu", "waiting", queue=Queue(position=QueuePosition(2, 7, "shas"))),
            "2 of 7 in the queue: gpu",
        ),
        (ServerStatus("alice", "gpu", "up"), "Ready: gpu"),
        (ServerStatus("alice", "gpu", "ended"), "Not running: gpu"),
    ],
)
def test_the_tab_says_how_far_the_start_is(status: ServerStatus, title: str) -> None:
    assert status.title_of_tab == title


def test_the_moves_of_the_expected_start_are_a_line_of_steps() -> None:
    queue = Queue(estimates=((0.0, 1000.0), (50.0, 3000.0), (100.0, 2000.0)))
    assert queue.moved_seconds == 1000
    assert queue.outline(200, 40) == [(0, 40), (100, 40), (100, 0), (200, 0), (200, 20)]


def test_one_estimate_or_none_has_not_moved() -> None:
    for queue in (Queue(), Queue(estimates=((0.0, 1000.0),))):
        assert queue.outline(200, 40) == [] and queue.moved_seconds == 0


def test_a_page_says_how_old_its_news_is_and_pages_without_news_are_equal() -> None:
    status = ServerStatus("alice", "", "waiting", stale_seconds=3601.0)
    assert StartPage(status, (), 10_000.0).answered_at == 6400
    assert StartPage(status, (), 10_000.0).ago(6400) == "1 hour"
    assert StartPage(status, (), 10_000.0, counts=False).ago(6400) == ""
    assert StartPage(ServerStatus("alice", "", "waiting"), (), 1.0).answered_at is None
    later = replace(status, stale_seconds=3602.0)
    assert StartPage(status, (), 10_000.0).without_time == StartPage(later, (), 10_001.0).without_time
    assert StartPage(status, (), 10_000.0).without_time != StartPage(status, (), 10_060.0).without_time
    assert [StartPage.took(seconds) for seconds in (0.25, 12.0, 300)] == ["0.2 s", "12.0 s", "5 minutes"]
