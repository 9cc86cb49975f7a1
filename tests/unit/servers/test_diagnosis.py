"""Why servers end: each cause in a plain sentence, from the source that knows it best."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flatirons.job.node import kinds
from flatirons.job.node.calls import NOT_WANTED
from flatirons.servers import starter_ends
from flatirons.servers.causes import HUB, RECORD, Cause, StarterEnd
from flatirons.servers.diagnosis import diagnose, timeout_cause
from flatirons.slurm.model import End, Job, JobState

GONE = StarterEnd(1, None)


def job(state: JobState, **facts: object) -> Job:
    known: dict[str, object] = {"batch_host": "shas0101", "runtime_limit_minutes": 60, **facts}
    return Job(1, state, **known)  # type: ignore[arg-type]


def end(state: JobState, **facts: object) -> End:
    return End(1, state, elapsed_seconds=5, **facts)  # type: ignore[arg-type]


def cause(
    state: JobState,
    ending: StarterEnd | None = GONE,
    *,
    was_up: bool = True,
    reason: str = "",
    **facts: object,
) -> Cause:
    return diagnose(job(state, reason=reason), end(state, **facts), ending, was_up=was_up)


@pytest.mark.parametrize(
    ("state", "facts", "kind", "words"),
    [
        (JobState.TIMEOUT, {}, "time_limit", "reached its time limit of 1 hour"),
        (
            JobState.OUT_OF_MEMORY,
            {"requested_memory_mib": 1000, "max_rss_mib": 990},
            "out_of_memory",
            "1000 MB",
        ),
        (JobState.NODE_FAIL, {}, "node_failure", "Its node shas0101 failed"),
        (JobState.BOOT_FAIL, {}, "node_failure", "did not boot"),
        (JobState.PREEMPTED, {}, "preempted", "preemption"),
        (JobState.CANCELLED, {"cancelled_by": 0}, "cancelled_by_operator", "an operator"),
        (JobState.CANCELLED, {"cancelled_by": 10001}, "cancelled", "user with id 10001"),
        (JobState.DEADLINE, {}, "deadline", "deadline"),
        (JobState.VANISHED, {}, "vanished", "no longer knows"),
        (JobState.FAILED, {"signal": 53}, "launch", "could not be started"),
    ],
)
def test_slurm_is_believed_first(state: JobState, facts: dict[str, object], kind: str, words: str) -> None:
    found = cause(state, StarterEnd(1, None, "", ("ModuleNotFoundError: No module named 'x'",)), **facts)
    assert found.kind == kind
    assert words in found.sentence


OUT_OF_MEMORY = {"requested_memory_mib": 2048, "max_rss_mib": 2040}


def test_a_server_that_outlived_a_kernel_without_memory_ended_by_itself() -> None:
    found = cause(JobState.OUT_OF_MEMORY, StarterEnd(0, None, ""), **OUT_OF_MEMORY)
    assert (found.kind, found.fix) == ("completed", {"memory": "4G"})
    assert found.sentence == (
        "The notebook server ended by itself, without an error. "
        "Earlier, a kernel or another program was killed: the job had used all of its memory (2 GB)."
    )


@pytest.mark.parametrize("said", [StarterEnd(None, 9, ""), StarterEnd(1, None, ""), None])
def test_a_server_without_memory_that_did_not_end_cleanly_was_killed(said: StarterEnd | None) -> None:
    assert cause(JobState.OUT_OF_MEMORY, said, **OUT_OF_MEMORY).kind == "out_of_memory"


def test_a_start_that_ends_cleanly_without_memory_is_no_end_by_itself() -> None:
    found = cause(JobState.OUT_OF_MEMORY, StarterEnd(0, None, ""), was_up=False, **OUT_OF_MEMORY)
    assert found.kind == "out_of_memory"


def test_a_failed_prolog_is_named() -> None:
    found = cause(JobState.FAILED, None, was_up=False, reason="Prolog", signal=53)
    assert (found.kind, "prolog" in found.sentence) == ("prolog", True)


def test_a_users_cancellation_is_no_failed_prolog_even_while_the_node_drains_because_of_one() -> None:
    cancelled = end(JobState.CANCELLED, cancelled_by=10001)
    found = diagnose(job(JobState.CANCELLED), cancelled, None, was_up=False, node_reason="Prolog error")
    assert found.kind == "cancelled"


def test_a_kill_near_the_memory_limit_means_out_of_memory_and_twice_as_much_is_suggested() -> None:
    found = cause(JobState.FAILED, signal=9, requested_memory_mib=1500, max_rss_mib=1450)
    assert (found.kind, found.fix) == ("out_of_memory", {"memory": "3G"})


def test_the_suggested_memory_is_for_one_node_while_accounting_counts_the_whole_job() -> None:
    known = {"requested_memory_mib": 4000, "max_rss_mib": 1950, "nodes": 2}
    found = cause(JobState.FAILED, signal=9, **known)
    assert (found.kind, found.fix) == ("out_of_memory", {"memory": "4G"})
    assert "asked for 2 GB on each node" in found.sentence


def test_after_the_time_limit_twice_the_time_is_suggested() -> None:
    assert cause(JobState.TIMEOUT).fix == {"runtime": "2:00:00"}


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (
            "OSError: [Errno 28] No space left on device: '/home/alice/.local'",
            "home_full",
            "/home/alice/.local",
        ),
        ("OSError: [Errno 28] No space left on device: '/tmp/tmpabc'", "tmp_full", "no room in its /tmp"),
        (
            "FATAL:   while extracting x.sif: root filesystem extraction failed: failed to copy content in "
            "staging file: write /tmp/rootfs-1459659916/archive-2967750057: no space left on device",
            "tmp_full",
            "no room in its /tmp",
        ),
        (
            "FileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/var/tmp']",
            "tmp_full",
            "no room in its /tmp",
        ),
        (
            "FATAL:   write /data/x: no space left on device",
            "home_full",
            "disk that the server writes to is full",
        ),
        (
            "FATAL:   While checking container encryption: could not open image /srv/x.sif: the image's "
            "architecture (arm64) could not run on the host's (amd64)",
            "wrong_architecture",
            "made for arm64 processors, and the node's is amd64.",
        ),
        (
            "FATAL:   image targets 'arm64', cannot run on 'amd64'",
            "wrong_architecture",
            "made for arm64 processors, and the node's is amd64.",
        ),
        (
            "FATAL:   container creation failed: mount hook function failure: mount /no/such->/x error: "
            "while mounting /no/such: mount source /no/such doesn't exist",
            "bind_missing",
            "needs /no/such, which",
        ),
        (
            "FATAL:   exec /bin/jupyterhub-singleuser failed: a shared library is likely missing in it",
            "container",
            "/bin/jupyterhub-singleuser can't be run",
        ),
        ("flatirons: line 2: exec: apptainer: not found", "no_apptainer", "can't run apptainer: not found."),
        ("OSError: [Errno 122] Disk quota exceeded", "quota", "quota is used up"),
        ("ModuleNotFoundError: No module named 'pipes'", "old_jupyterhub", "too old for its Python"),
        (
            "ModuleNotFoundError: No module named 'distutils.core'",
            "old_jupyterhub",
            "no module distutils",
        ),
        ("ModuleNotFoundError: No module named 'jupyter_server'", "import_error", "no module jupyter_server"),
        ("ImportError: libfoo.so: cannot open shared object file", "import_error", "libfoo.so"),
        ("ERROR: Unable to locate a modulefile for 'conda/9'", "module_missing", "conda/9"),
        (
            "bash: line 3: jupyterhub-singleuser: command not found",
            "no_singleuser",
            "no jupyterhub-singleuser",
        ),
        ("bash: line 3: jupyter-labhub: command not found", "no_singleuser", "no jupyterhub-singleuser"),
        ('FATAL:   "jupyter-lab": executable file not found in $PATH', "no_jupyterlab", "no jupyter-lab."),
        ("FATAL:   could not open image /srv/x.sif: not a SIF", "container", "not a SIF"),
        ("MemoryError", "out_of_memory", "ran out of memory"),
        ("OSError: [Errno 98] Address already in use", "address_in_use", "could not listen on its port"),
        ("Error: listen EADDRINUSE 10.0.0.1:8888", "address_in_use", "could not listen on its port"),
    ],
)
@pytest.mark.parametrize("was_up", [True, False])
def test_messages_of_other_programs_in_the_log_become_a_plain_sentence(
    line: str, kind: str, words: str, was_up: bool
) -> None:
    found = cause(JobState.FAILED, StarterEnd(1, None, "", ("noise", line, "more noise")), was_up=was_up)
    assert (found.kind, words in found.sentence) == (kind, True), found
    assert found.advice
    assert found.sentence.endswith((".", ":")) or words in line


def named(kind: str, message: str = "", **values: str) -> StarterEnd:
    """What a starter reports of an end whose kind it knows."""
    exit_code = 0 if kind == kinds.STOPPED else 1
    return StarterEnd(exit_code, None, message, ("noise", "ImportError: x"), kind, values)


def program(path: str, errno: str = "ENOENT") -> StarterEnd:
    error = "Exec format error" if errno == "ENOEXEC" else "No such file or directory"
    return named(kinds.PROGRAM_NOT_STARTED, program=path, errno=errno, error=error)


STARTER_ENDS = [
    (named(kinds.STOPPED), "stopped", "The notebook server was stopped."),
    (
        named(kinds.IMAGE_MISSING, image="/srv/x.sif", node="c1"),
        "image_missing",
        "The image /srv/x.sif doesn't exist on c1.",
    ),
    (
        named(kinds.IMAGE_UNREADABLE, image="/srv/x.sif", node="c1"),
        "image_missing",
        "You can't read the image /srv/x.sif on c1.",
    ),
    (
        named(kinds.HOME_UNREACHABLE, home="/home/alice", node="c1", error="No such file or directory"),
        "home_missing",
        "Your home directory /home/alice can't be entered on c1: No such file or directory.",
    ),
    (
        named(kinds.PORTS_IN_USE, first="30000", last="30001"),
        "port",
        "No port between 30000 and 30001 is free on the node.",
    ),
    (
        named(kinds.PORTS_TAKEN, attempts="10"),
        "port",
        "Other programs took 10 ports in a row before the server could.",
    ),
    (
        program("/opt/bin/apptainer"),
        "no_apptainer",
        "The node can't run /opt/bin/apptainer: No such file or directory.",
    ),
    (
        program("/opt/bin/jupyterhub-singleuser", "ENOEXEC"),
        "wrong_architecture",
        "The environment's programs are made for another kind of processor than the node's.",
    ),
    (program("jupyterhub-singleuser"), "no_singleuser", "The environment has no jupyterhub-singleuser."),
    (program("jupyter-labhub"), "no_singleuser", "The environment has no jupyterhub-singleuser."),
    (program("jupyter-lab"), "no_jupyterlab", "The environment has no jupyter-lab."),
    (program("env"), "failed", "env can't be run on the node: No such file or directory."),
    (
        named(kinds.NO_ROOM_FOR_LOG),
        "tmp_full",
        "The node has no room in its /tmp, which the container and the server need.",
    ),
    (
        named(kinds.PROFILE_ENDED, node="shas0101", status="exit code 0"),
        "profile",
        "/etc/profile of shas0101 ended the job's shell (exit code 0), so the server could not start.",
    ),
    (
        named(kinds.PROLOGUE_ENDED, node="shas0101", status="exit code 3"),
        "prologue",
        "The site's prologue, which prepares shas0101 for a server, ended the job's shell (exit code 3).",
    ),
    (
        named(kinds.NOT_REPORTED, to="http://hub:8081"),
        "hub_unreachable",
        "The hub at http://hub:8081 can't be reached from the node.",
    ),
]


@pytest.mark.parametrize(("said", "kind", "sentence"), STARTER_ENDS)
@pytest.mark.parametrize("message", ["", "Reworded: FATAL: MemoryError, disk quota exceeded."])
@pytest.mark.parametrize("was_up", [True, False])
def test_the_starters_kind_decides_however_its_message_is_worded(
    said: StarterEnd, kind: str, sentence: str, message: str, was_up: bool
) -> None:
    found = cause(JobState.FAILED, replace(said, message=message), was_up=was_up)
    assert (found.kind, found.sentence) == (kind, sentence)


def test_every_kind_of_the_shared_list_has_a_sentence() -> None:
    assert {said.kind for said, *_ in STARTER_ENDS} == set(kinds.END_KINDS)
    for kind in kinds.END_KINDS:
        found = starter_ends.cause_of(StarterEnd(1, None, kind=kind), HUB)
        assert found and found.sentence.endswith("."), "values that are missing are no crash"


@pytest.mark.parametrize("kind", [kinds.PROFILE_ENDED, kinds.PROLOGUE_ENDED])
def test_of_a_profile_or_prologue_that_ended_the_log_may_say_more(kind: str) -> None:
    missing = "Lmod has detected the following error: The following module(s) are unknown: 'jupyter/9'"
    assert cause(JobState.FAILED, StarterEnd(1, None, "", (missing,), kind)).kind == "module_missing"
    assert cause(JobState.FAILED, StarterEnd(1, None, "", ("Welcome!",), kind)).kind != "module_missing"


def test_for_a_kind_of_a_newer_starter_the_message_is_shown() -> None:
    found = cause(JobState.FAILED, StarterEnd(1, None, "Something new.", (), "new", {"what": "it"}))
    assert (found.kind, found.sentence) == ("failed", "Something new.")
    assert cause(JobState.FAILED, StarterEnd(1, None, kind="new")).sentence.startswith("The notebook server")


@pytest.mark.parametrize(
    ("exit_code", "message", "kind"),
    [(0, "The notebook server was stopped.", "stopped"), (1, "The image x.sif doesn't exist.", "failed")],
)
def test_a_starter_of_an_older_version_without_kinds_is_understood(
    exit_code: int, message: str, kind: str
) -> None:
    call = {"exit_code": exit_code, "signal": None, "message": message, "log": ["last line"]}
    found = cause(JobState.FAILED, StarterEnd.from_call(call))
    assert (found.kind, found.sentence) == (kind, message)


def test_causes_of_a_server_without_a_hub_name_no_hub() -> None:
    said = named(kinds.NOT_REPORTED, to="/home/alice/x.jsonl")
    silent = job(JobState.FAILED), end(JobState.FAILED, exit_code=1)
    running = job(JobState.RUNNING)
    for receiver, is_hub in ((HUB, True), (RECORD, False)):
        causes = [
            diagnose(*silent, said, was_up=True, receiver=receiver),
            diagnose(*silent, None, was_up=False, receiver=receiver),
            timeout_cause(running, queue=60, node=60, has_starter_called=False, receiver=receiver),
        ]
        assert {each.kind for each in causes} == {receiver.kind}
        assert ["hub" in each.text for each in causes] == [is_hub] * 3


def test_without_anything_better_the_message_of_the_operating_system_is_shown() -> None:
    assert cause(JobState.FAILED, StarterEnd(1, None, "Something odd.")).sentence == "Something odd."
    full = StarterEnd(1, None, "[Errno 28] No space left on device: '/tmp/flatirons-tls-1'")
    assert cause(JobState.FAILED, full).kind == "tmp_full"


def test_a_server_that_ends_by_itself_has_completed() -> None:
    assert cause(JobState.COMPLETED, StarterEnd(0, None)).kind == "completed"


@pytest.mark.parametrize("line", ["ModuleNotFoundError: No module named 'x'", "Disk quota exceeded"])
def test_the_log_of_a_server_that_ended_without_an_error_gives_no_cause(line: str) -> None:
    log = (line, "[I] Shutting down")
    assert cause(JobState.COMPLETED, StarterEnd(0, None, "", log)).kind == "completed"
    told = StarterEnd(0, None, "", log, kinds.STOPPED)
    assert cause(JobState.COMPLETED, told).kind == "stopped"
    assert cause(JobState.COMPLETED, StarterEnd(0, None, "", log), was_up=False).kind != "completed"


def test_without_anything_better_the_cause_is_the_exit_code_or_the_signal() -> None:
    assert (
        "exit code 3 before it listened" in cause(JobState.FAILED, StarterEnd(3, None), was_up=False).sentence
    )
    assert "signal 11" in cause(JobState.FAILED, StarterEnd(None, 11)).sentence


def test_a_job_that_ended_without_a_call_means_that_its_node_cant_reach_the_hub() -> None:
    assert cause(JobState.FAILED, None, was_up=False, exit_code=1).kind == "hub_unreachable"


def test_a_starter_that_was_killed_after_its_boot_had_reached_the_hub() -> None:
    killed = diagnose(
        job(JobState.FAILED, reason="NonZeroExitCode"),
        end(JobState.FAILED, exit_code=1),
        None,
        was_up=False,
        has_starter_called=True,
    )
    assert (killed.kind, "exit code 1" in killed.sentence) == ("failed", True)


@pytest.mark.parametrize("has_starter_called", [True, False])
@pytest.mark.parametrize(
    ("reason", "facts"), [("RaisedSignal:9(Killed)", {}), ("NonZeroExitCode", {"signal": 9})]
)
def test_a_signal_is_named_whether_the_starter_had_booted_or_not(
    has_starter_called: bool, reason: str, facts: dict[str, object]
) -> None:
    ended = job(JobState.FAILED, reason=reason)
    found = diagnose(
        ended, end(JobState.FAILED, **facts), None, was_up=False, has_starter_called=has_starter_called
    )
    assert (found.kind, "signal 9" in found.sentence) == ("signal", True)


def test_a_refused_boot_is_distinguished_from_an_unreachable_hub() -> None:
    found = cause(JobState.FAILED, None, was_up=False, exit_code=NOT_WANTED)
    assert (found.kind, "not expected" in found.sentence) == ("not_expected", True)


def test_there_is_a_sentence_even_if_nothing_is_known() -> None:
    assert diagnose(None, None, None, was_up=True).sentence


def test_braces_in_a_log_are_not_formatted() -> None:
    line = "ImportError: {0} {evil.__class__}"
    assert "{evil.__class__}" in cause(JobState.FAILED, StarterEnd(1, None, "", (line,))).sentence
