"""What the client guarantees for any Slurm: the one in memory and the real one must agree."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import pytest

from flatirons.errors import SlurmError, SubmitRefused
from flatirons.slurm import explain
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.identity import is_same
from flatirons.slurm.model import Allocation, JobSpec, JobState
from flatirons.slurm.polling import PollSchedule
from flatirons.slurm.watcher import Watcher
from tests.contract.conftest import SlurmSite
from tests.fakes.slurm import FakeSite, FakeSlurm

SLEEPS = "#!/bin/bash -l\nexec sleep 300\n"
SPEC = JobSpec(
    "contract",
    comment="flatirons:test:1",
    runtime_minutes=5,
    chdir="/tmp",
    output="/tmp/contract.%j",
    memory_mib=200,
)


def script(last_line: str) -> str:
    return f"#!/bin/bash -l\n{last_line}\n"


async def test_a_job_is_seen_running_with_all_that_it_asked_for_and_then_cancelled(slurm: SlurmSite) -> None:
    spec = replace(
        SPEC, partition="sknl", account="ucb-knl", qos="debug", nodes=1, cpus=2, gpus=1, gpu_type="a100"
    )
    job_id = await slurm.summit.submit(spec, SLEEPS, user="alice")
    try:
        job = await slurm.until(job_id, lambda job: job.state.is_running)
        seen = (await slurm.summit.jobs()).jobs[job_id]
    finally:
        await slurm.summit.cancel(job_id, user="alice")
    assert (seen.user, seen.state, seen.batch_host) == (job.user, job.state, job.batch_host)
    assert (job.name, job.comment, job.user) == ("contract", "flatirons:test:1", "alice")
    assert (job.partition, job.account, job.qos) == ("sknl", "ucb-knl", "debug")
    assert job.runtime_limit_minutes == 5
    assert job.allocation == Allocation(nodes=1, cpus=2, memory_mib=200, gpus=(("a100", 1),))
    assert job.nodes == job.batch_host != ""
    assert job.submit is not None
    assert job.start is not None
    assert (job.exit_code, job.signal) == (None, None)
    over = await slurm.until(job_id, lambda job: job.state.is_over)
    assert over.state is JobState.CANCELLED
    end = (await slurm.summit.ends([job_id]))[job_id]
    assert (end.state, end.cancelled_by) == (JobState.CANCELLED, 10001)
    assert end.requested_memory_mib in (200, None)


async def test_what_was_not_asked_for_is_known_before_the_job_runs(slurm: SlurmSite) -> None:
    spec = replace(SPEC, memory_mib=0, cpus=2, extra=("--hold",))
    job_id = await slurm.summit.submit(spec, SLEEPS, user="alice")
    try:
        job = await slurm.until(job_id, lambda job: job.state.is_waiting)
    finally:
        await slurm.summit.cancel(job_id, user="alice")
    assert job.allocation == Allocation(nodes=1, cpus=2, memory_mib=2000)


@pytest.mark.parametrize(
    ("last_line", "state", "exit_code", "signal"),
    [
        ("exit 0", JobState.COMPLETED, 0, None),
        ("exit 3", JobState.FAILED, 3, None),
        ("kill -9 $$", JobState.FAILED, 0, 9),
    ],
)
async def test_slurmctld_and_accounting_agree_on_how_a_job_ended(
    slurm: SlurmSite, last_line: str, state: JobState, exit_code: int, signal: int | None
) -> None:
    job_id = await slurm.summit.submit(SPEC, script(last_line), user="alice")
    job = await slurm.until(job_id, lambda job: job.state.is_over)
    assert (job.state, job.exit_code, job.signal) == (state, exit_code, signal)
    end = (await slurm.summit.ends([job_id]))[job_id]
    assert (end.state, end.exit_code, end.signal) == (state, exit_code, signal)
    assert (end.node, end.user, end.submit) == (job.nodes, "alice", job.submit)


async def test_a_job_whose_log_cannot_be_opened_is_explained(slurm: SlurmSite) -> None:
    spec = replace(SPEC, output="/nonexistent/log")
    job_id = await slurm.summit.submit(spec, script("exit 0"), user="alice")
    job = await slurm.until(job_id, lambda job: job.state.is_over)
    assert job.state is JobState.FAILED
    assert "could not be started on its node" in explain.end(job).sentence


async def test_a_signal_reaches_the_script_and_does_not_end_it(slurm: SlurmSite) -> None:
    catches = "#!/bin/bash -l\ntrap 'exit 7' TERM\nwhile :; do sleep 0.1; done\n"
    job_id = await slurm.summit.submit(SPEC, catches, user="alice")
    await slurm.until(job_id, lambda job: job.state.is_running)
    while not (job := await slurm.until(job_id, lambda job: True)).state.is_over:
        with contextlib.suppress(SlurmError):  # the script isn't up yet
            await slurm.summit.cancel(job_id, user="alice", signal="TERM")
    assert (job.exit_code, job.signal) in (
        (7, None),
        (0, 15),
    )  # the latter when it came before the trap was set


@pytest.mark.parametrize(
    ("options", "reason"),
    [("--hold", "JobHeldUser"), ("--begin=now+1hour", "BeginTime")],
)
async def test_a_waiting_job_has_a_reason(slurm: SlurmSite, options: str, reason: str) -> None:
    job_id = await slurm.summit.submit(replace(SPEC, extra=(options,)), SLEEPS, user="alice")
    try:
        job = await slurm.until(job_id, lambda job: job.reason == reason)
    finally:
        await slurm.summit.cancel(job_id, user="alice")
    assert job.state.is_waiting
    assert (job.nodes, job.batch_host, job.end if reason == "JobHeldUser" else None) == ("", "", None)
    assert (job.start is not None) == (reason == "BeginTime")


REFUSED = {
    "Invalid account or account/partition combination specified.": {"account": "nope"},
    "Invalid account or account/partition combination specified. ": {"partition": "sknl"},
    "invalid partition specified: nope. Invalid partition name specified.": {"partition": "nope"},
    "Memory specification can not be satisfied.": {"memory_mib": 9_999_999},
    "More processors requested than permitted.": {"cpus": 999},
    "More processors requested than permitted. ": {"nodes": 50},
    "Requested time limit is invalid (missing or exceeds some limit).": {"runtime_minutes": 99_999},
    "Invalid qos specification.": {"qos": "nope"},
    "Requested node configuration is not available.": {"gpus": 1, "gpu_type": "h100"},
    "Requested node configuration is not available. ": {"gpus": 9},
    "Requested reservation is invalid.": {"reservation": "nope"},
}


@pytest.mark.parametrize("sentence", REFUSED)
async def test_a_refusal_has_slurms_sentence_and_an_explanation(slurm: SlurmSite, sentence: str) -> None:
    spec = replace(SPEC, **REFUSED[sentence])  # type: ignore[arg-type]  # names and types are JobSpec's
    with pytest.raises(SubmitRefused) as caught:
        await slurm.summit.submit(spec, SLEEPS, user="alice")
    told = caught.value.user.removeprefix("Slurm refused the job: ")
    assert told.startswith(sentence.strip())
    assert len(told) > len(sentence.strip()) + 20


def fake(slurm: SlurmSite) -> FakeSlurm:
    """The cluster in memory."""
    return cast(FakeSite, slurm.summit.runner).clusters[slurm.summit.cluster.slurm_conf]


WRAPPED = """
mkdir -p "$1"
for each in sbatch squeue scancel; do ln -sf "$(command -v $each)" "$1/$each"; done
printf '#!/bin/sh\\n"%s" "$@"; code=$?; %s; exit $code\\n' "$(command -v sbatch)" "$2" > "$1/new"
chmod 755 "$1" "$1/new"
mv "$1/new" "$1/sbatch"
"""


async def wrapped(slurm: SlurmSite, name: str, shell: str, change: Callable[[str], str]) -> SlurmClient:
    """A client whose sbatch then runs this shell line; in memory, `change` does the same to its output."""
    folder = f"/tmp/contract-{name}"
    if slurm.is_real:
        await slurm.summit.runner.run(["bash", "-c", WRAPPED, "wrapped", folder, shell])
    else:
        fake(slurm).tamper("sbatch", change)
    return SlurmClient(replace(slurm.summit.cluster, bin_dir=folder), slurm.summit.runner)


@pytest.mark.parametrize(
    ("name", "shell", "change"),
    [
        ("after", "echo '--> this job may use up to 2.00 SU'", lambda out: f"{out}--> up to 2.00 SU\n"),
        ("number", "echo; echo 2000", lambda out: f"{out}\n2000\n"),
    ],
)
async def test_the_id_is_read_although_sbatch_prints_more(
    slurm: SlurmSite, name: str, shell: str, change: Callable[[str], str]
) -> None:
    client = await wrapped(slurm, name, shell, change)
    spec = replace(SPEC, comment=f"flatirons:{name}", extra=("--hold",))
    job_id = await client.submit(spec, SLEEPS, user="alice")
    try:
        job = (await slurm.summit.jobs()).jobs[job_id]
    finally:
        await slurm.summit.cancel(job_id, user="alice")
    assert (job.user, job.comment) == ("alice", spec.comment)


async def test_a_user_without_an_account_or_a_right_to_the_reservation_is_refused(slurm: SlurmSite) -> None:
    with pytest.raises(SubmitRefused, match="Invalid account"):
        await slurm.summit.submit(SPEC, SLEEPS, user="dave")
    with pytest.raises(SubmitRefused, match="Access denied to requested reservation"):
        await slurm.summit.submit(replace(SPEC, reservation="workshop"), SLEEPS, user="bob")


async def test_a_test_run_says_when_the_job_could_start_and_leaves_no_job(slurm: SlurmSite) -> None:
    spec = replace(SPEC, comment="flatirons:trial")
    start, sentence = await slurm.summit.test_only(spec, SLEEPS, user="alice")
    assert start is not None
    assert start > datetime(2020, 1, 1, tzinfo=UTC)
    assert "to start at" in sentence
    assert all(job.comment != spec.comment for job in (await slurm.summit.jobs()).jobs.values())
    with pytest.raises(SubmitRefused, match="Choose another account"):
        await slurm.summit.test_only(replace(spec, account="nope"), SLEEPS, user="alice")


async def test_an_unknown_job_is_none_and_cancelling_it_is_no_error(slurm: SlurmSite) -> None:
    assert await slurm.summit.job(9_999_999) is None
    assert await slurm.summit.job(9_999_999, user="alice") is None
    assert await slurm.summit.ends([9_999_999]) == {}
    await slurm.summit.cancel(9_999_999, user="alice")


async def test_a_job_that_is_over_can_be_cancelled_again(slurm: SlurmSite) -> None:
    job_id = await slurm.summit.submit(SPEC, script("exit 0"), user="alice")
    await slurm.until(job_id, lambda job: job.state.is_over)
    await slurm.summit.cancel(job_id, user="alice")
    job = await slurm.until(job_id, lambda job: True)
    assert job.state is JobState.COMPLETED


async def test_a_user_cannot_cancel_the_job_of_another(slurm: SlurmSite) -> None:
    job_id = await slurm.summit.submit(SPEC, SLEEPS, user="alice")
    try:
        with pytest.raises(SlurmError, match="denied"):
            await slurm.summit.cancel(job_id, user="bob")
        assert not (await slurm.until(job_id, lambda job: True)).state.is_over
    finally:
        await slurm.summit.cancel(job_id, user="alice")


@pytest.mark.parametrize(
    "text",
    [
        "a b",
        'it\'s "quoted"',
        "50% |#|~ \\n $(id) `id` ; & > <",
        "日本語 é",
        "x=1 JobState=COMPLETED UserId=root(0)",
        "(null)",
        "--comment=other",
        "%j %u %N",
        "x" * 500,
    ],
)
async def test_names_and_comments_come_back_as_they_were_given(slurm: SlurmSite, text: str) -> None:
    spec = replace(SPEC, name=text, comment=text, extra=("--hold",))
    job_id = await slurm.summit.submit(spec, SLEEPS, user="alice")
    try:
        job = (await slurm.summit.jobs()).jobs[job_id]
    finally:
        await slurm.summit.cancel(job_id, user="alice")
    assert job.name == text
    assert job.comment == ("" if text == "(null)" else text)


async def test_clusters_do_not_see_each_others_jobs(slurm: SlurmSite) -> None:
    comment = "flatirons:two-clusters"
    here = await slurm.summit.submit(replace(SPEC, comment=comment), SLEEPS, user="carol")
    there = await slurm.blanca.submit(replace(SPEC, comment=comment), SLEEPS, user="carol")
    try:
        running = await slurm.until(there, lambda job: job.state.is_running, slurm.blanca)
        seen = [(await client.jobs()).jobs.values() for client in (slurm.summit, slurm.blanca)]
    finally:
        await slurm.summit.cancel(here, user="carol")
        await slurm.blanca.cancel(there, user="carol")
    assert running.partition == "blanca-csdms"
    mine = [[job.id for job in jobs if job.comment == comment and not job.state.is_over] for jobs in seen]
    assert mine == [[here], [there]]


async def alter(slurm: SlurmSite, job_id: int, *words: str, **facts: object) -> None:
    """`scontrol WORDS` as the job's user; in memory, the same by `facts`."""
    if slurm.is_real:
        environment = slurm.summit.cluster.environment()
        await slurm.summit.runner.run(["scontrol", *words], user="alice", env=environment)
    elif words[0] == "requeue":
        fake(slurm).now += 60
        fake(slurm).requeue(job_id)
    else:
        fake(slurm).change(job_id, **facts)


async def test_a_followed_job_is_seen_whatever_its_name_and_comment_become(slurm: SlurmSite) -> None:
    schedule = PollSchedule(starting=0.2, waiting=0.2, quiet=0.2)
    watcher = Watcher(slurm.summit, comment_part=SPEC.comment, schedule=schedule)
    watcher.start()
    try:
        job_id = await slurm.summit.submit(replace(SPEC, extra=("--hold",)), SLEEPS, user="alice")
        async with watcher.watch(job_id, "alice") as news:
            async for job in news:
                if job.name == "my-run":
                    break
                words = ("update", f"jobid={job_id}", "jobname=my-run", "comment=cost-centre-17")
                await alter(slurm, job_id, *words, name="my-run", comment="cost-centre-17")
            seen = (await watcher.refresh()).jobs[job_id]
    finally:
        await watcher.stop()
        await slurm.summit.cancel(job_id, user="alice")
    assert (seen.name, seen.comment, seen.user) == ("my-run", "cost-centre-17", "alice")
    assert is_same(seen, "alice", job.submit)


async def test_a_requeued_job_is_the_same_with_a_new_time_of_submission(slurm: SlurmSite) -> None:
    job_id = await slurm.summit.submit(replace(SPEC, extra=("--requeue",)), SLEEPS, user="alice")
    try:
        first = await slurm.until(job_id, lambda job: job.state.is_running)
        await asyncio.sleep(1.1 if slurm.is_real else 0)  # Slurm counts whole seconds
        await alter(slurm, job_id, "requeue", str(job_id))
        again = await slurm.until(job_id, lambda job: job.state.is_waiting and job.restarts > 0)
    finally:
        await slurm.summit.cancel(job_id, user="alice")
    assert first.submit and again.submit and again.submit > first.submit
    assert is_same(again, "alice", first.submit) and not is_same(first, "alice", again.submit)


async def test_the_watcher_reports_a_job_from_its_submission_to_its_end(slurm: SlurmSite) -> None:
    watcher = Watcher(slurm.summit, schedule=PollSchedule(starting=0.2, waiting=0.2))
    watcher.start()
    states = []
    try:
        job_id = await slurm.summit.submit(SPEC, SLEEPS, user="alice")
        async with watcher.watch(job_id, "alice") as news:
            async for job in news:
                states.append(job.state)
                if job.state.is_running:
                    await slurm.summit.cancel(job_id, user="alice")
                    watcher.kick()
    finally:
        await watcher.stop()
    assert states[-1] is JobState.CANCELLED
    assert JobState.RUNNING in states
    assert set(states) <= {JobState.PENDING, JobState.RUNNING, JobState.COMPLETING, JobState.CANCELLED}


async def test_ten_submissions_at_once_are_ten_jobs(slurm: SlurmSite) -> None:
    spec = replace(SPEC, extra=("--hold",))
    ids = await asyncio.gather(*(slurm.summit.submit(spec, SLEEPS, user="alice") for _ in range(10)))
    await asyncio.gather(*(slurm.summit.cancel(job_id, user="alice") for job_id in ids))
    assert len(set(ids)) == 10


async def test_a_job_starts_in_a_clean_environment(slurm: SlurmSite) -> None:
    if not slurm.is_real:
        pytest.skip("the Slurm in memory runs no scripts")
    runner, env = slurm.summit.runner, slurm.summit.cluster.environment()
    place = "/home/alice/contract-environment"
    text = script(f"env > {shlex.quote(place)}; ulimit -Sn >> {shlex.quote(place)}")
    hidden = "CONFIGPROXY_AUTH_TOKEN=secret"
    line = [
        "env",
        hidden,
        "sbatch",
        "--parsable",
        "--export=NIL",
        "--propagate=NONE",
        "--chdir=/tmp",
        "--output=none",
    ]
    job_id = int((await runner.run(line, user="alice", stdin=text, env=env)).stdout)
    await slurm.until(job_id, lambda job: job.state.is_over)
    seen = (await runner.run(["cat", place], user="alice")).stdout
    assert "secret" not in seen
    assert "\nSLURM_EXPORT_ENV=NIL\n" in seen, "the starter must drop it"
    assert "\nPATH=" in f"\n{seen}"
    version = (await runner.run(["squeue", "--version"])).stdout
    assert ("SLURM_GET_USER_ENV" in seen) == (" 22." in version)  # NIL came with 23.02


async def test_what_the_cluster_offers_is_read_from_it(slurm: SlurmSite) -> None:
    if not slurm.is_real:
        pytest.skip("the Slurm in memory offers nothing")
    partitions = {partition.name: partition for partition in await slurm.summit.partitions()}
    assert {"shas", "sknl", "stest"} <= set(partitions), "stest is hidden"
    assert partitions["sknl"].allow_accounts == ("ucb-knl",)
    assert partitions["sknl"].allow_qos == ("normal", "debug")
    nodes = {node.name: node for node in await slurm.summit.nodes()}
    assert nodes["sknl0701"].gpus == {"a100": 2, "v100": 1}
    assert "workshop" in {reservation.name for reservation in await slurm.summit.reservations()}
    mine = [right.account for right in await slurm.summit.associations("alice") if right.cluster == "summit"]
    assert sorted(mine) == ["ucb-general", "ucb-knl"]
    assert await slurm.summit.associations("dave") == []
    assert {"normal", "long", "debug"} <= {qos.name for qos in await slurm.summit.qos()}


@contextlib.asynccontextmanager
async def held(slurm: SlurmSite, **facts: object) -> AsyncIterator[int]:
    """A job of alice's that waits, until the end."""
    spec = replace(SPEC, extra=("--hold",), **facts)  # type: ignore[arg-type]  # the test's own typing
    job_id = await slurm.summit.submit(spec, SLEEPS, user="alice")
    await slurm.until(job_id, lambda job: job.reason == "JobHeldUser")
    yield job_id
    await slurm.summit.cancel(job_id, user="alice")


async def test_a_waiting_job_is_changed_and_keeps_its_time_of_submission(slurm: SlurmSite) -> None:
    async with held(slurm, partition="sknl", account="ucb-knl") as job_id:
        before = await slurm.until(job_id, lambda job: True)
        settings = {"TimeLimit": "2", "Partition": "shas", "Account": "ucb-general", "QOS": "debug"}
        await slurm.summit.update(job_id, settings, user="alice")
        after = await slurm.until(job_id, lambda job: job.partition == "shas")
    assert (after.runtime_limit_minutes, after.account, after.qos) == (2, "ucb-general", "debug")
    assert (after.submit, after.state) == (before.submit, before.state)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"Partition": "nope"}, "Invalid partition name specified"),
        ({"Account": "csdms"}, "Invalid account or account/partition combination specified"),
        ({"Partition": "sknl"}, "Invalid account or account/partition combination specified"),
        ({"TimeLimit": "2", "QOS": "nope"}, "Invalid qos specification"),
    ],
)
async def test_a_change_that_slurm_refuses_changes_nothing(
    slurm: SlurmSite, settings: dict[str, str], sentence: str
) -> None:
    async with held(slurm, partition="shas", account="ucb-general") as job_id:
        before = await slurm.until(job_id, lambda job: True)
        with pytest.raises(SlurmError, match=sentence):
            await slurm.summit.update(job_id, settings, user="alice")
        after = await slurm.until(job_id, lambda job: True)
    assert (after.runtime_limit_minutes, after.partition, after.account, after.qos) == (
        before.runtime_limit_minutes,
        *("shas", "ucb-general", before.qos),
    )


async def test_nobody_changes_a_job_of_somebody_else_or_one_that_is_over(slurm: SlurmSite) -> None:
    async with held(slurm) as job_id:
        with pytest.raises(SlurmError, match="Invalid user id"):
            await slurm.summit.update(job_id, {"TimeLimit": "2"}, user="bob")
    await slurm.until(job_id, lambda job: job.state.is_over)
    with pytest.raises(SlurmError, match="already finished"):
        await slurm.summit.update(job_id, {"TimeLimit": "2"}, user="alice")
    with pytest.raises(SlurmError, match="Invalid job id"):
        await slurm.summit.update(999_999, {"TimeLimit": "2"}, user="alice")
