"""The end of a log: routine lines can be left out, telling ones are marked, nothing in it is dangerous."""

from __future__ import annotations

import pytest

from flatirons.servers import log_lines

HEAD = "2026-11-29 21:00:00.123 ServerApp]"

ROUTINE = [
    f"[I {HEAD} 200 GET /user/alice/api/contents?content=0 (alice@10.1.0.9) 1.42ms",
    f"[W {HEAD} 404 GET /user/alice/api/nosuch (alice@10.1.0.9) 2.10ms referer=None",
    f"[I {HEAD} Kernel started: 6b1c7c0e",
    f"[D {HEAD} Using contents: services/contents",
    '10.1.0.9 - - [29/Nov/2026 21:00:00] "GET /index.html HTTP/1.1" 200 -',
    "",
]
TELLING = [
    f"[C {HEAD} Bad config encountered",
    f"[E {HEAD} Uncaught exception POST /user/alice/api/kernels",
    f"[C {HEAD} received signal 15, stopping",
    "ModuleNotFoundError: No module named 'numpy'",
    "traitlets.traitlets.TraitError: no",
    "slurmstepd: error: Detected 1 oom_kill event in StepId=5.batch.",
    "/opt/run.sh: line 3:   812 Killed    jupyterhub-singleuser",
    "FATAL:   while loading the image",
    "OSError: [Errno 122] Disk quota exceeded",
    "bash: jupyterhub-singleuser: command not found",
]
OTHER = [
    "Traceback (most recent call last):",
    '  File "x.py", line 7, in <module>',
    f"[W {HEAD} Notebook big.ipynb is not trusted",
    "Nothing was killed here",
    f"[E {HEAD[:-1]}",
    "a lesson in errors",
]


@pytest.mark.parametrize("text", ROUTINE)
def test_requests_and_routine_messages_can_be_left_out(text: str) -> None:
    [line] = log_lines.read([text])
    assert (line.is_routine, line.is_telling) == (True, False)


@pytest.mark.parametrize("text", TELLING)
def test_signs_of_a_cause_are_telling(text: str) -> None:
    [line] = log_lines.read([text])
    assert (line.is_routine, line.is_telling) == (False, True)


@pytest.mark.parametrize("text", OTHER)
def test_all_else_is_shown_as_it_is(text: str) -> None:
    [line] = log_lines.read([text])
    assert (line.is_routine, line.is_telling, line.text) == (False, False, text)


def test_an_answer_that_says_the_server_itself_failed_is_kept() -> None:
    [line] = log_lines.read([f"[E {HEAD} 500 GET /user/alice/lab (alice@10.1.0.9) 9.1ms"])
    assert line.is_telling


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("\x1b[1;31mFailed\x1b[0m badly", "Failed badly"),
        ("\x1b]0;a title\x07text", "text"),
        ("cut off\x1b[38;5;2", "cut off"),
        ("10%\r50%\r100%", "100%"),
        ("written on Windows\r", "written on Windows"),
        ("a\tb", "a       b"),
        ("a\x00b\x07", "a\ufffdb\ufffd"),
        ("\u202eevil", "\ufffdevil"),
        ("مرحبا <b>", "مرحبا <b>"),
    ],
)
def test_a_line_is_what_a_terminal_would_show_without_colours(written: str, seen: str) -> None:
    assert log_lines.shown(written) == seen


def test_of_too_many_lines_the_routine_ones_go_first() -> None:
    """A server answers many requests while it runs out of memory, and while it shuts down."""
    lines = ["first", ROUTINE[0], "second", *[f"{ROUTINE[0]} {number}" for number in range(50)], "last"]
    assert log_lines.kept(lines, 5) == ["first", "second", *lines[-3:]]
    assert log_lines.kept(lines, 2) == ["second", "last"]
    assert log_lines.kept(lines[:3], 5) == lines[:3]


def test_a_hostile_line_is_read_at_once() -> None:
    """The starter is the user's: it may send anything."""
    for text in ("\x1b[" * 50_000, "1 " * 50_000, "[I " * 50_000, "a." * 50_000, "\x1b]" * 50_000):
        assert len(log_lines.read([text])) == 1
