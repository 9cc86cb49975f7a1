"""What a reader finds while a file is written, and after the writing failed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from flatirons import files
from flatirons.files import write_atomically


def test_the_file_has_the_text_and_the_mode_whatever_the_umask_is(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        write_atomically(tmp_path / "file", "Café\n", 0o644)
        write_atomically(tmp_path / "secret", "s", 0o400)
    finally:
        os.umask(umask)
    assert (tmp_path / "file").read_bytes() == "Café\n".encode()
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o400
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "secret"]


def test_an_existing_file_is_replaced_or_kept_as_the_caller_says(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "first")
    with pytest.raises(FileExistsError):
        write_atomically(path, "second", replace=False)
    assert path.read_text() == "first"
    write_atomically(path, "second")
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fchmod", "fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    write_atomically(path, "old")
    monkeypatch.setattr(files.os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_that_cannot_be_encoded_leaves_no_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "file", "\udcff")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "no" / "file", "")
