"""What a reader finds while a file is written, and after the writing failed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from flatirons import files
from flatirons.files import keep_files_private, make_private, umask_before, write_atomically


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


def test_what_this_process_writes_is_private_and_the_earlier_umask_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_umask_before", None)
    assert umask_before() == -1, "nothing was changed"
    os.umask(0o027)
    keep_files_private()
    keep_files_private()  # a second call must not take our own umask for the earlier one
    assert umask_before() == 0o027
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    assert modes(tmp_path) == {"file": 0o600, "folder": 0o700}


def test_files_of_an_earlier_release_become_private_and_links_are_left_alone(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    (outside / "page").touch(mode=0o644)
    (folder / "presets").mkdir(parents=True)
    for name, mode in {"db": 0o644, "secret": 0o400, "run": 0o755, "presets/alice": 0o664}.items():
        (folder / name).touch()
        (folder / name).chmod(mode)
    (folder / "link").symlink_to(outside)
    make_private(folder)
    assert modes(folder) == {
        **{"db": 0o600, "secret": 0o400, "run": 0o700},
        **{"presets": 0o700, "presets/alice": 0o600},
    }
    assert modes(outside) == {"page": 0o644}


def modes(folder: Path) -> dict[str, int]:
    found = [path for path in folder.rglob("*") if not path.is_symlink()]
    return {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in found}
