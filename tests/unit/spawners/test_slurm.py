"""SlurmSpawner as JupyterHub drives it, on a Slurm in memory."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from certipy import Certipy
from cryptography import x509
from jupyterhub import orm
from jupyterhub.httpclient import JupyterHubHTTPClient
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from tornado.web import Application, RequestHandler

from flatirons.servers.causes import Cause
from flatirons.servers.report import KEPT, Report
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster
from flatirons.slurm.watcher import Watcher
from flatirons.slurm_form.form import slurm_form
from flatirons.slurm_form.offers import SlurmOffers
from flatirons.spawners.form.hooks import FormHooks
from flatirons.spawners.jupyterhub import compat
from flatirons.spawners.run.start_failed import StartFailed
from flatirons.spawners.run.stored_state import Attempt
from flatirons.spawners.shared.registry import SETTINGS_KEY, Registry
from flatirons.spawners.slurm import SlurmSpawner
from tests.fakes import summit
from tests.fakes.slurm import FakeSlurm
from tests.unit.spawners.run.test_server_run import KEY, QUICK
from tests.waiting import until


class Routes:
    """The proxy's table."""

    def __init__(self) -> None:
        self.added: list[str] = []

    async def add_user(self, user: Any, name: str) -> None:
        self.added.append(f"{user.name}/{name}")


@pytest.fixture
def slurm() -> FakeSlurm:
    return FakeSlurm()


@pytest.fixture
async def registry(slurm: FakeSlurm) -> AsyncIterator[Registry]:
    client = SlurmClient(Cluster("summit"), slurm)
    watcher = Watcher(client, schedule=QUICK)
    watcher.start()
    made = Registry("hub1", {"summit": client}, logging.getLogger("test"), {"summit": watcher})
    yield made
    made.stop_rounds()
    await watcher.stop()


@pytest.fixture
async def spawner(registry: Registry) -> AsyncIterator[SlurmSpawner]:
    """The spawner of a server that JupyterHub believes to exist, as after a restart of the hub."""
    settings = {SETTINGS_KEY: registry, "proxy": Routes()}
    db = orm.new_session_factory("sqlite:///:memory:")()
    orm_spawner = orm.Spawner(name="", state={}, user=orm.User(name="alice"))
    orm_spawner.server = orm.Server(base_url="/user/alice/", proto="http", ip="", port=1, cookie_name="c")
    db.add(orm_spawner)
    db.commit()
    rows = {"": orm_spawner}
    user = SimpleNamespace(
        name="alice", settings=settings, db=db, url="/user/alice/", orm_spawners=rows, spawners={}
    )
    made = SlurmSpawner(user=user, orm_spawner=orm_spawner, clusters={"summit": {}}, hub=None)
    user.spawners[""] = made
    yield made
    made.clear_state()
    db.close()


def routes(spawner: SlurmSpawner) -> list[str]:
    added: list[str] = spawner.user.settings["proxy"].added
    return added


async def taken_up(spawner: SlurmSpawner, slurm: FakeSlurm) -> tuple[int, asyncio.Task[int | None]]:
    """The job of a start that an earlier hub left unfinished, and the task of JupyterHub's poll."""
    attempt = Attempt.new("summit", "code")
    job_id = slurm.add_job("alice", comment=spawner.registry.comment(attempt.spawn_id, "alice/"))
    spawner.orm_spawner.state = attempt.as_state()
    spawner.load_state(spawner.orm_spawner.state)
    spawner._check_pending = True
    checking = asyncio.ensure_future(spawner.poll())
    await until(lambda: spawner.run and spawner.run.job)
    assert spawner.pending == "spawn"
    return job_id, checking


async def test_a_start_of_an_earlier_hub_ends_in_the_proxy(spawner: SlurmSpawner, slurm: FakeSlurm) -> None:
    job_id, checking = await taken_up(spawner, slurm)
    starting = spawner._spawn_future
    slurm.run_job(job_id)
    assert spawner.run and starting
    await spawner.run.boot(job_id, KEY)
    await spawner.run.ready(4321)
    assert await checking is None
    assert await spawner.get_url() == "http://shas0101:4321/user/alice/"
    assert spawner.pending == "spawn" and routes(spawner) == []
    spawner._check_pending = False  # JupyterHub has probed the server
    await starting
    assert spawner.ready and routes(spawner) == ["alice/"]


async def test_a_start_of_an_earlier_hub_can_be_cancelled_and_stopped_at_once(
    spawner: SlurmSpawner, slurm: FakeSlurm
) -> None:
    job_id, checking = await taken_up(spawner, slurm)
    assert spawner._spawn_future
    spawner._spawn_future.cancel()
    await compat.settled(spawner)
    assert not spawner.pending, "else JupyterHub answers 500 to its own DELETE"
    assert not checking.done(), "JupyterHub's check would clean up as well, and maybe the next server"
    await spawner.stop()
    spawner.clear_state()
    assert await checking == 1
    assert slurm.jobs[job_id].state == "CANCELLED" and routes(spawner) == []


async def test_the_failure_of_a_start_of_an_earlier_hub_is_kept_for_the_page(
    spawner: SlurmSpawner, slurm: FakeSlurm
) -> None:
    job_id, checking = await taken_up(spawner, slurm)
    starting = spawner._spawn_future
    slurm.end_job(job_id, "NODE_FAIL")
    assert await checking == 1
    await until(lambda: starting and starting.done())
    assert isinstance(starting and starting.exception(), StartFailed)
    assert spawner._spawn_future is starting and not spawner._spawn_pending


async def test_a_report_holds_what_was_chosen_as_texts_even_where_jupyterhub_stored_texts(
    spawner: SlurmSpawner,
) -> None:
    """After a restart the options are as they were posted. Seen before: then the report was lost."""
    form = slurm_form({}, {"summit": {}}, {"python": {}})
    FormHooks(form).attach(spawner)
    for runtime in ("1:00:00", 60):
        spawner.user_options = {"runtime": runtime}
        spawner.keep(Report("stopped", "", job_id=1))
        assert [each.options["runtime"] for each in spawner.reports] == ["1:00:00"]


async def test_the_last_five_reports_are_kept_newest_first(spawner: SlurmSpawner) -> None:
    for number in range(1, 8):
        spawner.keep(Report("stopped", "", cluster="summit", job_id=number))
    assert [each.job_id for each in spawner.reports] == [7, 6, 5, 4, 3]
    await spawner.reports_stored()
    assert len(spawner.orm_spawner.state["reports"]) == KEPT


async def test_a_report_takes_the_place_of_one_of_the_same_job_on_the_same_cluster_only(
    spawner: SlurmSpawner,
) -> None:
    for cluster, kind in (("summit", "signal"), ("blanca", "quota"), ("summit", "time_limit")):
        spawner.keep(Report(kind, "", cluster=cluster, job_id=7))
    assert [(each.cluster, each.kind) for each in spawner.reports] == [
        ("summit", "time_limit"),
        ("blanca", "quota"),
    ]


async def test_refusals_in_a_row_leave_one_report_and_remove_no_other(spawner: SlurmSpawner) -> None:
    spawner.keep(Report("not_submitted", "", cluster="summit"))
    for sentence in ("No.", "No, again.", "Still no."):
        spawner.keep(Report("refused", sentence, cluster="summit"))
    assert [each.sentence for each in spawner.reports] == ["Still no.", ""]


async def test_a_stop_does_not_replace_the_reason_why_the_same_job_ended(spawner: SlurmSpawner) -> None:
    for kind, sentence in (("stopped", "At first."), ("time_limit", "Time."), ("stopped", "Cleaned up.")):
        spawner.keep(Report(kind, sentence, cluster="summit", job_id=7))
    spawner.keep(Report("stopped", "Another.", cluster="summit", job_id=8))
    assert [each.sentence for each in spawner.reports] == ["Another.", "Time."]


async def test_the_suggested_fix_is_bounded_by_the_form_of_the_spawner(
    spawner: SlurmSpawner,
) -> None:
    cause = Cause("time_limit", "It ended.", "Ask for more time.", {"runtime": "2-00:00:00"})
    assert await spawner.with_suggested_fix(cause) == cause, "there is no form"
    FormHooks(
        slurm_form({"runtime": {"maximum": "1-00:00:00"}}, {"summit": {}}, {"python": {}}),
    ).attach(spawner)
    spawner.user_options = {"runtime": 1440}
    assert (await spawner.with_suggested_fix(cause)).fix == {}
    spawner.user_options = {"runtime": 720}
    found = await spawner.with_suggested_fix(replace(cause, fix={"runtime": "1-00:00:00"}))
    assert found.fix == {"runtime": "1-00:00:00"}


async def test_reports_outlive_the_hub(spawner: SlurmSpawner) -> None:
    spawner.keep(Report("quota", "Your disk is full.", cluster="summit", job_id=7, log=("last line",)))
    spawner.clear_state()
    assert [each.kind for each in spawner.reports] == ["quota"], "a stopped server's are kept"
    await spawner.reports_stored()
    database = spawner.user.db
    database.expire_all()  # what counts is what the database has
    stored = database.query(orm.Spawner).one()
    after = SlurmSpawner(user=spawner.user, orm_spawner=stored, clusters={"summit": {}}, hub=None)
    after.load_state(stored.state)
    assert [(each.sentence, list(each.log)) for each in after.reports] == [
        ("Your disk is full.", ["last line"])
    ]


async def test_reports_survive_a_stop_and_a_new_start(
    spawner: SlurmSpawner,
) -> None:
    """JupyterHub stores `get_state()` after `clear_state()`, and loads that in the next process."""
    spawner.keep(Report("quota", "", cluster="summit", job_id=7))
    spawner.clear_state()
    spawner.orm_spawner.state = spawner.get_state()
    spawner.load_state(spawner.orm_spawner.state)
    assert [each.kind for each in spawner.reports] == ["quota"] and spawner.run is None


async def test_a_report_that_the_database_refused_is_stored_with_the_next_state(
    spawner: SlurmSpawner,
) -> None:
    rolled_back: list[bool] = []

    def fail(session: object) -> None:
        raise OperationalError("UPDATE", {}, Exception("database or disk is full"))

    database = spawner.user.db
    event.listen(database, "before_commit", fail)
    event.listen(database, "after_rollback", lambda session: rolled_back.append(True))
    spawner.keep(Report("stopped", "", job_id=1))
    await spawner.reports_stored()
    assert rolled_back == [True]
    event.remove(database, "before_commit", fail)
    await spawner.save()
    database.expire_all()
    assert [each["job_id"] for each in spawner.orm_spawner.state["reports"]] == [1]


def stored_reports(spawner: SlurmSpawner) -> list[int]:
    """The jobs of the reports that another process would read from the database."""
    spawner.user.db.expire_all()
    return [each["job_id"] for each in spawner.orm_spawner.state.get("reports", [])]


async def test_a_report_is_stored_with_the_state_that_jupyterhub_stores_at_a_stop(
    spawner: SlurmSpawner,
) -> None:
    """That commit also removes what finds the job again; it must not happen before the report is stored."""
    attempt = replace(Attempt.new("summit", "code"), job_id=7, host="shas0101", port=4321)
    spawner.load_state(attempt.as_state())
    await spawner.save()
    spawner.keep(Report("quota", "", cluster="summit", job_id=7))
    spawner.user.db.expire_all()
    assert spawner.orm_spawner.state["job_id"] == 7, "a hub that is killed now finds the job again"
    spawner.clear_state()
    spawner.orm_spawner.state = spawner.get_state()
    spawner.user.db.commit()
    assert stored_reports(spawner) == [7] and "job_id" not in spawner.orm_spawner.state
    await spawner.reports_stored()
    assert stored_reports(spawner) == [7] and "job_id" not in spawner.orm_spawner.state


async def test_a_late_report_does_not_change_the_state_of_the_next_server(
    spawner: SlurmSpawner,
) -> None:
    """Seen before: a spawner that JupyterHub had forgotten stored its own state over that of the next."""
    spawner.keep(Report("completed", "", cluster="summit", job_id=6))
    await spawner.reports_stored()
    user = spawner.user
    after = SlurmSpawner(user=user, orm_spawner=spawner.orm_spawner, clusters={"summit": {}}, hub=None)
    attempt = replace(Attempt.new("summit", "code"), job_id=8)
    after.load_state({**spawner.orm_spawner.state, **attempt.as_state()})
    user.spawners[""] = after
    await after.save()
    spawner.keep(Report("quota", "", cluster="summit", job_id=7))
    await after.reports_stored()
    assert stored_reports(spawner) == [7, 6] and spawner.orm_spawner.state["job_id"] == 8
    after.clear_state()


async def test_a_report_of_a_deleted_server_does_not_prevent_others_from_being_stored(
    spawner: SlurmSpawner,
) -> None:
    row = orm.Spawner(name="work", state={}, user=spawner.orm_spawner.user)
    user = spawner.user
    user.orm_spawners["work"] = row
    user.db.add(row)
    user.db.commit()
    work = SlurmSpawner(user=user, orm_spawner=row, clusters={"summit": {}}, hub=None)
    user.spawners["work"] = work
    for each in (work, spawner):
        each.keep(Report("quota", "", cluster="summit", job_id=7))
    user.db.delete(row)
    user.db.commit()
    del user.orm_spawners["work"], user.spawners["work"]
    await spawner.reports_stored()
    assert stored_reports(spawner) == [7]
    work.keep(Report("quota", "", cluster="summit", job_id=8))  # its row is gone
    await spawner.save()


class Unreadable(dict[str, Any]):
    """The rows of a user's servers in a database that doesn't answer."""

    def __contains__(self, name: object) -> bool:
        raise OperationalError("SELECT", {}, Exception("server closed the connection unexpectedly"))


async def test_a_report_is_kept_while_the_database_cannot_even_be_read(spawner: SlurmSpawner) -> None:
    """After a rollback each look at a row is a query."""
    rows, spawner.user.orm_spawners = spawner.user.orm_spawners, Unreadable()
    spawner.keep(Report("quota", "", cluster="summit", job_id=7))
    spawner.user.orm_spawners = rows
    await spawner.reports_stored()
    assert stored_reports(spawner) == [7]


async def test_a_report_of_a_forgotten_spawner_that_cannot_be_stored_yet_is_logged(
    spawner: SlurmSpawner, caplog: pytest.LogCaptureFixture
) -> None:
    rows, spawner.user.orm_spawners = spawner.user.orm_spawners, Unreadable()
    del spawner.user.spawners[""]
    spawner.keep(Report("quota", "", cluster="summit", job_id=7))
    spawner.user.orm_spawners = rows
    assert "The report of job 7 can't be stored" in caplog.text


async def test_an_address_that_jupyterhubs_database_lost_is_corrected(spawner: SlurmSpawner) -> None:
    attempt = replace(Attempt.new("summit", "code"), job_id=7, host="Shas0101", port=4321)
    spawner.load_state(attempt.as_state())
    assert spawner.run
    assert spawner.server
    for _ in range(2):
        spawner.run.remind()
        assert (spawner.server.ip, spawner.server.port) == ("shas0101", 4321)
    assert spawner.orm_spawner.server.port == 4321


async def test_a_poll_after_a_restart_waits_for_slurms_answer(
    spawner: SlurmSpawner, slurm: FakeSlurm
) -> None:
    """Otherwise JupyterHub takes half a minute to find out that the server is gone."""
    job_id = slurm.add_job("alice", state="COMPLETED")
    attempt = replace(Attempt.new("summit", "code"), job_id=job_id, host="shas0101", port=4321)
    spawner.load_state(attempt.as_state())
    spawner._check_pending = True
    assert await spawner.poll() == 0
    assert [report.kind for report in spawner.reports] == ["completed"]


@pytest.fixture
async def silent(
    spawner: SlurmSpawner, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[int, asyncio.Task[int | None]]]:
    """A server of an earlier hub process that runs and doesn't answer: its port, and JupyterHub's poll."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    attempt = replace(Attempt.new("summit", "code"), host="127.0.0.1", port=port)
    job_id = slurm.add_job("alice", comment=spawner.registry.comment(attempt.spawn_id, "alice/"))
    slurm.run_job(job_id)
    spawner.load_state(replace(attempt, job_id=job_id).as_state())
    spawner.http_timeout = 1
    spawner._check_pending = True
    told = asyncio.Event()
    monkeypatch.setattr(spawner.log, "warning", lambda *_: told.set())
    polled = asyncio.ensure_future(spawner.poll())
    await told.wait()  # JupyterHub's time is over
    yield port, polled
    await JupyterHubHTTPClient.loop_instance().close()


async def test_a_restarted_hub_waits_for_a_server_whose_job_lives(
    spawner: SlurmSpawner, silent: tuple[int, asyncio.Task[int | None]]
) -> None:
    """JupyterHub would end it: its node may be cut off for a while, or its job be suspended."""
    port, polled = silent
    assert not polled.done() and spawner.ready, "it can be stopped, and keeps its route"
    server = Application([(r".*", RequestHandler)]).listen(port, "127.0.0.1")
    assert await polled is None
    server.stop()
    await server.close_all_connections()
    assert spawner.pending == "check", "JupyterHub goes on as if it had answered at once"


async def test_a_restarted_hub_waits_no_longer_for_a_server_whose_job_ends(
    spawner: SlurmSpawner, slurm: FakeSlurm, silent: tuple[int, asyncio.Task[int | None]]
) -> None:
    assert spawner.run
    slurm.end_job(spawner.run.attempt.job_id, "NODE_FAIL")
    assert await silent[1] == 1
    assert [report.kind for report in spawner.reports] == ["node_failure"]


async def test_a_server_that_does_not_answer_a_restarted_hub_can_be_stopped(
    spawner: SlurmSpawner, silent: tuple[int, asyncio.Task[int | None]]
) -> None:
    await spawner.stop()
    spawner.server = None  # as JupyterHub does
    assert await silent[1] is not None
    assert not spawner.pending
    assert [report.kind for report in spawner.reports] == ["stopped"]


async def test_a_server_that_is_stopped_and_started_again_is_no_longer_the_restarted_hubs_matter(
    spawner: SlurmSpawner, silent: tuple[int, asyncio.Task[int | None]]
) -> None:
    """JupyterHub would stop the new server, for which it then knows no spawner, and whose job would stay."""
    await spawner.stop()
    row, user = spawner.orm_spawner, spawner.user
    user.spawners.pop(spawner.name)  # as JupyterHub does
    assert row.server, "the row of the new server"
    assert await silent[1] is not None
    assert spawner.server is None
    assert row.server


async def test_a_server_that_jupyterhub_gives_up_is_not_reported_as_stopped_by_a_user(
    spawner: SlurmSpawner, slurm: FakeSlurm
) -> None:
    attempt = replace(Attempt.new("summit", "code"), host="shas0101", port=4321)
    job_id = slurm.add_job("alice", comment=spawner.registry.comment(attempt.spawn_id, "alice/"))
    slurm.run_job(job_id)
    spawner.load_state(replace(attempt, job_id=job_id).as_state())
    assert await spawner.poll() is None
    await spawner.stop()
    assert [report.kind for report in spawner.reports] == ["not_answering"]


async def test_with_internal_tls_the_scheme_is_stored_too(spawner: SlurmSpawner) -> None:
    """JupyterHub 6.1 writes it to an attribute that isn't stored."""
    spawner.internal_ssl = True
    spawner.load_state({**Attempt.new("summit", "code").as_state(), "host": "shas0101", "port": 4321})
    assert await spawner.get_url() == "https://shas0101:4321/user/alice/"
    assert spawner.server.proto == "https"


async def test_with_internal_tls_a_certificate_names_its_server_and_the_node(
    spawner: SlurmSpawner, tmp_path: Path
) -> None:
    """A neighbour's certificate for the same node must not do: no other run has this name."""
    authority = Certipy(store_dir=str(tmp_path)).create_ca("notebooks-ca")
    spawner.internal_certs_location = str(tmp_path)
    spawner.internal_trust_bundles = {"notebooks-ca": authority["files"]["cert"]}
    named = []
    for state in (Attempt.new("summit", "one").as_state(), Attempt.new("summit", "two").as_state()):
        spawner.load_state(state)
        assert spawner.run
        for host in ("shas0101", "10.1.2.3", "shas0101"):
            texts = await spawner._certificate(spawner.run, host)
            shown = x509.load_pem_x509_certificate(texts["JUPYTERHUB_SSL_CERTFILE"].encode())
            names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            [own, *node] = names.get_values_for_type(x509.DNSName)
            addresses = [str(each) for each in names.get_values_for_type(x509.IPAddress)]
            assert [*node, *addresses] == [host]
            assert own == spawner.certificate_name and own.endswith(".server.internal")
            named.append(own)
    assert named[0] == named[2] and len(set(named)) == 4
    assert Attempt.from_state(spawner.get_state()) == spawner.run.attempt, "a restarted hub knows the name"


async def test_the_address_of_a_node_is_in_the_url_where_its_name_does_not_do(
    spawner: SlurmSpawner,
) -> None:
    for address, host in (("", "n1"), ("10.0.0.1", "10.0.0.1"), ("fd00::1", "[fd00::1]")):
        known = {"host": "n1", "address": address, "port": 4321}
        spawner.load_state({**Attempt.new("summit", "code").as_state(), **known})
        assert spawner.url == f"http://{host}:4321"


async def test_a_server_on_a_removed_cluster_does_not_prevent_the_hub_from_starting(
    spawner: SlurmSpawner,
) -> None:
    spawner.load_state(Attempt.new("gone", "code").as_state())
    assert await spawner.poll() == 0


async def test_an_unknown_cluster_gives_a_sentence(spawner: SlurmSpawner) -> None:
    spawner.cluster = "typo"
    with pytest.raises(StartFailed, match="no cluster 'typo'") as raised:
        await spawner.start()
    assert raised.value.status_code == 400


async def test_orphans_are_found_even_if_no_server_is_known(
    spawner: SlurmSpawner, registry: Registry, slurm: FakeSlurm
) -> None:
    """For example, one that a stop left behind while Slurm didn't answer, before the hub was restarted."""
    orphan = slurm.add_job("alice", comment=registry.comment("0123456789abcdef", "alice/"))
    spawner.load_state({})
    await until(lambda: slurm.jobs[orphan].state == "CANCELLED")


async def test_the_search_for_orphans_starts_again_after_an_unexpected_error(
    registry: Registry, slurm: FakeSlurm, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> set[str]:
        raise RuntimeError("the database is locked")

    orphan = slurm.add_job("alice", comment=registry.comment("0123456789abcdef", "alice/"))
    registry.start_rounds(broken)
    await until(lambda: "the database is locked" in caplog.text)
    registry.start_rounds(set)
    await until(lambda: slurm.jobs[orphan].state == "CANCELLED")


async def test_the_search_for_orphans_continues_when_the_database_fails(
    registry: Registry, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("flatirons.spawners.shared.registry.SECONDS_BETWEEN_SEARCHES", 0.03)
    answers = [OperationalError("SELECT", {}, Exception("database or disk is full"))]

    def known() -> set[str]:
        if answers:
            raise answers.pop()
        return set()

    orphan = slurm.add_job("alice", comment=registry.comment("0123456789abcdef", "alice/"))
    registry.start_rounds(known)
    await until(lambda: slurm.jobs[orphan].state == "CANCELLED")
    assert "database or disk is full" in caplog.text


async def test_where_slurm_allocates_no_memory_neither_server_nor_engines_ask_for_it(
    spawner: SlurmSpawner, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def facts(fresh: bool) -> SlurmOffers:
        return summit.facts(seen=summit.without_memory("shas"))

    monkeypatch.setattr(spawner, "facts", facts)
    spawner.hub_connect_url = "http://hub:8081"
    spawner.hub = SimpleNamespace(api_url="/hub/api")
    spawner.environments = {"python": {}}
    spawner.partition, spawner.memory, spawner.cpus = "shas", 4096, 2
    starting = asyncio.ensure_future(spawner.start())
    await until(lambda: slurm.jobs)
    [job] = slurm.jobs.values()
    assert job.options["cpus-per-task"] == "2" and "mem" not in job.options
    assert '"without_memory": ["", "shas"]' in job.script.replace("\\", "")
    starting.cancel()
