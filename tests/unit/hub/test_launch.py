"""What a hub's process does before JupyterHub takes it over."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from jupyterhub.app import JupyterHub

from flatirons.hub.launch import run_hub
from flatirons.site.load import parse

SITE = """
[hub]
address = "http://127.0.0.1:8081"
state_dir = "{state}"
[clusters.summit]
slurm_conf = "/etc/slurm/summit/slurm.conf"
[environments.python]
image = "/srv/images/base.sif"
"""


def test_what_was_imported_is_none_of_the_garbage_collectors_business(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    watched: list[int] = []
    monkeypatch.setenv("FLATIRONS_SITE", "")
    monkeypatch.setattr(JupyterHub, "launch_instance", lambda _: watched.append(len(gc.get_objects())))
    before = len(gc.get_objects())
    try:
        run_hub(parse(SITE.format(state=tmp_path / "state")), str(tmp_path / "site.toml"), [])
    finally:
        gc.unfreeze()
    assert watched[0] < before / 10
