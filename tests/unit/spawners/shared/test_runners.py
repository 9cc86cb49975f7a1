"""How the hub runs Slurm's commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flatirons import files
from flatirons.files import keep_files_private
from flatirons.spawners.shared.runners import runner_for


@pytest.mark.parametrize("way", ["self", "sudo", "root"])
async def test_a_job_gets_the_umask_with_which_the_hub_was_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str
) -> None:
    monkeypatch.setattr(files, "_umask_before", None)
    os.umask(0o027)
    keep_files_private()
    done = await runner_for(way).run(["sh", "-c", "umask"])
    assert done.stdout == "0027\n"
    (tmp_path / "own").touch()
    assert (tmp_path / "own").stat().st_mode & 0o777 == 0o600


async def test_without_a_private_umask_commands_get_that_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(files, "_umask_before", None)
    os.umask(0o002)
    assert (await runner_for("self").run(["sh", "-c", "umask"])).stdout == "0002\n"
