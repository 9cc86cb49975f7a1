"""What the demo keeps in the cache is complete or missing."""

import os
import time
from pathlib import Path

import pytest

from cluster.demo.build_cache import KEEP_S, ensure, key


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache"
    monkeypatch.setenv("FLATIRONS_CACHE", str(place))
    return place


def write(draft: Path) -> None:
    (draft / "made").write_text("whole")


def test_what_is_in_the_cache_is_not_built_again() -> None:
    built: list[Path] = []
    first = ensure("thing", ["a"], built.append)
    assert ensure("thing", ["a"], built.append) == first
    assert len(built) == 1


def test_a_changed_source_makes_a_new_build(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("one")
    first = ensure("thing", [source], write)
    (source / "file").write_text("two")
    assert ensure("thing", [source], write) != first


def test_compiled_files_do_not_change_the_key(tmp_path: Path) -> None:
    before = key([tmp_path])
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_text("")
    assert key([tmp_path]) == before


def test_the_borders_between_parts_change_the_key() -> None:
    assert key(["ab", "c"]) != key(["a", "bc"])


def test_an_interrupted_build_leaves_nothing_and_is_repeated(cache: Path) -> None:
    def interrupted(draft: Path) -> None:
        write(draft)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure("thing", ["a"], interrupted)
    assert [entry.name for entry in cache.iterdir()] == ["thing.lock"]
    assert (ensure("thing", ["a"], write) / "made").read_text() == "whole"


def test_the_next_build_removes_what_a_killed_one_left(cache: Path) -> None:
    stale = cache / ".building-thing-a1b2c3_4"
    stale.mkdir(parents=True)
    ensure("thing", ["a"], write)
    assert not stale.exists()


def test_builds_that_were_not_used_for_long_are_removed_with_the_next(cache: Path) -> None:
    old, used = ensure("thing", ["old"], write), ensure("thing", ["used"], write)
    os.utime(old, (0, time.time() - KEEP_S - 60))
    ensure("thing", ["new"], write)
    assert not old.exists()
    assert used.exists()
