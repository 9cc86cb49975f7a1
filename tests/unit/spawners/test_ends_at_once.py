"""Many servers that end at the same moment: how often the hub commits, and how long that blocks it.

As a program it prints what it measures: python -m tests.unit.spawners.test_ends_at_once 200
"""

from __future__ import annotations

import asyncio
import logging
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from jupyterhub import orm
from sqlalchemy import event

from flatirons.hub.state_directory import prepare_database
from flatirons.servers.causes import StarterEnd
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster
from flatirons.slurm.watcher import Watcher
from flatirons.spawners.run.stored_state import Attempt
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes.slurm import FakeSlurm
from tests.unit.spawners.run.test_server_run import QUICK, until


@dataclass
class Commits:
    """The number of the database's commits, and the seconds for which they blocked the event loop."""

    seconds: list[float] = field(default_factory=list)
    _began: float = 0.0

    def listen(self, session: Any) -> None:
        event.listen(session, "before_commit", self._begin)
        event.listen(session, "after_commit", self._end)

    def _begin(self, _: object) -> None:
        self._began = time.perf_counter()

    def _end(self, _: object) -> None:
        self.seconds.append(time.perf_counter() - self._began)


def server(number: int, settings: dict[str, Any], db: Any, slurm: FakeSlurm) -> SlurmSpawner:
    """A server of user NUMBER that is up, as JupyterHub and Slurm know it."""
    name, registry = f"user{number}", settings[SETTINGS_KEY]
    row = orm.Spawner(name="", state={}, user=orm.User(name=name))
    row.server = orm.Server(base_url=f"/user/{name}/", proto="http", ip="node", port=1, cookie_name="c")
    db.add(row)
    db.commit()
    user = SimpleNamespace(name=name, settings=settings, db=db, orm_spawners={"": row}, spawners={})
    made = SlurmSpawner(user=user, orm_spawner=row, clusters={"summit": {}}, hub=None)
    user.spawners[""] = made
    attempt = replace(Attempt.new("summit", f"code {number}"), host="shas0101", port=4000, key_digest="key")
    job_id = slurm.add_job(name, comment=registry.comment(attempt.spawn_id, f"{name}/"))
    slurm.run_job(job_id)
    row.state = replace(attempt, job_id=job_id).as_state()
    made.load_state(row.state)
    return made


async def end_at_once(count: int, folder: Path) -> tuple[Commits, float, list[Any]]:
    """Ends that many servers at once: first their starters report the end, then Slurm does.

    Returns the commits, the seconds until all was stored, and the states in the database.
    """
    slurm, commits = FakeSlurm(), Commits()
    client = SlurmClient(Cluster("summit"), slurm)
    watcher = Watcher(client, schedule=QUICK)
    watcher.start()
    db = orm.new_session_factory(prepare_database(folder / "hub.sqlite"))()
    registry: Registry = Registry("hub1", {"summit": client}, logging.getLogger("test"), {"summit": watcher})
    settings = {SETTINGS_KEY: registry}
    spawners = [server(number, settings, db, slurm) for number in range(count)]
    runs = [spawner.run for spawner in spawners if spawner.run]
    for run in runs:
        run.follow()
    await until(lambda: all(run.job for run in runs))
    commits.listen(db)
    began = time.perf_counter()
    ends = [run.end(StarterEnd(1, None, "The server ended.", ("last line",))) for run in runs]
    for run in runs:
        slurm.end_job(run.attempt.job_id, "OUT_OF_MEMORY")
    await asyncio.gather(*ends)
    await asyncio.gather(*(run.explained() for run in runs))
    await asyncio.gather(*(spawner.save() for spawner in spawners))
    took = time.perf_counter() - began
    db.expire_all()
    stored = [row.state for row in db.query(orm.Spawner)]
    for spawner in spawners:
        spawner.clear_state()
    registry.stop_rounds()
    await watcher.stop()
    db.close()
    return commits, took, stored


async def test_the_reports_of_many_ends_are_stored_by_few_commits(tmp_path: Path) -> None:
    """Each end makes up to four reports. Twenty commits a second is the most that the state writer does."""
    commits, took, stored = await end_at_once(40, tmp_path)
    assert [state["reports"][0]["kind"] for state in stored] == ["out_of_memory"] * 40
    assert [list(state["reports"][0]["log"]) for state in stored] == [["last line"]] * 40
    assert len(commits.seconds) <= 2 + 20 * took


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        commits, took, _ = asyncio.run(end_at_once(int(sys.argv[1]), Path(place)))
    seconds = sum(commits.seconds)
    print(
        f"{len(commits.seconds)} commits, {seconds:.3f} s of the event loop; {took:.2f} s until all is stored"
    )
