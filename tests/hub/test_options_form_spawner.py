"""A form on any spawner: the configurations of docs/how-to/any-spawner.md, each on a hub in this process.

With our own spawner as the child, on a virtual cluster: tests/hub/test_options_form_cluster.py.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from traitlets.config import Config

from flatirons.forms import Select
from flatirons.hub.configure import TEMPLATES
from flatirons.hub.handlers import handlers
from flatirons.hub.pages.home import HomePage
from tests.hub.hub_in_process import JupyterHub, Visitor, configuration, message, running, selected, value
from tests.repository import REPO

MANUAL = REPO / "docs" / "how-to" / "any-spawner.md"
ME = getpass.getuser()  # batchspawner wants an account of this machine
# the package isn't installed here, so it registers no name; on the virtual cluster it is
OURS = {"flatirons-options": "flatirons.spawners.options_form.OptionsFormSpawner"}
SLURM = {
    "sbatch": """#!/bin/sh
cat > "$0.script"; echo "$@" > "$0.argv"
setsid sh "$0.script" > "$0.log" 2>&1 < /dev/null & echo $! | tee -a "$0.jobs"
""",
    "squeue": """#!/bin/sh
echo "$@" >> "$0.argv"
while [ "$1" != -j ]; do shift; done
if kill -0 "$2" 2> /dev/null; then echo "RUNNING 127.0.0.1"; fi
""",
    "scancel": """#!/bin/sh
echo "$@" >> "$0.argv"
for last; do :; done
kill -- -"$last"
""",
    "server": f"""#!{sys.executable}
from jupyterhub.tests.mocksu import main
main()
""",
}


def manual(heading: str) -> str:
    """The configuration under a heading of the manual."""
    found = re.search(rf"^## {heading}.*?^```python\n(.*?)^```$", MANUAL.read_text("utf-8"), re.M | re.S)
    assert found
    return found[1]


def configured(text: str, state: Path, here: Mapping[str, str]) -> Config:
    """The text of a configuration file, for a hub in this process; `here`: text in it -> its replacement."""
    for there, instead in here.items():
        assert there in text
        text = text.replace(there, instead)
    config = configuration(cleanup_servers=False)
    config.JupyterHub.db_url = f"sqlite:///{state}/hub.sqlite"  # what a restarted hub remembers
    config.Spawner.cmd = [sys.executable, "-m", "jupyterhub.tests.mocksu"]
    config.SimpleLocalProcessSpawner.home_dir_template = str(state / "{username}")
    exec(compile(text, str(MANUAL), "exec"), {"get_config": lambda: config})
    return config


@asynccontextmanager
async def running_once(config: Config) -> AsyncIterator[JupyterHub]:
    """A hub that ends like a killed process: it no longer polls its servers, and leaves them running."""
    async with running(config) as hub:
        yield hub
        for user in hub.users.values():
            for spawner in user.spawners.values():
                spawner.stop_polling()


@asynccontextmanager
async def visiting(hub: JupyterHub, name: str = ME) -> AsyncIterator[Visitor]:
    """A logged-in user with the name of an account of this machine."""
    visitor = await Visitor(hub, name).log_in()
    try:
        yield visitor
    finally:
        await visitor.http.aclose()


async def started(visitor: Visitor, options: Mapping[str, str]) -> Any:
    """The spawner, once its server is ready; the page waits for that for at most a second."""
    answer = await visitor.post(options)
    assert answer.status_code == 302, answer.text
    spawner = visitor.spawner()
    if spawner._spawn_future:
        await spawner._spawn_future
    assert spawner.ready
    return spawner


async def answers(spawner: Any, path: str) -> Any:
    """The server's own answer, as JSON."""
    async with httpx.AsyncClient() as http:
        return (await http.get(f"{spawner.server.url}{path}")).json()


@pytest.fixture
def local(tmp_path: Path) -> Config:
    here = {**OURS, "jupyterhub.spawner.LocalProcessSpawner": "simple"}  # the other changes its user
    return configured(manual("A spawner of JupyterHub"), tmp_path, here)


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Path]:
    """A folder with commands named like Slurm's, which run jobs here and record their arguments."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in SLURM.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    yield folder
    jobs = folder / "sbatch.jobs"
    for job in jobs.read_text().split() if jobs.exists() else ():
        with suppress(ProcessLookupError):  # as expected: only a failed test leaves one
            os.killpg(int(job), signal.SIGKILL)


def batch(heading: str, slurm: Path) -> Config:
    """A configuration of the manual with batchspawner as the child."""
    text = manual(heading)
    config = configured(text, slurm.parent, OURS if "flatirons-options" in text else {})
    config.SlurmSpawner.exec_prefix = f"env PATH={slurm}:$PATH"
    config.SlurmSpawner.batchspawner_singleuser_cmd = f"{Path(sys.executable).parent}/batchspawner-singleuser"
    config.SlurmSpawner.startup_poll_interval = 0.1
    config.Spawner.cmd = [str(slurm / "server")]
    return config


def last_job(slurm: Path) -> str:
    """The last job in a call of squeue."""
    return re.findall(r"-j (\d+)", (slurm / "squeue.argv").read_text())[-1]


async def test_a_local_server_starts_with_the_chosen_options(local: Config) -> None:
    async with running_once(local) as hub, visiting(hub) as alice:
        page = await alice.page()
        assert (selected(page, "default_url"), value(page, "http_timeout")) == ("/lab", "30")
        spawner = await started(alice, {"default_url": "/tree", "http_timeout": "20", "debug": "on"})
        assert (spawner.default_url, spawner.http_timeout, spawner.debug) == ("/tree", 20, True)
        env = await answers(spawner, "env")
        assert (env["JUPYTERHUB_DEFAULT_URL"], env["SITE"]) == ("/tree", "physics")
        await hub.users[ME].stop()
        assert not spawner.active and await spawner.poll() is not None


async def test_home_has_an_honest_card_for_a_local_server(local: Config) -> None:
    local.JupyterHub.template_paths = [str(TEMPLATES)]
    local.JupyterHub.template_vars = {"flatirons_home": HomePage.of}
    local.JupyterHub.extra_handlers = list(handlers)
    async with running_once(local) as hub, visiting(hub) as alice:
        page = (await alice.http.get("/hub/home")).text
        assert "Start a server" in page and "<article" not in page
        spawner = await started(alice, {"default_url": "/tree"})
        page = (await alice.http.get("/hub/home")).text
        card = re.search(r"<article.*?</article>", page, re.DOTALL)
        assert card and "Running" in card[0] and "Stop it now" in card[0]
        assert "Time left" not in card[0] and "Memory" not in card[0]
        stop = await alice.http.post(f"/hub/flatirons/servers/stop/{ME}", data={"_xsrf": alice.xsrf})
        assert stop.status_code == 303 and not spawner.active
        page = (await alice.http.get("/hub/home")).text
        assert "Same as last time" in page and "<article" not in page


async def test_refused_options_start_nothing_by_page_or_by_rest(local: Config) -> None:
    async with running_once(local) as hub, visiting(hub) as alice:
        page = await alice.post({"default_url": "/lab", "http_timeout": "500"})
        assert page.status_code == 400
        assert message(page, "http_timeout") == "Must be between 10 and 120."
        refused = await alice.rest({"cmd": ["evil"]})
        assert refused.status_code == 400 and "no option" in refused.json()["message"]
        page = await alice.page(query="?opt-default_url=/tree")
        assert selected(page, "default_url") == "/tree"
        assert alice.has_started_nothing()


async def test_a_value_that_the_childs_trait_refuses_gets_a_message_beside_the_field(local: Config) -> None:
    local.OptionsFormSpawner.form_fields = [Select("http_timeout", choices=["20", "soon"])]
    async with running_once(local) as hub, visiting(hub) as alice:
        page = await alice.post({"http_timeout": "soon"})
        assert page.status_code == 400
        assert message(page, "http_timeout").startswith("&#34;soon&#34; isn&#39;t a time. Write a time like")
        assert alice.has_started_nothing()


async def test_a_local_server_outlives_the_hub(local: Config) -> None:
    async with running_once(local) as hub, visiting(hub) as alice:
        pid = (await started(alice, {"default_url": "/tree", "http_timeout": "20"})).pid
    async with running_once(local) as hub:
        spawner = hub.users[ME].spawners[""]
        assert (spawner.pid, spawner.ready, spawner.default_url) == (pid, True, "/tree")
        # the parent is this process, not the new hub: it must see the end, or the pid stays
        ended = asyncio.create_task(asyncio.to_thread(os.waitpid, pid, 0))
        await hub.users[ME].stop()
        await ended


async def test_batchspawner_writes_the_chosen_options_into_its_script(slurm: Path) -> None:
    async with running_once(batch("batchspawner", slurm)) as hub, visiting(hub) as alice:
        chosen = {"req_partition": "sknl", "req_nprocs": "4", "req_memory": "3g", "req_runtime": "90m"}
        spawner = await started(alice, {**chosen, "req_nodes": "2"})
        lines = (slurm / "sbatch.script").read_text().splitlines()
        assert lines[1:3] == [
            "#SBATCH --partition=sknl --nodes=2 --cpus-per-task=4",
            "#SBATCH --mem=3G --time=1:30:00",
        ]
        assert (slurm / "sbatch.argv").read_text() == "--parsable\n"
        assert (spawner.req_nprocs, spawner.req_nodes, spawner.start_timeout) == ("4", 2, 3600)
        assert (await answers(spawner, "env"))["JUPYTERHUB_USER"] == ME
        await hub.users[ME].stop()
        assert (slurm / "scancel.argv").read_text() == f"{last_job(slurm)}\n"


async def test_a_job_of_batchspawner_and_its_options_outlive_the_hub(slurm: Path) -> None:
    config = batch("batchspawner", slurm)
    config.SlurmSpawner.batch_query_cmd = "squeue --partition={partition} -h -j {job_id} -o '%T %B'"
    async with running_once(config) as hub, visiting(hub) as alice:
        job = (await started(alice, {"req_partition": "sknl"})).job_id
    (slurm / "squeue.argv").unlink()
    async with running_once(config) as hub:
        spawner = hub.users[ME].spawners[""]
        assert (spawner.job_id, spawner.ready, spawner.req_partition) == (job, True, "sknl")
        await hub.users[ME].stop()
    asked = (slurm / "squeue.argv").read_text().splitlines()
    assert asked and all(line.startswith(f"--partition=sknl -h -j {job}") for line in asked)


async def test_a_configuration_for_optionsspawner_runs_unchanged(slurm: Path) -> None:
    async with running_once(batch("Configurations written for", slurm)) as hub, visiting(hub) as alice:
        page = await alice.page()
        assert (selected(page, "req_partition"), value(page, "req_runtime")) == ("shas", "02:00:00")
        page = await alice.post({"req_partition": "shas", "req_nodes": "9", "req_runtime": "soon"})
        assert page.status_code == 400
        assert message(page, "req_nodes") == "Must be between 1 and 4." and message(page, "req_runtime")
        chosen = {"req_partition": "shas", "req_nodes": "2", "req_runtime": "01:00:00", "req_qos": "long"}
        await started(alice, {**chosen, "req_exclusive": "--exclusive"})
        line = "#SBATCH --partition=shas --qos=long --nodes=2 --time=01:00:00 --exclusive"
        assert (slurm / "sbatch.script").read_text().splitlines()[1] == line
        await hub.users[ME].stop()
