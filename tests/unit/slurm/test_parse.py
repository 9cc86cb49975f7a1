"""The output of Slurm's commands is read completely, or not at all."""

from __future__ import annotations

import contextlib
import time as clock
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.errors import SlurmUnreachable
from flatirons.slurm import argv, parse
from flatirons.slurm.model import Allocation, End, Job, JobState

MARK = "0a1b2c3d"
HEADING = argv.JOB_FIELDS

# read from Slurm 24.11 on the virtual cluster
RUNNING = [
    *("1", "RUNNING", "alice", "ucb-general", "shas", "normal", "None", "shas[0101-0102]", "shas0101"),
    *("1795387822", "1795387823", "1795388123", "5:00", "0:0", "1000", "0"),
    *("cpu=4,mem=6000M,node=2,billing=4,gres/gpu=2,gres/gpu:v100=2", "x y", 'hé"|llo'),
]
PENDING = [
    *("4", "PENDING", "alice", "ucb-general", "shas", "normal", "PartitionTimeLimit", "", "n/a"),
    *("1795387851", "N/A", "N/A", "69-10:39:00", "0:0", "1000", "0"),
    *("cpu=1,mem=3G,node=1,billing=1,gres/gpu=2", "sbatch", "(null)"),
]


def printed(*records: list[str], mark: str = MARK) -> str:
    return "".join(f"|{mark}|".join(record) + f"|{mark}#\n" for record in [list(HEADING), *records])


def changed(record: list[str], **facts: str) -> list[str]:
    return [facts.get(name, value) for name, value in zip(HEADING, record, strict=True)]


def test_a_running_job_is_read() -> None:
    assert parse.jobs(printed(RUNNING), MARK)[1] == Job(
        id=1,
        state=JobState.RUNNING,
        name="x y",
        comment='hé"|llo',
        user="alice",
        account="ucb-general",
        partition="shas",
        qos="normal",
        reason="",
        nodes="shas[0101-0102]",
        batch_host="shas0101",
        submit=datetime(2026, 11, 22, 22, 50, 22, tzinfo=UTC),
        start=datetime(2026, 11, 22, 22, 50, 23, tzinfo=UTC),
        end=datetime(2026, 11, 22, 22, 55, 23, tzinfo=UTC),
        runtime_limit_minutes=5,
        priority=1000,
        allocation=Allocation(nodes=2, cpus=4, memory_mib=6000, gpus=(("v100", 2),)),
        raw_state="RUNNING",
    )


@pytest.mark.parametrize(
    ("text", "allocation"),
    [
        ("cpu=1,mem=3G,node=1,billing=1,gres/gpu=2", Allocation(1, 1, 3072, (("", 2),))),
        ("cpu=2,mem=62.50G,node=1", Allocation(1, 2, 64_000)),
        ("cpu=3,node=1,gres/gpu=3,gres/gpu:a=1,gres/gpu:b=2", Allocation(1, 3, 0, (("a", 1), ("b", 2)))),
        ("cpu=8,gres/gpu=0,gres/gpu:v100=0", Allocation(cpus=8)),
        *(
            (text, Allocation())
            for text in ("", "N/A", "(null)", "cpu=", "cpu=-1,mem=x,node=1.5", "=4,,", "cpu")
        ),
        ("mem=18446744073709551615M,cpu=99999999999999999999", Allocation()),
    ],
)
def test_what_slurm_allocated_is_read_as_far_as_it_says(text: str, allocation: Allocation) -> None:
    assert parse.jobs(printed(changed(RUNNING, **{"tres-alloc": text})), MARK)[1].allocation == allocation


def test_the_memory_of_a_job_is_shared_out_among_its_nodes() -> None:
    assert Allocation(nodes=2, memory_mib=6001).memory_per_node_mib == 3001
    assert Allocation(memory_mib=4000).memory_per_node_mib == 4000
    assert Allocation(nodes=2).memory_per_node_mib == 0


def test_a_pending_job_has_no_times_and_no_node() -> None:
    job = parse.jobs(printed(PENDING), MARK)[4]
    assert (job.start, job.end, job.nodes, job.batch_host, job.comment) == (None, None, "", "", "")
    assert job.reason == "PartitionTimeLimit"
    assert job.runtime_limit_minutes == (69 * 24 + 10) * 60 + 39


@pytest.mark.parametrize(
    ("state", "text", "exit_code", "signal"),
    [
        ("FAILED", "3:0", 3, None),
        ("FAILED", "0:9", 0, 9),
        ("FAILED", "256", 1, None),  # before 23.02, as wait(2) has it
        ("FAILED", "9", 0, 9),
        ("FAILED", "N/A", None, None),
        ("COMPLETED", "0:0", 0, None),
        ("RUNNING", "0:0", None, None),
    ],
)
def test_an_exit_code_is_valid_once_the_job_is_over(
    state: str, text: str, exit_code: int | None, signal: int | None
) -> None:
    job = parse.jobs(printed(changed(RUNNING, State=state, exit_code=text)), MARK)[1]
    assert (job.exit_code, job.signal) == (exit_code, signal)


def test_an_unknown_state_is_a_value() -> None:
    job = parse.jobs(printed(changed(RUNNING, State="HIBERNATING")), MARK)[1]
    assert (job.state, job.raw_state) == (JobState.UNKNOWN, "HIBERNATING")


def test_an_answer_without_jobs_is_an_answer() -> None:
    assert parse.jobs(printed(), MARK) == {}


@pytest.mark.parametrize(
    "text", ["", "\n", "Segmentation fault\n", "slurm_load_jobs error: x\n", "JOBID STATE\n"]
)
def test_anything_but_the_output_of_squeue_is_not_an_answer(text: str) -> None:
    with pytest.raises(SlurmUnreachable):
        parse.jobs(text, MARK)


@given(st.data())
def test_of_an_answer_that_is_cut_off_only_whole_records_are_ever_read(
    data: st.DataObject,
) -> None:
    text = printed(RUNNING, PENDING)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    try:
        jobs = parse.jobs(cut, MARK)
    except SlurmUnreachable:
        return
    whole = parse.jobs(text, MARK)
    assert cut.endswith(f"|{MARK}#\n")
    assert all(whole[number] == job for number, job in jobs.items())


@given(st.text())
def test_no_text_makes_the_parser_raise_anything_else(text: str) -> None:
    for hostile in (text, printed() + text, printed([text] * len(HEADING))):
        with contextlib.suppress(SlurmUnreachable):
            parse.jobs(hostile, MARK)


HOSTILE = st.text(max_size=60).filter(lambda text: MARK not in text) | st.sampled_from(
    [
        "|#\n",
        "\n9|RUNNING|bob\n",
        f"|{'ffffffff'}|",
        "(null)x",
        "\x1e\x1f",
        "a\nb",
        "日本",
        "'; DROP",
        "|",
        "#",
        "%s%n",
    ]
)


@given(name=HOSTILE, comment=HOSTILE)
def test_a_text_that_a_user_chose_stays_in_its_field(name: str, comment: str) -> None:
    text = printed(changed(RUNNING, Name=name, Comment=comment), PENDING)
    jobs = parse.jobs(text, MARK)
    assert set(jobs) == {1, 4}
    assert jobs[1].name == name
    assert jobs[1].user == "alice"
    assert jobs[1].batch_host == "shas0101"


def test_a_comment_made_to_look_like_a_record_cannot_forge_one_without_the_mark() -> None:
    guessed = "deadbeef"
    forged = (
        f"x|{guessed}#\n"
        + f"|{guessed}|".join(changed(RUNNING, JobID="4", BatchHost="evil"))
        + f"|{guessed}#"
    )
    jobs = parse.jobs(printed(changed(RUNNING, Comment=forged), PENDING), MARK)
    assert jobs[4].state is JobState.PENDING
    assert jobs[4].batch_host == ""


# -- sbatch


PRINTED = [
    *("123\n", "123", "123;summit\n", " 123 \n", "123\r\n"),
    "some plugin's greeting\n123\n",
    "123\n--> this job may use up to 2.00 SU\n",
    "=== 2 jobs ===\n123;summit\nJob 4 of 50 this month\n\n",
    "123\n123\n",
]


@pytest.mark.parametrize("text", PRINTED)
def test_a_job_id_is_read_from_the_one_line_that_is_only_an_id(text: str) -> None:
    assert parse.job_ids(text) == [123]


@pytest.mark.parametrize(
    "text", ["", "\n", "Submitted batch job 123", "12x", "-1", "1.5", "１２３", "123 --> 2 SU"]
)
def test_any_other_text_is_not_a_job_id(text: str) -> None:
    assert parse.job_ids(text) == []


def test_several_lines_that_may_be_ids_are_all_told() -> None:
    assert parse.job_ids("2000\n123\n") == [2000, 123]


def test_the_estimated_start_is_found_in_the_sentence_of_slurm() -> None:
    said = "sbatch: Job 12 to start at {} using 1 processors on nodes shas0101 in partition shas\n"
    assert parse.estimated_start(said.format("1795388123")) == datetime(2026, 11, 22, 22, 55, 23, tzinfo=UTC)
    assert parse.estimated_start(said.format("N/A")) is None
    assert parse.estimated_start("") is None


# -- sacct

FAILED = (
    "1|FAILED|3:0|5||1000M|shas0101|2|00:01.500|1|alice|1795386923\n"
    "1.batch|FAILED|3:0|5|4853760||shas0101|2|00:01.500|1|alice|1795386923\n"
    "1.extern|COMPLETED|0:0|5|0||shas0101|2|00:01.500|1|alice|1795386923\n"
)


def test_the_end_of_a_failed_job_is_read_with_its_memory() -> None:
    assert parse.ends(FAILED) == {
        1: End(
            job_id=1,
            state=JobState.FAILED,
            exit_code=3,
            elapsed_seconds=5,
            max_rss_mib=5,
            requested_memory_mib=1000,
            node="shas0101",
            cpus=2,
            cpu_seconds=1.5,
            nodes=1,
            raw_state="FAILED",
            user="alice",
            submit=datetime(2026, 11, 22, 22, 35, 23, tzinfo=UTC),
        )
    }


def test_the_end_says_who_cancelled_the_job() -> None:
    end = parse.ends("4|CANCELLED by 0|0:0|0||1000M|None assigned|2|00:01.500|1|alice|1795386923\n")[4]
    assert (end.state, end.cancelled_by, end.node) == (JobState.CANCELLED, 0, "")


def test_the_memory_of_a_job_is_that_of_its_largest_step() -> None:
    end = parse.ends(
        "7|COMPLETED|0:0|9||4G|c1|2|00:01.500|1|alice|1795386923\n"
        "7.batch|COMPLETED|0:0|9|100K||c1|2|00:01.500|1|alice|1795386923\n"
        "7.0|COMPLETED|0:0|9|2.5G||c1|2|00:01.500|1|alice|1795386923\n"
    )[7]
    assert (end.max_rss_mib, end.requested_memory_mib) == (2560, 4096)


def test_figures_that_slurm_does_not_measure_are_not_zero() -> None:
    end = parse.ends(
        "7|COMPLETED|0:0|9||0|c1|2|00:00:00|1|alice|1795386923\n"
        "7.batch|COMPLETED|0:0|9|0||c1|2|00:00:00|1|alice|1795386923\n"
    )[7]
    assert (end.max_rss_mib, end.requested_memory_mib, end.cpu_seconds) == (None, None, None)


def test_the_memory_that_was_asked_for_is_that_of_all_nodes() -> None:
    end = parse.ends("7|COMPLETED|0:0|9||4001M|c[1-2]|2|00:01.500|2|alice|1795386923\n")[7]
    assert (end.nodes, end.requested_memory_mib, end.memory_per_node_mib) == (2, 4001, 2001)


def test_a_step_that_ran_out_of_memory_explains_a_failed_job() -> None:
    text = (
        "7|FAILED|1:0|9||4G|c1|2|00:01.500|1|alice|1795386923\n"
        "7.batch|FAILED|1:0|9|1K||c1|2|00:01.500|1|alice|1795386923\n"
        "7.0|OUT_OF_MEMORY|0:125|9|4G||c1|2|00:01.500|1|alice|1795386923\n"
    )
    assert parse.ends(text)[7].state is JobState.OUT_OF_MEMORY


def test_a_job_that_still_runs_is_not_over() -> None:
    end = parse.ends("7|RUNNING|0:0|9||4G|c1|2|00:01.500|1|alice|1795386923\n")[7]
    assert (end.state, end.max_rss_mib) == (JobState.RUNNING, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:01.500", 1.5), ("01:02:03", 3723.0), ("1-00:00:10", 86410.0), ("", None), ("soon", None)],
)
def test_cpu_time_is_read_in_seconds(text: str, seconds: float | None) -> None:
    assert parse.cpu_seconds(text) == seconds


def test_waiting_jobs_are_in_each_of_their_queues_by_priority() -> None:
    text = printed(
        RUNNING,
        changed(PENDING, JobID="5", PriorityLong="5"),
        changed(PENDING, JobID="6", PriorityLong="9", Partition="shas,sknl"),
        changed(PENDING, JobID="7", PriorityLong="0"),
    )
    assert parse.queues(text, MARK) == {"shas": {6: 1, 5: 2, 7: 3}, "sknl": {6: 1}}


@pytest.mark.parametrize("text", ["12_3", "12_[1-5%2]", "12+1", "12.batch"])
def test_array_jobs_of_others_are_skipped(text: str) -> None:
    ours = changed(PENDING, JobID="8", Comment="flatirons:abc:1:alice/")
    answer = printed(changed(PENDING, JobID=text, PriorityLong="99"), ours)
    assert list(parse.jobs(answer, MARK, "flatirons:abc:")) == [8]
    assert parse.queues(answer, MARK) == {"shas": {8: 1}}


def test_only_jobs_with_our_comment_are_read_and_a_strange_record_of_others_is_ignored() -> None:
    ours, strange = changed(PENDING, JobID="8", Comment="flatirons:abc:1:alice/"), ["x", "nonsense"]
    assert list(parse.jobs(printed(RUNNING, ours, strange), MARK, "flatirons:abc:")) == [8]


def test_jobs_that_accounting_does_not_know_are_left_out() -> None:
    assert parse.ends("") == {}


@pytest.mark.parametrize(
    "text",
    ["1|FAILED\n", FAILED[:-5], "x|FAILED|3:0|5||1000M|c1|2|00:01.500|1|alice|1795386923\n", "garbage\n"],
)
def test_an_incomplete_or_strange_answer_of_accounting_is_not_an_answer(text: str) -> None:
    with pytest.raises(SlurmUnreachable):
        parse.ends(text)


@given(st.text())
def test_no_answer_of_accounting_makes_the_parser_raise_anything_else(text: str) -> None:
    for hostile in (text, text + "\n", FAILED + text):
        with contextlib.suppress(SlurmUnreachable):
            parse.ends(hostile)


# -- values


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("5:00", 5),
        ("0:30", 0),
        ("1:00:00", 60),
        ("1-00:00:00", 1440),
        ("69-10:39:00", 100_000 - 1),
        ("UNLIMITED", None),
        ("NOT_SET", None),
        ("Partition_Limit", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_durations_are_read_in_minutes(text: str, minutes: int | None) -> None:
    assert parse.minutes(text) == minutes


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [
        ("1000M", 1000),
        ("4G", 4096),
        ("1.5G", 1536),
        ("1K", 1),
        ("4853760", 5),
        ("0", 0),
        ("2T", 2 * 2**20),
        ("4000Mn", 4000),
        ("2Gc", 2048),
        ("18446744073709551616M", None),
        ("", None),
        ("?", None),
    ],
)
def test_memory_is_read_in_mebibytes(text: str, mebibytes: int | None) -> None:
    assert parse.mebibytes(text) == mebibytes


@pytest.fixture
def in_denver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/Denver")
        clock.tzset()
        yield
    clock.tzset()


@pytest.mark.usefixtures("in_denver")
def test_times_in_the_format_of_slurm_are_in_the_zone_of_this_machine() -> None:
    noon = parse.time("2026-06-01T12:00:00")
    assert noon == datetime(2026, 6, 1, 18, tzinfo=UTC)
    assert noon.utcoffset() == timedelta(0)  # type: ignore[union-attr]  # it is there


@pytest.mark.parametrize("text", ["N/A", "Unknown", "NONE", "None", "", "(null)", "soon", "9" * 30])
def test_a_text_that_is_not_a_time_gives_none(text: str) -> None:
    assert parse.time(text) is None


def test_the_name_of_a_step_cannot_pass_for_another_step() -> None:
    heading = "STEPID|m4|NAME|m4#\n"
    text = f"{heading}7.0|m4|engines\n9.0 engines|m4#\n7.1|m4|engines|m4#\n7.batch|m4|batch|m4#\n"
    assert parse.steps(text, "m4") == [
        ("7.0", "engines\n9.0 engines"),
        ("7.1", "engines"),
        ("7.batch", "batch"),
    ]
    for damaged in ("", text[:-1], "JOBID|m4|NAME|m4#\n", f"{heading}7.0|m4#\n"):
        with pytest.raises(SlurmUnreachable):
            parse.steps(damaged, "m4")
    assert argv.squeue_steps("abc4", 7) == [
        *("squeue", "--steps", "--local", "--Format=StepID:0|abc4|,StepName:0|abc4#", "--jobs=7"),
    ]
