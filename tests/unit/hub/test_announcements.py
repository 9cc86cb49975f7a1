"""Operators' announcements: what is stored, for whom, for how long, and what a page shows of their text."""

from __future__ import annotations

import copy
import json
import stat
from datetime import datetime
from pathlib import Path

import pytest

from flatirons.errors import Refusal
from flatirons.hub.announcements import (
    LONGEST,
    MOST_FOR_A_PERSON,
    MOST_FOR_EVERYBODY,
    SECONDS_FOR_A_PERSON,
    Announcement,
    Announcements,
    NotStored,
    moment,
)


class Clock:
    """A clock that a test moves."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "announcements.json"


@pytest.fixture
def store(file: Path, clock: Clock) -> Announcements:
    return Announcements(file, clock)


def texts(found: list[Announcement]) -> list[str]:
    return [each.text for each in found]


def shown(text: str) -> str:
    """The text's HTML."""
    return str(Announcement("1", text, "info", "", "dave", 0, None).html)


def test_everybody_sees_what_is_for_everybody_and_one_person_what_is_for_them(store: Announcements) -> None:
    store.post("to all", author="dave")
    store.post("to alice", author="dave", user="alice")
    assert set(texts(store.of("alice"))) == {"to alice", "to all"}
    assert texts(store.of("bob")) == ["to all"]
    assert texts(store.for_visitor(None)) == ["to all"]


def test_warnings_come_first_and_then_the_newest(store: Announcements, clock: Clock) -> None:
    for text, level in (("old", "info"), ("bad", "warning"), ("new", "info")):
        clock.now += 1
        store.post(text, author="dave", level=level)
    assert texts(store.all()) == ["bad", "new", "old"]


def test_a_restarted_hub_has_the_same_announcements_in_a_file_that_nobody_else_can_read(
    store: Announcements, file: Path, clock: Clock
) -> None:
    made = store.post("Größe 5 🌋\nline", author="dave", level="warning", until=clock.now + 60)
    assert Announcements(file, clock).all() == [made]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_copies_of_the_object_show_the_same(store: Announcements) -> None:
    """JupyterHub copies its configuration."""
    other = copy.deepcopy(store)
    store.post("one", author="dave")
    assert texts(other.all()) == ["one"]
    other.post("two", author="dave")
    assert set(texts(store.all())) == {"one", "two"}


def test_an_announcement_ends_when_it_says_and_a_personal_one_after_a_month(
    store: Announcements, clock: Clock
) -> None:
    store.post("short", author="dave", until=clock.now + 60)
    store.post("for alice", author="dave", user="alice")
    store.post("for ever", author="dave")
    clock.now += 61
    assert set(texts(store.all())) == {"for alice", "for ever"}
    clock.now += SECONDS_FOR_A_PERSON
    assert texts(store.all()) == ["for ever"]


def test_only_its_reader_can_dismiss_a_message_and_nobody_one_to_everybody(store: Announcements) -> None:
    own, common = store.post("a", author="dave", user="alice"), store.post("b", author="dave")
    assert not store.remove(own.id, reader="bob")
    assert not store.remove(common.id, reader="alice")
    assert not store.remove(common.id, reader="")
    assert store.remove(own.id, reader="alice")
    assert not store.remove(own.id, reader="alice")
    assert store.remove(common.id)
    assert store.all() == []


def test_there_is_room_for_so_many_only(store: Announcements, clock: Clock) -> None:
    for number in range(MOST_FOR_EVERYBODY):
        store.post(str(number), author="dave", until=clock.now + 60)
    with pytest.raises(Refusal, match="10 announcements already"):
        store.post("one more", author="dave")
    for number in range(MOST_FOR_A_PERSON):
        store.post(str(number), author="dave", user="alice")
    with pytest.raises(Refusal, match='"alice" has 5 messages'):
        store.post("one more", author="dave", user="alice")
    store.post("another person has room", author="dave", user="bob")
    clock.now += 61
    store.post("those that ended don't count", author="dave")


@pytest.mark.parametrize(
    ("text", "more", "sentence"),
    [
        ("", {}, "Write a message"),
        (" \n\t\x00 ", {}, "Write a message"),
        ("x" * (LONGEST + 1), {}, "1,001"),
        ("x", {"level": "danger"}, '"danger" isn\'t a level'),
        ("x", {"until": 1.0}, "past"),
    ],
)
def test_what_cant_be_accepted_is_refused_with_a_sentence_and_stores_nothing(
    store: Announcements, file: Path, text: str, more: dict[str, object], sentence: str
) -> None:
    with pytest.raises(Refusal, match=sentence):
        store.post(text, author="dave", **more)  # type: ignore[arg-type]
    assert not file.exists()


def test_control_characters_and_lone_surrogates_are_left_out_and_other_scripts_kept(
    store: Announcements,
) -> None:
    made = store.post("a\x00\x1b[31mb\r\nc\ud800\tمرحبا", author="dave")
    assert made.text == "a[31mb\nc مرحبا"


def test_a_full_disk_is_an_error_with_a_sentence_for_the_operator(tmp_path: Path) -> None:
    store = Announcements(tmp_path / "missing" / "announcements.json")
    with pytest.raises(NotStored, match="can't store this"):
        store.post("x", author="dave")


ONE = {"id": "1", "text": "x", "level": "info", "user": "", "author": "dave", "at": 1.0, "until": None}
EDITED = [
    {"text": 1},
    {"level": "danger"},
    {"at": None},
    {"at": "x"},
    {"until": []},
    {"until": 1e300},
    {"user": None},
]


@pytest.mark.parametrize(
    "content",
    [
        *("{", "[]", '{"announcements": [{}]}', '{"announcements": 1}', '{"announcements": [1]}', "\xff"),
        *(json.dumps({"announcements": [ONE | edited]}) for edited in EDITED),
    ],
)
def test_a_damaged_file_shows_nothing_and_is_kept(
    store: Announcements, file: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(content.encode("latin-1"))
    assert store.all() == [] and store.all() == []
    assert len(caplog.records) == 1 and "can't be read" in caplog.text
    store.post("new", author="dave")
    assert texts(store.all()) == ["new"]
    assert file.with_suffix(".damaged").read_bytes() == content.encode("latin-1")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<b>&\"'", "&lt;b&gt;&amp;&#34;&#39;"),
        ("a\nb", "a<br>b"),
        ("javascript:alert(1) data:x ftp://x //x", "javascript:alert(1) data:x ftp://x //x"),
        ("https:// http://.", "https:// http://."),
    ],
)
def test_text_is_escaped_and_nothing_but_web_addresses_becomes_a_link(text: str, html: str) -> None:
    assert shown(text) == html


@pytest.mark.parametrize(
    ("text", "url", "rest"),
    [
        ("see https://example.org/a?b=1&c=2#d.", "https://example.org/a?b=1&amp;c=2#d", "."),
        ("(HTTP://example.org)", "HTTP://example.org", ")"),
        ('https://example.org/"onmouseover="x', "https://example.org/", "&#34;onmouseover=&#34;x"),
        ("https://example.org/<script>", "https://example.org/", "&lt;script&gt;"),
        ("https://example.org/é/مرحبا next", "https://example.org/é/مرحبا", " next"),
    ],
)
def test_a_link_ends_where_its_address_does(text: str, url: str, rest: str) -> None:
    found = shown(text)
    assert f'href="{url}"' in found and f">{url}</a>{rest}" in found
    assert found.count("<") == 2


@pytest.mark.parametrize("given", ["", None])
def test_no_end_is_no_moment(given: str | None) -> None:
    assert moment(given) is None


def test_an_end_without_a_zone_is_in_the_hubs() -> None:
    assert moment("2027-01-02T03:04") == datetime(2027, 1, 2, 3, 4).timestamp()
    assert moment("2027-01-02T03:04:00+00:00") == 1798859040
    assert moment(1798859040) == 1798859040


@pytest.mark.parametrize("given", ["tomorrow", "9999-99-99", float("nan"), float("inf"), 1e300, -(10**30)])
def test_what_isnt_a_moment_is_refused(given: object) -> None:
    with pytest.raises(Refusal, match="isn't a date and time"):
        moment(given)  # type: ignore[arg-type]
