"""What a card says of one server, in each phase."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flatirons.hub.pages.server_card import Links, MemoryUse, ServerCard, clock_time, short_time
from flatirons.servers.report import Report
from flatirons.servers.status import Queue, ServerStatus
from flatirons.servers.timing import Step
from flatirons.slurm.model import Allocation, JobSpec, QueuePosition

NOW = 1_800_000_000.0
SPEC = JobSpec("jupyter", cpus=4, memory_mib=16384, runtime_minutes=240)
WAITING = ServerStatus(
    "alice",
    "",
    "waiting",
    since=NOW - 60,
    cluster="summit",
    partition="shas",
    environment="Python",
    spec=SPEC,
    queue=Queue("Priority", "Other jobs are ahead.", "Wait.", QueuePosition(3, 17, "shas"), NOW + 600.2),
)
UP = replace(
    WAITING,
    phase="up",
    queue=None,
    node="shas0101",
    started_at=NOW - 3600,
    ends_at=NOW + 10800,
    since=NOW - 3590,
)


def card(status: ServerStatus, now: float = NOW, **links: bool) -> ServerCard:
    made = Links.of("/hub/", "/user/alice/", status, **{"connects": True, "has_form": True, **links})
    return ServerCard.of(status, made, now)


def test_a_waiting_server_says_why_where_and_what_was_asked() -> None:
    found = card(WAITING)
    assert (found.title, found.badge.words) == ("Default server", "In the queue")
    assert (found.sentence, found.advice) == ("Other jobs are ahead.", "Wait.")
    assert found.position == "Number 3 of 17 in the queue of shas"
    assert found.expected_start == NOW + 600
    assert {each.label: each.words for each in found.place} == {
        "Cluster and partition": "summit · shas",
        "Environment": "Python",
        "Resources": "4 cores, 16 GB, 4 hours",
    }
    assert found.is_starting and found.is_changing and not found.is_up


def test_a_running_server_says_how_much_of_its_time_is_left() -> None:
    found = card(UP)
    assert (found.badge.words, found.is_up, found.is_changing) == ("Running", True, False)
    assert found.left_percent(NOW) == 75.0 and found.left_percent(NOW + 99_999) == 0.0
    assert not found.ends_soon(NOW) and found.ends_soon(NOW + 10_300)
    assert found.place[-1].words == "4 cores, 16 GB", "its time is a bar"
    assert card(replace(UP, started_at=None)).left_percent(NOW) is None


@pytest.mark.parametrize(
    ("used", "granted", "expected"),
    [
        (None, 16384, None),
        (4096, 16384, MemoryUse("4 GB of 16 GB", 25)),
        (16000, 16384, MemoryUse("16 GB of 16 GB", 98, is_tight=True)),
        (99_999, 16384, MemoryUse("98 GB of 16 GB", 100, is_tight=True)),
        (2048, 0, MemoryUse("2 GB")),
    ],
)
def test_memory_is_what_is_used_of_what_slurm_gave(
    used: int | None, granted: int, expected: MemoryUse | None
) -> None:
    has = Allocation(nodes=1, cpus=4, memory_mib=granted)
    assert card(replace(UP, allocation=has, used_memory_mib=used)).memory == expected


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (Report("stopped", "You stopped it.", was_up=True), "Ended"),
        (Report("time_limit", "The time was up.", was_up=True), "Ended"),
        (Report("failed", "It failed."), "Didn't start"),
    ],
)
def test_an_end_says_what_happened(report: Report, words: str) -> None:
    found = card(ServerStatus("alice", "a b", "ended", since=NOW, sentence=report.sentence, report=report))
    assert (found.badge.words, found.sentence, found.has_ended) == (words, report.sentence, True)


def test_start_again_leads_to_the_form_with_the_fix() -> None:
    report = Report("out_of_memory", "", options={"memory": "1G", "cpus": "1"}, fix={"memory": "2G"})
    links = card(ServerStatus("alice", "a b/?", "ended", report=report)).links
    assert links.again == "/hub/spawn/alice/a%20b%2F%3F?opt-memory=2G&opt-cpus=1"
    assert links.report == "/hub/flatirons/report/alice/a%20b%2F%3F"


def test_a_running_servers_form_is_the_one_beside_it() -> None:
    assert card(replace(UP, name="gpu-2")).links.form == "/hub/flatirons/beside?user=alice&server=gpu-2"
    assert card(replace(UP, name="gpu-2"), has_form=False).links.form == "/hub/spawn/alice/gpu-2"
    assert card(UP, connects=False).links.connect == ""
    assert card(UP).links.delete == "", "JupyterHub keeps the default server"


def test_cards_of_the_same_server_are_equal_while_only_time_passes() -> None:
    def starting(noise: float) -> ServerStatus:
        steps = (Step("queue", NOW - 60 + noise, 12.34 + noise), Step("container", NOW - 48 + noise, None))
        return replace(WAITING, phase="booting", queue=None, steps=steps, stale_seconds=90.0 + noise)

    first, later = card(starting(0.0)), card(starting(1e-6), NOW)
    assert first == later and first.version == later.version
    assert card(replace(starting(0.0), stale_seconds=93.0), NOW + 3) == first, "the age counts on by itself"
    assert card(replace(starting(0.0), job_id=8, node="shas0102")).version != first.version


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (605, "10 min"),
        (3599, "59 min"),
        (3660, "1 h 1 min"),
        (7200, "2 h"),
        (2 * 86_400, "2 d"),
        (86_400 + 3600 * 5, "1 d 5 h"),
    ],
)
def test_short_times_have_at_most_two_units(seconds: float, words: str) -> None:
    assert short_time(seconds) == words


def test_a_time_of_another_day_has_its_date() -> None:
    assert "Jan" in clock_time(NOW) and ":" in clock_time(NOW)
