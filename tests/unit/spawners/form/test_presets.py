"""Saved presets: one file for each user, on a disk that may be full, in files that may be damaged."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons import files
from flatirons.slurm_form.form import slurm_form
from flatirons.spawners.form.preset_clicks import card_in_use, cards, options_of_card
from flatirons.spawners.form.presets import LONGEST_NAME, MOST_SAVED, Preset, Presets
from tests.fakes import summit

NAME_NEEDED = f"A name of 1 to {LONGEST_NAME} letters is needed to save these choices."
OPTIONS = {"cpus": 2, "memory": 4096, "gpus": "v100:1", "factor": 0.5, "exclusive": True, "account": None}


def kept(folder: Path) -> Presets:
    return Presets(folder=folder / "presets")


def test_saved_presets_survive_a_restart_in_the_order_of_saving(tmp_path: Path) -> None:
    mine = kept(tmp_path)
    for name in ("zebra", "ape", "Größe 😀"):
        assert mine.save("alice", name, OPTIONS) == ""
    for presets in (mine, kept(tmp_path)):
        assert list(presets.saved("alice")) == ["zebra", "ape", "Größe 😀"]
        assert presets.saved("alice")["ape"] == Preset("ape", OPTIONS)


def test_the_same_name_replaces_and_forgetting_removes(tmp_path: Path) -> None:
    mine = kept(tmp_path)
    mine.save("alice", "mine", {"cpus": 1})
    mine.save("alice", "mine", {"cpus": 2})
    mine.save("alice", "other", {})
    assert mine.saved("alice")["mine"].options == {"cpus": 2}
    mine.forget("alice", "mine")
    assert list(kept(tmp_path).saved("alice")) == ["other"]
    mine.forget("alice", "never there")
    mine.forget("nobody", "other")
    assert list(mine.saved("alice")) == ["other"]


def test_users_dont_see_each_others_presets(tmp_path: Path) -> None:
    mine = kept(tmp_path)
    mine.save("alice", "mine", {"cpus": 1})
    mine.save("bob", "mine", {"cpus": 2})
    mine.forget("bob", "mine")
    assert mine.saved("alice")["mine"].options == {"cpus": 1}
    assert mine.saved("bob") == kept(tmp_path).saved("bob") == {}


@pytest.mark.parametrize(
    "user", ["../../etc/passwd", "a/b", "", ".", "x" * 5000, "é", "a\x00b", "alice.json", "-rf", "😀"]
)
def test_any_user_name_gives_a_file_in_the_folder(tmp_path: Path, user: str) -> None:
    mine = kept(tmp_path)
    assert mine.save(user, "mine", {"cpus": 1}) == ""
    assert kept(tmp_path).saved(user)["mine"].options == {"cpus": 1}
    [file] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert file.parent == tmp_path / "presets"
    assert json.loads(file.read_text())["user"] == user


@pytest.mark.parametrize("name", ["", " ", "\n", "x" * 61, "a\x00b", "\u202e", "a\u200bb", "\x1b[0m"])
def test_an_unreadable_name_isnt_saved(tmp_path: Path, name: str) -> None:
    mine = kept(tmp_path)
    assert mine.save("alice", name, {"cpus": 1}) == NAME_NEEDED
    assert mine.saved("alice") == {}
    assert not (tmp_path / "presets").exists()


@given(st.text(max_size=80))
def test_a_name_is_saved_as_it_is_shown_or_refused_with_a_sentence(name: str) -> None:
    mine = Presets(folder=Path("/nonexistent/never/made"))
    assert mine.save("alice", name, {}) in (NAME_NEEDED, "Your choices can't be saved at the moment.")


def test_spaces_in_a_name_are_one_space(tmp_path: Path) -> None:
    mine = kept(tmp_path)
    mine.save("alice", "  two\t words ", {})
    assert list(mine.saved("alice")) == ["two words"]


def test_a_user_at_the_limit_can_only_replace_presets(tmp_path: Path) -> None:
    mine = kept(tmp_path)
    for n in range(MOST_SAVED):
        assert mine.save("alice", str(n), {}) == ""
    assert "Forget one first" in mine.save("alice", "one more", {})
    assert mine.save("alice", "7", {"cpus": 1}) == ""
    assert len(mine.saved("alice")) == MOST_SAVED
    assert mine.save("bob", "mine", {}) == ""


def test_without_a_folder_saving_is_refused_with_a_sentence(tmp_path: Path) -> None:
    none = Presets()
    assert none.save("alice", "mine", {}) == NAME_NEEDED
    assert none.saved("alice") == {}
    none.forget("alice", "mine")


def test_only_the_hub_reads_the_folder_and_its_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        kept(tmp_path).save("alice", "mine", {})
    finally:
        os.umask(before)
    [file] = (tmp_path / "presets").iterdir()
    assert stat.S_IMODE((tmp_path / "presets").stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def full(*args: object, **kwargs: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_gives_a_sentence_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mine = kept(tmp_path)
    mine.save("alice", "old", {"cpus": 1})
    monkeypatch.setattr(files.os, "fsync", full)
    assert mine.save("alice", "new", {"cpus": 2}) == "Your choices can't be saved at the moment."
    mine.forget("alice", "old")
    assert "No space left" in caplog.text
    for presets in (mine, kept(tmp_path)):
        assert list(presets.saved("alice")) == ["old"]
    assert len(list((tmp_path / "presets").iterdir())) == 1, "a draft was left behind"


def test_a_crash_while_writing_leaves_the_old_file_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = kept(tmp_path)
    mine.save("alice", "old", {"cpus": 1})
    monkeypatch.setattr(files.os, "replace", full)
    assert mine.save("alice", "new", {}) != ""
    assert list(kept(tmp_path).saved("alice")) == ["old"]


DAMAGED = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[]",
    b"null",
    b"{}",
    b'{"presets": []}',
    b'{"presets": {"mine": 1}}',
    b'{"presets": {"mine": "text"}}',
    b'{"presets": {"mine": [[1]]}}',
]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_file_gives_no_presets_and_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    kept(tmp_path).save("alice", "mine", {})
    [file] = (tmp_path / "presets").iterdir()
    file.write_bytes(content)
    caplog.clear()
    assert kept(tmp_path).saved("alice") == {}
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert file.read_bytes() == content


def test_saving_keeps_a_file_that_couldnt_be_read(tmp_path: Path) -> None:
    kept(tmp_path).save("alice", "mine", {"cpus": 7})
    [file] = (tmp_path / "presets").iterdir()
    content = file.read_bytes()[:-1]
    file.write_bytes(content)
    kept(tmp_path).save("alice", "new", {})
    assert content in [path.read_bytes() for path in (tmp_path / "presets").iterdir()]


def test_the_names_are_the_options_that_site_presets_set() -> None:
    presets = Presets({"small": Preset("Small", {"cpus": 1}), "gpu": Preset("GPU", {"gpus": 1, "cpus": 2})})
    assert presets.option_names == {"cpus", "gpus"}
    assert presets.saved("alice") == {}


async def test_a_preset_with_memory_works_where_slurm_allocates_none() -> None:
    form = slurm_form({}, {"summit": {}}, {"python": {}})
    presets = Presets({"large": Preset("Large", {"cpus": 4, "memory": "900G"})})
    for seen, titles in ((summit.FACTS, []), (summit.without_memory("shas"), ["Large", "Defaults"])):
        found = await cards(presets, form, "alice", {}, summit.context(seen=seen))
        assert [card.title for card in found] == titles
    options = options_of_card(presets, "alice", {}, {}, "site:large")
    answers = await form.answers(options, summit.context(seen=summit.without_memory("shas")))
    values = {answer.field.name: answer.value for answer in answers}
    assert (values["cpus"], values["memory"]) == (4, None)


# -- the card that is in use

IN_USE = Presets(
    {
        "small": Preset("Small", {"cpus": "1", "memory": "2G"}),
        "fast": Preset("Fast", {"partition": "shas", "gpus": "2"}),
    }
)


async def in_use(given: dict[str, object], last: dict[str, object] | None = None, pressed: str = "") -> str:
    """The card whose options alice's form has after these were posted."""
    form = slurm_form({}, {"summit": {}}, {"python": {}})
    answers = await form.answers(given, summit.context(), live=True)
    return card_in_use(IN_USE, "alice", last or {}, answers, pressed)


@pytest.mark.parametrize(
    ("given", "card"),
    [
        ({}, "defaults"),
        ({"cpus": "1", "memory": "2048M"}, "site:small"),
        ({"cpus": "1", "memory": "2G", "runtime": "5:00:00"}, "site:small"),
        ({"cpus": "1", "memory": "4G"}, ""),
        ({"cpus": "1", "memory": "2G", "gpus": "v100:1"}, ""),
        ({"partition": "shas", "gpus": "v100:2"}, "site:fast"),
        ({"memory": "lots"}, ""),
    ],
)
async def test_a_card_is_in_use_as_long_as_the_form_has_its_options(
    given: dict[str, object], card: str
) -> None:
    assert await in_use(given) == card


async def test_the_last_options_are_in_use_even_where_they_were_left_empty() -> None:
    last: dict[str, object] = {"partition": "shas", "cpus": None, "memory": 3072, "runtime": None}
    assert await in_use({"memory": "3G"}, last) == "last"
    assert await in_use({"memory": "3G", "cpus": "2"}, last) == ""


async def test_of_cards_with_the_same_options_the_pressed_one_is_in_use() -> None:
    last: dict[str, object] = {"cpus": 1, "memory": 2048}
    given: dict[str, object] = {"cpus": "1", "memory": "2G"}
    assert await in_use(given, last) == "last"
    assert await in_use(given, last, pressed="site:small") == "site:small"
    assert await in_use(given, last, pressed="site:nosuch") == "last"
    assert await in_use({**given, "memory": "9G"}, last, pressed="site:small") == ""
