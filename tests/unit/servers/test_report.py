"""Reports of ended servers, the sentences of a start, and what Prometheus counts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest

from flatirons.servers import report
from flatirons.servers.causes import Cause
from flatirons.servers.messages import QueueMessage, seconds_in_queue
from flatirons.servers.report import Report
from flatirons.slurm.model import End, Job, JobState, QueuePosition

NOW = datetime.now(UTC)


def made(**known: object) -> Report:
    cause = Cause("out_of_memory", "It ran out.", "Ask for more.", {"memory": "3G"})
    job = Job(7, JobState.OUT_OF_MEMORY, batch_host="c1", runtime_limit_minutes=60)
    end = End(
        7,
        JobState.OUT_OF_MEMORY,
        elapsed_seconds=100,
        max_rss_mib=750,
        requested_memory_mib=1500,
        cpus=2,
        cpu_seconds=50.0,
    )
    return report.make(cause, job, end, job_id=7, **known)


def test_a_report_survives_json_and_what_another_version_may_add() -> None:
    there = made(options={"partition": "shas"}, log=["one", "two"])
    stored = json.loads(json.dumps(there.as_dict()))
    assert Report.from_dict({**stored, "future": 1}).as_dict() == there.as_dict()


def test_its_figures_are_relative_to_what_was_requested() -> None:
    assert (made().memory_percent, made().cpu_percent) == (50, 25)
    assert Report("x", "y").memory_percent is None and Report("x", "y").cpu_percent is None


def test_its_link_fills_in_the_choices_with_the_fix() -> None:
    query = parse_qs(made(options={"partition": "shas", "memory": "1500M"}).query)
    assert query == {"opt-partition": ["shas"], "opt-memory": ["3G"]}


def test_the_fix_is_in_words_while_the_link_keeps_typed_values() -> None:
    fix = {"runtime": "0:02:00", "memory": "16000M"}
    there = Report("time_limit", "It ended.", fix=fix)
    assert there.fixes == "2 minutes and 16 GB of memory"
    assert parse_qs(there.query) == {"opt-runtime": ["0:02:00"], "opt-memory": ["16000M"]}
    own = Report("x", "y", fix={"runtime": "as long as it takes", "walltime": "5"})
    assert own.fixes == "runtime as long as it takes and walltime 5", "a site's own words"


def test_figures_are_in_words() -> None:
    assert (made().requested_memory, made().used_memory) == ("1.5 GB", "750 MB")
    assert (made().ran, made().limit) == ("2 minutes", "1 hour")


def test_of_a_long_log_the_last_lines_are_kept_and_cut() -> None:
    log = made(log=[f"{n} " + "x" * 1000 for n in range(100)]).log
    assert (len(log), log[0][:3], len(log[0])) == (report.LOG_LINES, "60 ", report.LONGEST_LINE)


@pytest.mark.parametrize(("later", "kind"), [("failed", "import_error"), ("time_limit", "time_limit")])
def test_what_a_starter_told_an_earlier_hub_process_is_not_lost(later: str, kind: str) -> None:
    """A hub that was killed after the call `end` learns of the end from Slurm only."""
    heard = Report("import_error", "No module.", "Move it.", job_id=7, log=("ModuleNotFoundError",))
    [found] = report.kept(Report(later, "It failed.", job_id=7, ran_seconds=5), [heard])
    assert (found.kind, found.ran_seconds, found.log) == (kind, 5, heard.log)
    assert found.sentence == ("No module." if kind == "import_error" else "It failed.")


def test_what_accounting_adds_to_a_dismissed_report_is_no_news_but_another_end_is() -> None:
    [seen] = report.dismissed([Report("failed", "It failed.", job_id=7)])
    [better] = report.kept(made(), [seen])
    assert (better.kind, better.dismissed) == ("out_of_memory", True)
    assert [each.dismissed for each in report.kept(replace(made(), job_id=8), [seen])] == [False, True]
    [refused] = report.dismissed([Report("refused", "No.")])
    assert not report.kept(Report("refused", "No again."), [refused])[0].dismissed


def waiting(**facts: object) -> Job:
    return Job(1, JobState.PENDING, partition="shas", reason="Priority", **facts)  # type: ignore[arg-type]


def test_positions_are_shown_in_steps_that_get_smaller() -> None:
    message = QueueMessage()
    assert "number 100 of 200" in message.sentence(waiting(), QueuePosition(100, 200, "shas"))
    assert "number 100 of 200" in message.sentence(waiting(), QueuePosition(95, 200, "shas"))
    assert "number 90 of 190" in message.sentence(waiting(), QueuePosition(90, 190, "shas"))
    assert "number 4 of 100" in message.sentence(waiting(), QueuePosition(4, 100, "shas"))
    assert "number 3 of 99" in message.sentence(waiting(), QueuePosition(3, 99, "shas"))
    first = Job(1, JobState.PENDING, partition="shas", reason="Resources")
    assert "number" not in message.sentence(first, QueuePosition(1, 90, "shas"))


def test_an_estimate_is_shown_again_only_when_it_changes() -> None:
    message = QueueMessage()
    first = message.sentence(waiting(start=NOW + timedelta(hours=2)), None)
    assert "Slurm estimates a start at" in first
    assert message.sentence(waiting(start=NOW + timedelta(hours=2, minutes=1)), None) == first
    assert message.sentence(waiting(start=NOW + timedelta(hours=3)), None) != first


def test_the_time_in_the_queue_is_the_one_that_slurm_gives() -> None:
    running = Job(1, JobState.RUNNING, submit=NOW, start=NOW + timedelta(seconds=90))
    assert seconds_in_queue(running) == 90
    assert seconds_in_queue(waiting(submit=NOW, start=NOW)) is None
