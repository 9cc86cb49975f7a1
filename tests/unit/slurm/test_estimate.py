"""Estimates: in words, not too often, and without delaying the page."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flatirons.errors import SlurmUnreachable, SubmitRefused
from flatirons.slurm import estimate as module
from flatirons.slurm.alternatives import Alternative
from flatirons.slurm.estimate import SILENT, TOO_OFTEN, Estimator, Kind, describe_start
from flatirons.slurm.model import JobSpec
from tests.fakes.clock import idle

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SPEC = JobSpec("jupyter", partition="shas")


class Slurm:
    """Answers --test-only with the seconds that a test set for each partition, or with an error."""

    def __init__(self, **waits: Any) -> None:
        self.waits = waits
        self.asked: list[tuple[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def test_only(self, spec: JobSpec, script: str, *, user: str) -> tuple[datetime | None, str]:
        self.asked.append((user, spec.partition))
        await self.gate.wait()
        answer = self.waits.get(spec.partition, 0)
        if isinstance(answer, Exception):
            raise answer
        return (None if answer is None else NOW + timedelta(seconds=answer)), ""


class Time:
    def __init__(self) -> None:
        self.seconds = NOW.timestamp()

    def __call__(self) -> float:
        return self.seconds


def made(slurm: Slurm, clock: Time | None = None, now: Time | None = None) -> Estimator:
    return Estimator(slurm, now or Time(), clock or Time())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "sentence"),
    [
        (-5, "Starts at once."),
        (20, "Starts at once."),
        (70, "Starts in about 1 minute."),
        (8 * 60, "Starts in about 8 minutes."),
        (41 * 60, "Starts in about 40 minutes."),
        (70 * 60, "Starts in about an hour."),
        (5.2 * 3600, "Starts in about 5 hours."),
        (3.1 * 86400, "Starts in about 3 days."),
    ],
)
def test_a_later_start_is_given_in_rounder_numbers(seconds: float, sentence: str) -> None:
    assert describe_start(NOW + timedelta(seconds=seconds), NOW).sentence == sentence


async def test_a_refusal_is_reported_and_no_answer_is_not_a_refusal() -> None:
    slurm = Slurm(a=SubmitRefused("Slurm refused the job: no.", ""), b=SlurmUnreachable("away", ""), c=None)
    estimator = made(slurm)
    refused = await estimator.estimate(JobSpec("j", partition="a"), user="alice")
    assert (refused.kind, refused.sentence) == (Kind.REFUSED, "Slurm refused the job: no.")
    assert await estimator.estimate(JobSpec("j", partition="b"), user="alice") == SILENT
    assert await estimator.estimate(JobSpec("j", partition="c"), user="alice") == SILENT


async def test_the_same_question_is_shared_and_its_answer_kept_for_a_while() -> None:
    slurm, clock = Slurm(shas=2400), Time()
    estimator = made(slurm, clock)
    answers = await asyncio.gather(*(estimator.estimate(SPEC, user="alice") for _ in range(5)))
    assert {answer.sentence for answer in answers} == {"Starts in about 40 minutes."}
    assert len(slurm.asked) == 1
    clock.seconds += 14
    await estimator.estimate(SPEC, user="alice")
    assert len(slurm.asked) == 1
    clock.seconds += 2
    await estimator.estimate(SPEC, user="alice")
    assert len(slurm.asked) == 2
    await estimator.estimate(SPEC, user="bob")
    assert slurm.asked[-1] == ("bob", "shas")


async def test_a_user_who_asks_too_often_has_to_wait() -> None:
    slurm, clock = Slurm(), Time()
    estimator = made(slurm, clock)
    answers = [await estimator.estimate(JobSpec("j", cpus=n), user="alice") for n in range(1, 10)]
    assert [answer == TOO_OFTEN for answer in answers] == [False] * 6 + [True] * 3
    assert (await estimator.estimate(JobSpec("j", cpus=1), user="bob")).kind is Kind.NOW
    clock.seconds += 2
    assert (await estimator.estimate(JobSpec("j", cpus=20), user="alice")).kind is Kind.NOW


async def test_setting_the_machines_clock_back_makes_nobody_wait_and_no_answer_younger() -> None:
    slurm, clock, now = Slurm(), Time(), Time()
    estimator = made(slurm, clock, now)
    for n in range(1, 8):
        await estimator.estimate(JobSpec("j", cpus=n), user="alice")
    now.seconds -= 3600
    clock.seconds += 60
    assert (await estimator.estimate(JobSpec("j", cpus=1), user="alice")).kind is Kind.LATER
    assert len(slurm.asked) == 7


async def test_a_user_who_asks_too_often_takes_no_answer_away_from_others() -> None:
    slurm = Slurm()
    estimator = made(slurm)
    await estimator.estimate(SPEC, user="bob")
    for n in range(1, module.MOST_USERS + 10):
        await estimator.estimate(JobSpec("j", cpus=n), user="alice")
    await estimator.estimate(SPEC, user="bob")
    assert [user for user, _ in slurm.asked].count("bob") == 1


async def test_a_slow_slurm_does_not_delay_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    slurm = Slurm()
    slurm.gate.clear()
    estimator = made(slurm)
    assert await estimator.estimate(SPEC, user="alice") == SILENT
    slurm.gate.set()
    await idle()
    assert (await estimator.estimate(SPEC, user="alice")).kind is Kind.NOW
    assert len(slurm.asked) == 1


async def test_only_alternatives_that_start_clearly_sooner_are_shown() -> None:
    slurm = Slurm(shas=3600, soon=600, now=0, later=3000, none=SubmitRefused("no", ""))
    estimator = made(slurm)
    asked = await estimator.estimate(SPEC, user="alice")
    names = ("later", "soon", "none", "now")
    candidates = [Alternative(name, {"partition": name}, JobSpec("j", partition=name)) for name in names]
    found = await estimator.find_sooner(asked, candidates, user="alice")
    assert [change.label for change, _ in found] == ["now", "soon"]
    short = describe_start(NOW + timedelta(minutes=5), NOW)
    assert await estimator.find_sooner(short, candidates, user="alice") == []
