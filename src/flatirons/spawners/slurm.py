"""SlurmSpawner: a notebook server is a Slurm job.

In a plain jupyterhub_config.py::

    from flatirons.hub.handlers import handlers
    from flatirons.slurm_form.form import slurm_form
    from flatirons.spawners.form.hooks import FormHooks

    c.JupyterHub.spawner_class = "flatirons-slurm"
    c.JupyterHub.extra_handlers = handlers
    c.JupyterHub.cleanup_servers = False
    clusters = {"summit": {"slurm_conf": "/etc/slurm/slurm.conf"}}
    environments = {"python": {"image": "/srv/images/python.sif", "binds": ["/run/munge"]}}
    c.SlurmSpawner.clusters = clusters
    c.SlurmSpawner.environments = environments

    form = slurm_form({}, clusters, environments)
    FormHooks(form, facts=lambda spawner, fresh: spawner.facts(fresh), estimates=True).attach(c.SlurmSpawner)

A complete file, and what else it needs: docs/how-to/plain-jupyterhub.md. The traits named like options
(partition, account, ...) are what the form or a REST body may set; a link fills the form in.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.spawner import Spawner
from jupyterhub.utils import url_path_join
from sqlalchemy.exc import SQLAlchemyError
from traitlets import default

from flatirons.environments.catalogue import SOFTWARE_OF_NODE, Catalogue, Environment
from flatirons.errors import FlatironsError, OptionsRefused
from flatirons.job.script import StarterConfig, notebook
from flatirons.job.variables import job_environment
from flatirons.servers.causes import STOPPED, UNANSWERED, Cause
from flatirons.servers.follow import Limits
from flatirons.servers.progress import Event
from flatirons.servers.report import Report, dismissed, kept
from flatirons.servers.start_page import StartPage
from flatirons.slurm.model import DEFAULT_CLUSTER, JobSpec
from flatirons.slurm.rights import Rights
from flatirons.slurm_form.job import request
from flatirons.slurm_form.offers import SlurmOffers
from flatirons.slurm_form.site_fields import variables
from flatirons.spawners.form import suggested_fix
from flatirons.spawners.form.hooks import FormHooks, Options
from flatirons.spawners.form.job_options import OptionTraits, job_options
from flatirons.spawners.jupyterhub import compat, resume
from flatirons.spawners.other_spawners import OtherNames
from flatirons.spawners.run.server_run import ServerRun
from flatirons.spawners.run.server_status import server_status
from flatirons.spawners.run.start_failed import StartFailed
from flatirons.spawners.run.stored_state import Attempt
from flatirons.spawners.shared.host_names import is_address
from flatirons.spawners.shared.registry import Registry
from flatirons.spawners.shared.runners import runner_for
from flatirons.spawners.site_traits import SiteTraits


class SlurmSpawner(OtherNames, OptionTraits, SiteTraits, Spawner):
    """Runs each server as a Slurm job of its user, in the container of the chosen environment.

    `SiteTraits` are what the operator sets. `OptionTraits` are named like options of the form; what is
    configured on them holds where the user leaves an option empty.
    """

    @default("ssl_alt_names_include_local")
    def _default_ssl_alt_names_include_local(self) -> bool:
        """The server's certificate names its node and nothing else."""
        return False

    @default("start_timeout")
    def _default_start_timeout(self) -> int:
        """JupyterHub's limit for the whole start: longer than the site's limits for its parts."""
        return int(self.queue_timeout + self.node_timeout + self.stop_timeout)

    @default("cluster")
    def _default_cluster(self) -> str:
        return next(iter(self.clusters), "")

    @default("environment_name")
    def _default_environment_name(self) -> str:
        return next(iter(self.environments), "")

    def __init__(self, **kwargs: Any) -> None:
        self.run: ServerRun | None = None
        self.is_adopted = False  # the run is one of an earlier hub process
        self.reports: list[Report] = []
        self._stored: asyncio.Future[None] | None = None  # done once the last report is stored
        super().__init__(**kwargs)

    @property
    def registry(self) -> Registry[ServerRun]:
        """What all servers of this hub share; made at the first call."""
        make_runner = partial(runner_for, self.run_as, self.ssh_host)
        return Registry[ServerRun].of_hub(compat.settings_of(self.user), self.clusters, make_runner, self.log)

    def begin_search(self) -> None:
        """Has the hub search for orphans from now on."""
        self.registry.start_rounds(self._stored_spawn_ids)

    async def facts(self, fresh: bool) -> SlurmOffers:
        """What the rules of the Slurm form look at; `fresh`: to check a start, else for display."""
        return await self.registry.offers.facts(self.user.name, fresh=fresh)

    # -- what a restart of the hub needs

    def get_state(self) -> dict[str, Any]:
        """Everything that is needed to find the server again, and its reports. It holds no secret."""
        state: dict[str, Any] = super().get_state()
        if self.reports:
            state["reports"] = [each.as_dict() for each in self.reports]
        return {**state, **(self.run.attempt.as_state() if self.run else {})}

    def load_state(self, state: dict[str, Any]) -> None:
        """Adopts the run of an earlier hub process."""
        super().load_state(state)
        self.reports = [Report.from_dict(each) for each in state.get("reports", ())]
        self.begin_search()
        attempt = Attempt.from_state(state)
        if attempt and attempt.cluster in self.registry.clients:
            self._take_up(attempt)
            self.is_adopted = True
        elif attempt:  # the site has removed the cluster, which must not keep the hub from starting
            self.log.error(
                "%s is lost: there is no cluster %r any more", compat.log_name(self), attempt.cluster
            )

    def clear_state(self) -> None:
        """Forgets the run: its server is gone, or the next one is about to start."""
        super().clear_state()
        if self.run:
            self.run.close()
        self.run = None

    def _take_up(self, attempt: Attempt) -> ServerRun:
        limits = Limits(queue=self.queue_timeout, node=self.node_timeout, stop=self.stop_timeout)
        self.run = ServerRun(attempt, self, self.registry, limits)
        return self.run

    def keep(self, report: Report) -> None:
        """Keeps a report of how the server ended, with the options that it was started with.

        A report may come after JupyterHub has forgotten this spawner. It then belongs to the one that took
        its place.
        """
        try:
            owner = compat.current_spawner(self)
        except SQLAlchemyError as error:
            self.log.error("The report of job %s can't be stored: %s", report.job_id, error)
            return
        if owner is not None:
            words = suggested_fix.in_words(report.fix, self)
            owner.add_report(replace(report, options=FormHooks.texts(self), fix_words=words))

    def add_report(self, report: Report) -> None:
        """Adds a report to the list, as `report.kept` says, and has it stored.

        JupyterHub, when it stops the server, stores the list in the commit that forgets the run.
        """
        self.reports = kept(report, self.reports)
        self.registry.changes.ring(self.user.name)
        self._stored = asyncio.ensure_future(self.save())
        self._stored.add_done_callback(self._log_failure)

    async def dismiss_reports(self, job_id: int | None = None) -> None:
        """Stores that the user has read the reports, as `report.dismissed` says; raises SQLAlchemyError."""
        self.reports = dismissed(self.reports, job_id)
        self.registry.changes.ring(self.user.name)
        await self.save()

    def _log_failure(self, stored: asyncio.Future[None]) -> None:
        if not stored.cancelled() and (error := stored.exception()):  # it is stored with the next state
            self.log.error("A report of %s can't be stored yet: %s", compat.log_name(self), error)

    async def reports_stored(self) -> None:
        """Returns once the reports that were kept so far are stored, or can't be for now."""
        if self._stored:
            await asyncio.wait([self._stored])

    async def withdraw(self) -> None:
        """Takes a server that has ended out of the proxy; it counts as stopping until JupyterHub knows."""
        if self.ready:
            compat.expect_stop(self)
        if self.server is not None:
            await compat.remove_route(self)

    async def with_suggested_fix(self, cause: Cause) -> Cause:
        """The cause with a fix that the form would take from this user."""
        return await suggested_fix.with_suggested_fix(cause, self)

    def save(self) -> Awaitable[None]:
        """Stores the state soon; done once it is stored."""
        return self.registry.state_writer.note(self)

    def _stored_spawn_ids(self) -> set[str]:
        return {state.get("spawn_id", "") for state in compat.stored_states(self.user)}

    # -- the life of a server

    @property
    def ready(self) -> bool:
        """Can the server be used? JupyterHub alone would say so of one whose start was cancelled just now."""
        return bool(super().ready) and not (self.run and not self.run.port)

    def start_page(self, *, counts: bool = True) -> StartPage:
        """What the page of a start shows at this moment; for `counts` see StartPage."""
        events = self.run.progress.events if self.run else ()
        return StartPage(server_status(self), tuple(events), time.time(), counts)

    @property
    def has_ended(self) -> bool:
        """Is the server over or ending, although JupyterHub may not know yet?"""
        return self.run is not None and self.run.is_leaving

    async def start(self) -> str:
        """Submits the job; returns the server's URL once its starter reports that the server listens."""
        cluster = await self._known_cluster()
        self.begin_search()
        code = secrets.token_urlsafe(32)
        rights = (await self.facts(fresh=False)).rights(cluster)
        run = self._take_up(Attempt.new(cluster, code, self.registry.instance))
        self.is_adopted = False
        spec = self.job_spec(run.attempt)
        try:
            compat.show_page(self)
            await run.submit(rights.countable(spec) if rights else spec, self.job_script(code, rights))
            await run.arrive()
        except FlatironsError as error:
            raise StartFailed(error) from error
        return self.url

    async def _known_cluster(self) -> str:
        """The chosen cluster by its name here; raises StartFailed if there is none.

        Where no cluster is configured, the one that Slurm's commands find also has its own name.
        """
        cluster, clients = str(self.job_options()["cluster"]), self.registry.clients
        if cluster in clients:
            return cluster
        if list(clients) == [DEFAULT_CLUSTER]:
            rights = (await self.facts(True)).rights(DEFAULT_CLUSTER)
            if rights and rights.facts.configuration.cluster_name == cluster:
                return DEFAULT_CLUSTER
        self.log.error("There is no cluster %r: name it in c.SlurmSpawner.clusters", cluster)
        raise StartFailed(OptionsRefused({"cluster": f"There is no cluster {cluster!r} here."}))

    async def poll(self) -> int | None:
        """None while the job lives, or may live, else an exit status; starts no process.

        The first poll after a restart of the hub returns only when a start that was under way has ended.
        """
        if self.run is None:
            return 0
        self.run.follow()
        if compat.is_check_pending(self):
            return await resume.Resume(self, self.run, stop_seconds=self.stop_timeout + 10).status()
        return await resume.status(self.run)

    async def stop(self, now: bool = False) -> None:
        """Ends the server, and its job if that isn't enough; returns when Slurm says that the job is gone."""
        if self.run:
            try:
                await self.run.stop(UNANSWERED if self._is_given_up else STOPPED)
            except FlatironsError as error:
                raise StartFailed(error) from error

    @property
    def _is_given_up(self) -> bool:
        """Does JupyterHub end the server because it doesn't answer? It adds callbacks once it does."""
        listens = bool(self.run and self.run.attempt.port)
        is_unanswered = self.is_adopted and not compat.has_poll_callbacks(self)
        return listens and (compat.is_answer_pending(self) or is_unanswered)

    async def clean_up(self) -> None:
        """Removes a server that JupyterHub has left half stopped."""
        await compat.remove_server(self)

    def correct_address(self) -> None:
        """Tells JupyterHub where the server listens: it forgets that when its database fails."""
        found = urlsplit(self.url)
        if wrong := compat.correct_address(self, found.hostname, found.port):
            self.log.warning("JupyterHub had the wrong address %s for %s", wrong, compat.log_name(self))

    async def get_url(self) -> str:
        """The server's URL, for a restarted hub: JupyterHub stores all of it but the scheme."""
        compat.set_scheme(self, urlsplit(self.url).scheme)
        return str(url_path_join(self.url, self.server.base_url))

    async def progress(self) -> AsyncIterator[Event]:
        """The events of the start, each once, as they happen."""
        if self.run:
            async for event in self.run.progress.follow():
                yield event

    @property
    def job_name(self) -> str:
        """The name of the server's job in Slurm."""
        return f"jupyter-{self.name}" if self.name else "jupyter"

    @property
    def url(self) -> str:
        """Where the server listens."""
        assert self.run
        scheme = "https" if self.internal_ssl else "http"
        host = self.run.attempt.address or self.run.attempt.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.run.attempt.port}"

    @property
    def end_report(self) -> Report | None:
        """The report of a run that has ended and that JupyterHub still knows; None while there is none."""
        newest = self.reports[0] if self.reports and self.has_ended else None
        return newest if newest and self.run and newest.job_id == self.run.job_id else None

    # -- what is sent to Slurm

    def job_options(self) -> Options:
        """The typed options that the job is made of; see `spawners.form.job_options`."""
        return job_options(self)

    def job_spec(self, attempt: Attempt) -> JobSpec:
        """The job that is requested from Slurm."""
        spec = request(self.job_options(), self.own_fields)
        if self.gres:
            spec = replace(spec, extra=(*spec.extra, f"--gres={self.gres}"))
        if self.ntasks_is_per_node and spec.ntasks:
            spec = replace(spec, ntasks=0, extra=(*spec.extra, f"--ntasks-per-node={spec.ntasks}"))
        return replace(
            spec,
            name=self.job_name,
            comment=self.registry.comment(attempt.spawn_id, f"{self.user.name}/{self.name}"),
            output="/dev/null",  # the starter keeps the log, in a place that only the user reads
        )

    def get_env(self) -> dict[str, str]:
        """The server's environment, with the variables that the site's own fields set."""
        hubs: dict[str, str] = super().get_env()
        return {**variables(self.own_fields, self.user_options), **hubs}

    def job_script(self, code: str, rights: Rights | None = None) -> str:
        """The starter with its configuration; the only secret in it is the boot code.

        `rights` say what the cluster counts, which engines have to know.
        """
        options = self.job_options()
        chosen = self._environment(str(options["environment"]))
        assert self.run
        cluster = self.registry.clients[self.run.attempt.cluster].cluster
        cluster = rights.facts.described(cluster) if rights else cluster
        config = StarterConfig(
            hub=self.starter_url or self._hub_api_url(),
            code=code,
            command=chosen.argv([*(chosen.cmd or self.cmd), *self.get_args()]),
            image="" if "://" in chosen.image.path else chosen.image.path,
            prologue="\n".join(text for text in (self.prologue, chosen.prologue) if text),
            ports=(self.port_range[0], self.port_range[1]) if self.port_range else None,
            environment=job_environment(cluster, chosen, self.parallel),
            forgotten=chosen.forgotten,
        )
        return notebook(config, self.python)

    def _environment(self, name: str) -> Environment:
        """The environment of `image`, else the one with this name, which may be the path of an image.

        Without environments, servers run in the software of the node. Raises ImageError.
        """
        known = Catalogue.from_dict(self.environments or SOFTWARE_OF_NODE)
        path = self.image or (name if name.startswith("/") and name not in known.names else "")
        return known.with_image(path, self.image_settings) if path else known.get(name)

    def _hub_api_url(self) -> str:
        if self.hub_connect_url is None:
            return str(self.hub.api_url)
        return str(url_path_join(self.hub_connect_url, urlsplit(self.hub.api_url).path))

    # -- what the starter is given

    async def boot(self) -> dict[str, Any]:
        """The answer to a starter that showed its code: the server's environment, with its token."""
        assert self.run
        if not self.api_token:
            await compat.renew_token(self)
        place = await self.run.caller_check.place()
        tls = await self._certificate(self.run, place.host) if self.internal_ssl else None
        return {
            **{"environment": self.get_env(), "prefix": self.server.base_url, "tls": tls},
            "addresses": sorted(str(each) for each in place.addresses if not each.is_loopback),
        }

    async def create_certs(self) -> dict[str, str]:
        """None yet: the certificate names the server and its node, which is known when the job runs."""
        return {}

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """Nothing to move: the starter is sent the certificate's text."""
        return paths

    @property
    def certificate_name(self) -> str:
        """The name that the proxy demands of the server's certificate; "" where it has no such name."""
        return self.run.attempt.certificate_name if self.run else ""

    async def _certificate(self, run: ServerRun, host: str) -> dict[str, str]:
        """A certificate for that very server on that very node, as texts by the variable for the file's path.

        The proxy asks for the name of the server, the hub for that of the node.
        """
        name = await run.name_certificate(host)
        self.ssl_alt_names = [f"DNS:{name}", f"IP:{host}" if is_address(host) else f"DNS:{host}"]
        paths = await super().create_certs()
        names = {"keyfile": "KEYFILE", "certfile": "CERTFILE", "cafile": "CLIENT_CA"}
        return {f"JUPYTERHUB_SSL_{names[kind]}": Path(path).read_text() for kind, path in paths.items()}  # noqa: ASYNC240


def begin_search(app: Any) -> None:
    """Begins the search for orphans of a hub that starts servers by our class, directly or as a child.

    Also when no server is known: the database may have been lost.
    """
    if hasattr(app.spawner_class, "at_hub_start"):
        spawner = compat.spawner_of_nobody(app)
        if isinstance(spawner, SlurmSpawner):
            spawner.begin_search()


compat.at_start(compat.tell_spawner_class)
compat.at_start(begin_search)
