"""The client: what Slurm's answers and failures become."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from flatirons.errors import CommandMissing, SlurmError, SlurmUnreachable, SubmitRefused
from flatirons.runner import AsSudo, Completed
from flatirons.slurm.client import SUBMISSIONS_AT_ONCE, SlurmClient
from flatirons.slurm.command_errors import MAYBE_SUBMITTED, NOT_ALLOWED, NOT_ANSWERING
from flatirons.slurm.model import Cluster, JobSpec, JobState
from tests.fakes.clock import idle
from tests.fakes.slurm import Call, FakeSlurm
from tests.waiting import until

SCRIPT = "#!/bin/bash -l\nsleep 60\n"
SPEC = JobSpec("jupyter", comment="flatirons:1", account="ucb-general", runtime_minutes=90, memory_mib=512)
DOWN = "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)\n"


@pytest.fixture
def slurm() -> FakeSlurm:
    return FakeSlurm()


@pytest.fixture
def client(slurm: FakeSlurm) -> SlurmClient:
    return SlurmClient(Cluster("summit", "/etc/slurm/summit.conf", "/opt/slurm/bin"), slurm)


async def test_a_job_is_submitted_as_its_user_with_the_script_on_stdin(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    job_id = await client.submit(SPEC, SCRIPT, user="alice")
    call = slurm.calls[-1]
    assert (call.argv[0], call.user, call.stdin) == ("/opt/slurm/bin/sbatch", "alice", SCRIPT)
    assert slurm.jobs[job_id].user == "alice"


async def test_the_cluster_is_chosen_by_its_configuration(slurm: FakeSlurm, client: SlurmClient) -> None:
    await client.submit(SPEC, SCRIPT, user="alice")
    await client.jobs()
    assert [call.env["SLURM_CONF"] for call in slurm.calls] == ["/etc/slurm/summit.conf"] * 2


async def test_a_command_as_a_user_gets_no_variable_that_sudo_would_have_to_keep_but_slurm_conf(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    await client.submit(SPEC, SCRIPT, user="alice")
    await client.cancel(1, user="alice")
    assert {key for call in slurm.calls for key in call.env} == {"SLURM_CONF"}


async def test_a_refusal_shows_the_sentence_of_slurm_and_what_to_do(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    with pytest.raises(SubmitRefused) as caught:
        await client.submit(JobSpec("x", account="nope"), SCRIPT, user="alice")
    assert caught.value.user == (
        "Slurm refused the job: Invalid account or account/partition combination specified. Slurm doesn't "
        "let you use this account, or not in this partition. Choose another account or partition."
    )
    assert "sbatch" in caught.value.detail


@pytest.mark.parametrize(
    ("stderr", "sentence"),
    [
        (DOWN, NOT_ANSWERING),
        (
            "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n",
            "did not say",
        ),
        (
            "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received\n",
            "did not say",
        ),
        ("sbatch: fatal: Could not establish a configuration source\n", "did not say"),
        ("sudo: a password is required\n", NOT_ALLOWED),
        ("Sorry, user jupyterhub is not allowed to execute 'sbatch' as alice on hub.\n", NOT_ALLOWED),
        ("ssh: connect to host login1 port 22: No route to host\n", "did not say"),
        ("alice@login1: Permission denied (publickey).\n", "did not say"),
        ("", "did not say"),
    ],
)
async def test_a_slurm_that_is_not_reached_has_not_refused_the_job(
    slurm: FakeSlurm, client: SlurmClient, stderr: str, sentence: str
) -> None:
    slurm.fail("sbatch", stderr)
    with pytest.raises(SlurmUnreachable) as caught:
        await client.submit(SPEC, SCRIPT, user="alice")
    assert sentence in caught.value.user


async def test_a_warning_of_sudo_about_its_host_is_not_a_refusal_of_sudo(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    stderr = "sudo: unable to resolve host hub: Name unknown\nsbatch: error: Invalid qos specification\n"
    slurm.fail("sbatch", stderr)
    with pytest.raises(SubmitRefused):
        await client.submit(SPEC, SCRIPT, user="alice")


async def test_a_test_run_that_is_not_answered_submitted_nothing(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    slurm.fail("sbatch", "allocation failure: Socket timed out on send/recv operation\n")
    with pytest.raises(SlurmUnreachable) as caught:
        await client.test_only(SPEC, SCRIPT, user="alice")
    assert caught.value.user == NOT_ANSWERING


async def test_a_submission_that_takes_too_long_may_have_happened(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    slurm.hang("sbatch")
    with pytest.raises(SlurmUnreachable, match="did not say"):
        await client.submit(SPEC, SCRIPT, user="alice")


async def test_an_answer_without_an_id_is_not_a_refusal(slurm: FakeSlurm, client: SlurmClient) -> None:
    slurm.tamper("sbatch", lambda text: "hello\n")
    slurm.on_submit = lambda job: slurm.lose(job.id)
    with pytest.raises(SlurmUnreachable):
        await client.submit(SPEC, SCRIPT, user="alice")


async def test_a_submission_whose_caller_gave_up_leaves_no_job(slurm: FakeSlurm, client: SlurmClient) -> None:
    gate = slurm.hold("sbatch")
    submission = asyncio.ensure_future(client.submit(SPEC, SCRIPT, user="alice"))
    await idle()
    submission.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submission
    gate.set()
    await idle()
    assert [(job.state, job.user) for job in slurm.jobs.values()] == [("CANCELLED", "alice")]


async def test_few_submissions_run_at_once_and_more_when_slurm_hangs(
    slurm: FakeSlurm, client: SlurmClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = slurm.hold("sbatch")
    many = [asyncio.ensure_future(client.submit(SPEC, SCRIPT, user="alice")) for _ in range(30)]
    await idle()
    assert slurm.count("sbatch") == SUBMISSIONS_AT_ONCE
    gate.set()
    assert len(set(await asyncio.gather(*many))) == 30
    gate.clear()
    monkeypatch.setattr("flatirons.slurm.client.SUBMISSION_PATIENCE", 0.05)
    many = [asyncio.ensure_future(client.submit(SPEC, SCRIPT, user="alice")) for _ in range(30)]
    await until(lambda: slurm.count("sbatch") == 60)
    gate.set()
    await asyncio.gather(*many)


async def test_a_refused_submission_whose_caller_gave_up_needs_nothing_more(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    gate = slurm.hold("sbatch")
    submission = asyncio.ensure_future(client.submit(JobSpec("x", account="nope"), SCRIPT, user="alice"))
    await idle()
    submission.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await submission
    await idle()
    assert slurm.jobs == {}


async def test_all_jobs_are_seen_with_one_query(slurm: FakeSlurm, client: SlurmClient) -> None:
    job_id = await client.submit(SPEC, SCRIPT, user="alice")
    slurm.add_job("bob", comment="mine\n|too|")
    slurm.calls.clear()
    snapshot = await client.jobs()
    assert [call.command for call in slurm.calls] == ["squeue"]
    assert {job.user for job in snapshot.jobs.values()} == {"alice", "bob"}
    assert snapshot.jobs[job_id].runtime_limit_minutes == 90
    assert snapshot.taken_at >= snapshot.began_at > 0


async def test_each_query_has_its_own_mark(slurm: FakeSlurm, client: SlurmClient) -> None:
    for _ in range(20):
        await client.jobs()
    assert len({call.argv for call in slurm.calls}) == 20


async def test_squeue_filters_by_the_names_that_matter(slurm: FakeSlurm) -> None:
    slurm.add_job("bob", name="other")
    mine = slurm.add_job("alice", name="jupyter")
    snapshot = await SlurmClient(Cluster("summit"), slurm, job_names=["jupyter"]).jobs()
    assert list(snapshot.jobs) == [mine]


async def test_twenty_thousand_jobs_are_parsed_without_blocking_the_event_loop(slurm: FakeSlurm) -> None:
    beats = 0  # turns of the event loop, which are the same on any machine

    async def beat() -> None:
        nonlocal beats
        while True:
            beats += 1
            await asyncio.sleep(0)

    async def read() -> int:
        heart = asyncio.ensure_future(beat())
        snapshot = await SlurmClient(Cluster("summit"), slurm).jobs()
        heart.cancel()
        return len(snapshot.jobs)

    assert await read() == 0
    of_an_empty_queue = beats
    for _ in range(20_000):
        slurm.add_job("bob", reason="Priority")
    assert await read() == 20_000
    assert beats > 2 * of_an_empty_queue + 5


async def test_a_job_that_slurm_does_not_know_is_none(slurm: FakeSlurm, client: SlurmClient) -> None:
    assert await client.job(99) is None
    job_id = slurm.add_job("alice")
    job = await client.job(job_id, user="alice")
    assert job is not None
    assert job.state is JobState.PENDING
    assert slurm.calls[-1].user == "alice"


@pytest.mark.parametrize("stderr", ["slurm_load_jobs error: Unexpected message received\n", "", "what?"])
async def test_a_job_is_not_gone_because_the_query_failed(
    slurm: FakeSlurm, client: SlurmClient, stderr: str
) -> None:
    slurm.fail("squeue", stderr)
    with pytest.raises(SlurmError):
        await client.job(1)


async def test_a_job_is_cancelled_as_its_user_and_a_second_time_without_an_error(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    job_id = await client.submit(SPEC, SCRIPT, user="alice")
    await client.cancel(job_id, user="alice")
    await client.cancel(job_id, user="alice")
    await client.cancel(9999, user="alice")
    assert slurm.jobs[job_id].state == "CANCELLED"


@pytest.mark.parametrize(
    "stderr",
    [
        "scancel: error: Kill job error on job id 1: Invalid job id specified\n",
        "scancel: error: Kill job error on job id 1: Job/step already completing or completed\n",
    ],
)
async def test_the_errors_of_older_slurms_for_an_ended_job_are_recognized(
    slurm: FakeSlurm, client: SlurmClient, stderr: str
) -> None:
    slurm.fail("scancel", stderr)
    await client.cancel(1, user="alice")


async def test_a_cancellation_that_is_not_allowed_is_an_error(slurm: FakeSlurm, client: SlurmClient) -> None:
    job_id = slurm.add_job("alice")
    with pytest.raises(SlurmError, match="Access/permission denied"):
        await client.cancel(job_id, user="bob")
    assert slurm.jobs[job_id].state == "PENDING"


async def test_a_signal_does_not_cancel_the_job(slurm: FakeSlurm, client: SlurmClient) -> None:
    job_id = slurm.add_job("alice")
    await client.cancel(job_id, user="alice", signal="TERM")
    assert slurm.jobs[job_id].state == "PENDING"


async def test_ends_of_many_jobs_cost_one_query_and_those_of_none_cost_nothing(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    ids = [slurm.add_job("alice"), slurm.add_job("bob")]
    for job_id in ids:
        slurm.run_job(job_id)
        slurm.end_job(job_id, "OUT_OF_MEMORY", exit_code="0:125", max_rss="990M")
    ends = await client.ends([*ids, *ids, 77])
    assert slurm.count("sacct") == 1
    assert {end.job_id: (end.state, end.signal, end.max_rss_mib) for end in ends.values()} == dict.fromkeys(
        ids, (JobState.OUT_OF_MEMORY, 125, 990)
    )
    assert await client.ends([]) == {}
    assert slurm.count("sacct") == 1


async def test_thousands_of_ends_are_asked_for_in_command_lines_of_allowed_length(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    ids = [slurm.add_job("alice") for _ in range(2500)]
    assert set(await client.ends(ids)) == set(ids)
    assert slurm.count("sacct") == 3


async def test_a_hundred_ends_at_the_same_time_cost_accounting_two_queries(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    ids = [slurm.add_job("alice") for _ in range(100)]
    gate = slurm.hold("sacct")
    first = asyncio.ensure_future(client.ends(ids[:1]))
    await idle()
    others = [asyncio.ensure_future(client.ends([job_id, 777])) for job_id in ids]
    others[5].cancel()
    await idle()
    assert slurm.count("sacct") == 1, "never two at a time"
    gate.set()
    assert list(await first) == ids[:1]
    found = await asyncio.gather(*others, return_exceptions=True)
    assert isinstance(found.pop(5), asyncio.CancelledError)
    assert [list(each) for each in found if isinstance(each, dict)] == [[n] for n in ids if n != ids[5]]
    assert slurm.count("sacct") == 2 and slurm.most_at_once == 1


async def test_a_failed_query_to_accounting_fails_for_all_who_shared_it_and_for_nobody_else(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    ids = [slurm.add_job("alice") for _ in range(3)]
    slurm.fail("sacct", "Problem talking to the database: Connection refused\n")
    asked = (client.ends([job_id]) for job_id in ids)
    assert [type(each) for each in await asyncio.gather(*asked, return_exceptions=True)] == [
        SlurmUnreachable
    ] * 3
    assert list(await client.ends(ids)) == ids


async def test_without_accounting_slurmctld_gives_the_ends_that_it_still_knows(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    slurm.has_accounting = False
    over, alive = slurm.add_job("alice"), slurm.add_job("alice")
    slurm.run_job(over)
    slurm.now += 90
    slurm.end_job(over, "FAILED", exit_code="2:0")
    ends = await client.ends([over, alive, 99])
    assert list(ends) == [over]
    assert (ends[over].exit_code, ends[over].elapsed_seconds) == (2, 90)


async def test_a_test_run_gives_the_start_and_submits_nothing(slurm: FakeSlurm, client: SlurmClient) -> None:
    start, sentence = await client.test_only(SPEC, SCRIPT, user="alice")
    assert start is not None
    assert "to start at" in sentence
    assert slurm.jobs == {}
    with pytest.raises(SubmitRefused, match="no such partition"):
        await client.test_only(JobSpec("x", partition="nope"), SCRIPT, user="alice")


async def test_a_missing_command_says_nothing_about_a_job_and_is_reported_as_missing(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    def missing(text: str) -> str:
        raise CommandMissing("squeue can't be run: No such file or directory.", ["squeue"])

    slurm.tamper("squeue", missing)
    with pytest.raises(SlurmUnreachable) as caught:
        await client.jobs()
    assert caught.value.user == ("squeue can't be run: No such file or directory. Please tell the operator.")


# -- what sites let sbatch print


@pytest.mark.parametrize(
    "printed",
    [
        "{id}\n--> this job may use up to 2.00 SU\n",
        "Welcome to summit.\n{id};summit\nYou have 2000 SU left.\n",
        "2000\n{id}\n",  # a balance, perhaps
        "Submitted batch job {id}\n",
        "{id} (2.00 SU)\n",
        "",
    ],
)
@pytest.mark.parametrize("changed", [{}, {"comment": "cost-centre-17"}, {"name": "my-run"}])
async def test_a_job_is_found_whatever_a_site_prints_around_its_id(
    slurm: FakeSlurm, client: SlurmClient, printed: str, changed: dict[str, str]
) -> None:
    """The site's plugin may also replace the job's comment or its name."""
    slurm.now = int(time.time())
    slurm.add_job("bob", name=SPEC.name, comment=SPEC.comment, submit=slurm.now)
    slurm.add_job("alice", name=SPEC.name, comment="of an earlier start", submit=slurm.now - 3600)
    slurm.add_job("alice", name=SPEC.name, comment="flatirons:of another server", submit=slurm.now)
    slurm.on_submit = lambda job: slurm.change(job.id, **changed)
    slurm.tamper("sbatch", lambda out: printed.format(id=out.strip()))
    assert await client.submit(SPEC, SCRIPT, user="alice") == 4


async def test_among_several_numbers_only_that_of_a_job_of_this_user_is_an_id(
    slurm: FakeSlurm, client: SlurmClient
) -> None:
    slurm.now = int(time.time())
    slurm.add_job("bob", submit=slurm.now)
    slurm.on_submit = lambda job: slurm.change(job.id, name="my-run", comment="cost-centre-17")
    slurm.tamper("sbatch", lambda out: f"1\n{out}")
    assert await client.submit(SPEC, SCRIPT, user="alice") == 2


async def test_what_was_printed_without_a_job_is_passed_on(slurm: FakeSlurm, client: SlurmClient) -> None:
    slurm.tamper("sbatch", lambda out: "Ask for an account first:\n\x1b[1mhelp@example.org\n")
    slurm.on_submit = lambda job: slurm.lose(job.id)
    with pytest.raises(SlurmUnreachable, match=r"Ask for an account first: .*help@example\.org") as caught:
        await client.submit(SPEC, SCRIPT, user="alice")
    assert "\x1b" not in caught.value.user
    assert "try again in a minute" not in caught.value.user


@pytest.mark.parametrize("trouble", ["fail", "hang"])
async def test_a_job_without_an_id_that_slurm_can_not_show_may_have_been_submitted(
    slurm: FakeSlurm, client: SlurmClient, trouble: str
) -> None:
    slurm.tamper("sbatch", lambda out: "")
    if trouble == "fail":
        slurm.fail("squeue", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
    else:
        slurm.hang("squeue")
    with pytest.raises(SlurmUnreachable) as caught:
        await client.submit(SPEC, SCRIPT, user="alice")
    assert caught.value.user == MAYBE_SUBMITTED


@pytest.mark.parametrize("call", ["submit", "test_only"])
@pytest.mark.parametrize(
    "stderr", ["", "  \n", "sbatch: error: Batch job submission failed: Unspecified error\n"]
)
async def test_a_refusal_on_stdout_is_passed_on(
    slurm: FakeSlurm, client: SlurmClient, stderr: str, call: str
) -> None:
    slurm.fail("sbatch", stderr, stdout="Project phys-7 has no hours left.\nAsk \x1b[1mhelp@example.org\n")
    with pytest.raises(SubmitRefused, match=r"Project phys-7 has no hours left\. Ask .*help@") as caught:
        await getattr(client, call)(SPEC, SCRIPT, user="alice")
    assert "\x1b" not in caught.value.user


async def test_an_unreached_slurm_is_recognized_on_stdout_too(slurm: FakeSlurm, client: SlurmClient) -> None:
    slurm.fail("sbatch", "", stdout=DOWN)
    with pytest.raises(SlurmUnreachable):
        await client.submit(SPEC, SCRIPT, user="alice")


@pytest.mark.parametrize("user", ["root", "daemon", "0", "no-such-user"])
async def test_an_account_as_which_nothing_may_run_is_told_so_and_the_operator_need_not_be(user: str) -> None:
    client = SlurmClient(Cluster("summit"), AsSudo())
    for request in (
        client.submit(SPEC, SCRIPT, user=user),
        client.cancel(7, user=user),
        client.job(7, user=user),
    ):
        with pytest.raises(SlurmError) as caught:
            await request
        assert not isinstance(caught.value, SlurmUnreachable), "the job certainly wasn't submitted"
        assert "account" in caught.value.user
        assert "operator" not in caught.value.user


async def test_the_runner_refuses_the_uid_that_slurm_names_as_its_own() -> None:
    class Controller(AsSudo):
        """scontrol's answer; everything else would run with sudo."""

        async def run(self, argv: Sequence[str], **more: Any) -> Completed:
            if "config" not in argv:
                return await super().run(argv, **more)
            return Completed(
                "AccountingStorageEnforce = none\nClusterName = x\nSlurmUser = n(65534)\n", "", 0
            )

    client = SlurmClient(Cluster("summit"), Controller())
    await client.configuration()
    with pytest.raises(SlurmError, match="Slurm's daemons \\(uid 65534\\)"):
        await client.submit(SPEC, SCRIPT, user="nobody")


class Nodes(FakeSlurm):
    """One node; slurmctld counts its GPUs by `configured`, and all of them in the details."""

    def __init__(self, configured: str) -> None:
        super().__init__()
        self.configured = configured

    async def run(self, argv: Sequence[str], **how: Any) -> Completed:
        """What scontrol prints."""
        self.calls.append(Call(tuple(argv), None, "", {}))
        used = "GresUsed=gpu:a100:1(IDX:0),gpu:v100:0(IDX:N/A) " if "--details" in argv else ""
        return Completed(
            f"NodeName=c1 CPUTot=8 Gres=gpu:a100:2,gpu:v100:1 {used}RealMemory=1 State=MIXED "
            f"CfgTRES=cpu=8{self.configured} AllocTRES=\n",
            "",
            0.0,
        )


async def test_gpus_are_counted_with_details_only_where_nothing_else_counts_them() -> None:
    slurm = Nodes(",gres/gpu=3,gres/gpu:a100=2,gres/gpu:v100=1")
    client = SlurmClient(Cluster("summit"), slurm)
    assert not (await client.nodes())[0].gpus_not_counted
    assert [call.argv[-2:] for call in slurm.calls] == [("show", "node")]
    assert "--details" not in slurm.calls[0].argv
    slurm = Nodes("")
    client = SlurmClient(Cluster("summit"), slurm)
    for _ in range(2):
        [node] = await client.nodes()
        assert (node.gpus_in_use, node.gpus_not_counted) == ({"a100": 1}, frozenset())
    assert ["--details" in call.argv for call in slurm.calls] == [False, True, True]
