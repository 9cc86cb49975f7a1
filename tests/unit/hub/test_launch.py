"""What the hub's process does before it runs JupyterHub."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from jupyterhub.app import JupyterHub

from flatirons.errors import SiteError
from flatirons.hub import launch
from flatirons.hub.launch import run_hub, run_proxy
from flatirons.site.load import parse

SITE = """
[hub]
address = "http://127.0.0.1:8081"
state_dir = "{state}"
account = "root"
[clusters.summit]
slurm_conf = "/etc/slurm/summit/slurm.conf"
[environments.python]
image = "/srv/images/base.sif"
"""


def test_the_garbage_collector_ignores_what_was_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tracked: list[int] = []
    monkeypatch.setenv("FLATIRONS_SITE", "")
    monkeypatch.setattr(JupyterHub, "launch_instance", lambda _: tracked.append(len(gc.get_objects())))
    before = len(gc.get_objects())
    try:
        run_hub(parse(SITE.format(state=tmp_path / "state")), str(tmp_path / "site.toml"), [])
    finally:
        gc.unfreeze()
    assert tracked[0] < before / 10


@pytest.mark.parametrize("run_as", ["sudo", "self"])
def test_root_is_refused_before_anything_is_written_if_the_hub_has_another_account(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run_as: str
) -> None:
    monkeypatch.setattr(launch.os, "getuid", lambda: 0)
    text = SITE.format(state=tmp_path / "state")
    site = parse(text.replace('account = "root"', f'account = "jupyterhub"\nrun_as = "{run_as}"'))
    for command, run in (
        ("hub", lambda: run_hub(site, "/s.toml", [])),
        ("proxy", lambda: run_proxy(site, "/s.toml")),
    ):
        with pytest.raises(SiteError) as caught:
            run()
        [(key, sentence)] = caught.value.problems
        assert key == "hub.account"
        assert f"the {command} of this site runs as 'jupyterhub', not as root" in sentence
        assert f"`systemctl start flatirons-{command}`" in sentence
        assert f"`sudo -u jupyterhub flatirons {command} --site /s.toml`" in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting", ['run_as = "root"', 'account = "root"'])
def test_root_is_accepted_if_the_site_says_that_the_hub_is_root(
    monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    monkeypatch.setattr(launch.os, "getuid", lambda: 0)
    text = SITE.format(state="/no").replace('account = "root"', setting)
    launch.require_account(parse(text).hub, "hub", "/s.toml")
