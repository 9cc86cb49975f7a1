"""The panel's TypeScript: it compiles, its types are those of schema/, and its own tests pass."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

import pytest

from cluster.demo import labextension
from cluster.demo.software import node

PROGRAMS = {
    "types of the REST bodies": ("tools/types.mjs", "--check"),
    "compiler": ("node_modules/typescript/bin/tsc", "--noEmit"),
    "linter": ("node_modules/eslint/bin/eslint.js", "src"),
    "tests": ("node_modules/jest/bin/jest.js",),
}


@cache
def checkout() -> Path:
    """labextension/ with its packages."""
    packages = labextension.SOURCE / "node_modules"
    if not packages.exists():
        packages.symlink_to(labextension.modules() / "node_modules")
    return labextension.SOURCE


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_panel_passes_its(name: str) -> None:
    command = [str(node() / "bin/node"), *PROGRAMS[name]]
    done = subprocess.run(command, cwd=checkout(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lock_file_names_no_place_to_download_from() -> None:
    text = labextension.LOCK.read_text()
    assert '"resolved"' not in text
