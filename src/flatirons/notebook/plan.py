"""Turns the options that a user gave into a job, by the hub's form and script writer."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from flatirons.environments.catalogue import Catalogue, Environment
from flatirons.errors import OptionsRefused
from flatirons.forms import Context, Value
from flatirons.job.script import StarterConfig, notebook
from flatirons.job.variables import job_environment
from flatirons.notebook.record import Record
from flatirons.runner import AsSelf, Runner
from flatirons.site.load import options_form
from flatirons.site.schema import Site
from flatirons.slurm import argv
from flatirons.slurm.client import SlurmClient
from flatirons.slurm.model import Cluster, Job, JobSpec
from flatirons.slurm_form import site_fields
from flatirons.slurm_form.job import request
from flatirons.slurm_form.offers import OfferCache, SlurmOffers

COMMENT = "flatirons-notebook:"
"""The start of the comments of all jobs that were submitted without a hub."""

HIDDEN = (*argv.INHERITED, "SPANK_", "PMI")
"""Variables that Slurm would take for options: the shell may run in a job, or define defaults."""

SERVER = ("jupyter-lab",)
HUBS_SERVERS = ("jupyterhub-singleuser", "jupyter-labhub")
LISTEN = (
    "--ServerApp.ip={address}",
    "--ServerApp.port={port}",
    "--ServerApp.port_retries=0",
    "--ServerApp.base_url=/",
    "--ServerApp.open_browser=False",
)
"""Arguments that tell a server without a hub where to listen; its token is in $JUPYTER_TOKEN."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A job to submit, its cluster, and the record for its starter."""

    client: SlurmClient
    spec: JobSpec
    script: str
    record: Record


def me() -> str:
    """The name of the user who runs this."""
    return pwd.getpwuid(os.getuid()).pw_name


def clients(site: Site, runner: Runner | None = None) -> dict[str, SlurmClient]:
    """Clients of the site's clusters, which act as this user and see its jobs only."""
    runner = runner or AsSelf(hidden=HIDDEN)
    return {
        name: SlurmClient(Cluster.of(name, said.model_dump()), runner, owner=me())
        for name, said in site.clusters.items()
    }


async def plan(site: Site, given: Mapping[str, str], known: Mapping[str, SlurmClient]) -> Plan:
    """The job that the hub would submit for these options; raises OptionsRefused with the form's names."""
    options, offers = await _options(site, given, known)
    client = known[str(options["cluster"])]
    rights = offers.rights(client.cluster.name)
    cluster = rights.facts.described(client.cluster) if rights else client.cluster
    chosen = Catalogue.from_dict(site.environment_settings()).get(str(options["environment"]))
    record = Record.new(client.cluster.name, chosen.name, site.servers.default_url)
    own = site.form.site_fields()
    spec = replace(
        request(options, own),
        comment=f"{COMMENT}{record.id}:{chosen.name}",
        chdir="/",  # as for the hub's jobs: the node may not have the shell's working directory
        output="/dev/null",  # the starter keeps the log where only the user can read it
    )
    spec = rights.countable(spec) if rights else spec
    variables = site_fields.variables(own, options)
    return Plan(client, spec, script(site, cluster, chosen, record, variables), record)


async def _options(
    site: Site, given: Mapping[str, str], known: Mapping[str, SlurmClient]
) -> tuple[dict[str, Value | None], SlurmOffers]:
    """The form's typed options, and the offers. Only the chosen cluster is asked what it offers."""
    first = next(iter([*site.form.named("cluster"), *known]))
    cluster = given.get("cluster") or first
    if cluster not in known:
        raise OptionsRefused({"cluster": f"There is no cluster {cluster!r}. Known: {', '.join(known)}."})
    offers = await OfferCache({cluster: known[cluster]}).facts(me(), fresh=True)
    return await options_form(site).check(given, Context(user=me(), facts=offers)), offers


def script(
    site: Site, cluster: Cluster, chosen: Environment, record: Record, variables: Mapping[str, str]
) -> str:
    """The job script: the starter with its configuration, without any secret."""
    servers = site.servers
    config = StarterConfig(
        hub="",
        code="",
        record=record.starters_path,
        command=chosen.argv(server_command(chosen.cmd)),
        listen=LISTEN,
        image="" if "://" in chosen.image.path else chosen.image.path,
        prologue="\n".join(text for text in (servers.prologue, chosen.prologue) if text),
        ports=servers.ports,
        environment={**variables, **job_environment(cluster, chosen, site.parallel.settings())},
        forgotten=chosen.forgotten,
    )
    return notebook(config, servers.python)


def server_command(cmd: Sequence[str]) -> list[str]:
    """The command that starts a server without a hub: jupyter-lab instead of the hub's server.

    A command that names no server of the hub stays as it is; the starter adds the arguments of LISTEN.
    """
    return [
        str(PurePosixPath(word).with_name(SERVER[0])) if PurePosixPath(word).name in HUBS_SERVERS else word
        for word in cmd or SERVER
    ]


def record_id(job: Job) -> str:
    """The id of a job's record, "" for a job that isn't one of these."""
    return job.comment.removeprefix(COMMENT).partition(":")[0] if job.comment.startswith(COMMENT) else ""
