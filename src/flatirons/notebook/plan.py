"""From what a user said to the job that is asked of Slurm, by the hub's own form and script writer."""

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
from flatirons.slurm_form.offers import OfferCache

COMMENT = "flatirons-notebook:"
"""What the comments of all jobs begin with that were submitted without a hub."""

HIDDEN = (*argv.INHERITED, "SPANK_", "PMI")
"""Variables that would count as options: the shell may be inside a job, or have defaults for other jobs."""

SERVER = ("jupyter-lab",)
HUBS_SERVERS = ("jupyterhub-singleuser", "jupyter-labhub")
LISTEN = (
    "--ServerApp.ip={address}",
    "--ServerApp.port={port}",
    "--ServerApp.port_retries=0",
    "--ServerApp.base_url=/",
    "--ServerApp.open_browser=False",
)
"""What tells a server without a hub where to listen; its token is in $JUPYTER_TOKEN."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A job to submit, on which cluster, and what its starter is told."""

    client: SlurmClient
    spec: JobSpec
    script: str
    record: Record


def me() -> str:
    """The name of whoever runs this."""
    return pwd.getpwuid(os.getuid()).pw_name


def clients(site: Site, runner: Runner | None = None) -> dict[str, SlurmClient]:
    """The site's clusters, asked as ourselves for our own jobs."""
    runner = runner or AsSelf(hidden=HIDDEN)
    return {
        name: SlurmClient(Cluster(name, said.slurm_conf, said.bin_dir), runner, owner=me())
        for name, said in site.clusters.items()
    }


async def plan(site: Site, given: Mapping[str, str], known: Mapping[str, SlurmClient]) -> Plan:
    """The job that the hub would submit for these options. Raises OptionsRefused, by the form's names."""
    options = await _options(site, given, known)
    client = known[str(options["cluster"])]
    chosen = Catalogue.from_dict(site.environment_settings()).get(str(options["environment"]))
    record = Record.new(client.cluster.name, chosen.name, site.servers.default_url)
    own = site.form.site_fields()
    spec = replace(
        request(options, own),
        comment=f"{COMMENT}{record.id}:{chosen.name}",
        chdir="/",  # as for the hub's jobs: the folder of the shell may not be on the node
        output="/dev/null",  # the starter keeps the log, in a place that only the user reads
    )
    variables = site_fields.environment(own, options)
    return Plan(client, spec, script(site, client.cluster, chosen, record, variables), record)


async def _options(
    site: Site, given: Mapping[str, str], known: Mapping[str, SlurmClient]
) -> dict[str, Value | None]:
    """The form's typed options. Of all clusters only the one that is meant is asked what it offers."""
    first = next(iter([*site.form.named("cluster"), *known]))
    cluster = given.get("cluster") or first
    if cluster not in known:
        raise OptionsRefused({"cluster": f"There is no cluster {cluster!r}. Known: {', '.join(known)}."})
    offers = OfferCache({cluster: known[cluster]})
    context = Context(user=me(), facts=await offers.facts(me(), fresh=True))
    return await options_form(site).check(given, context)


def script(
    site: Site, cluster: Cluster, chosen: Environment, record: Record, variables: Mapping[str, str]
) -> str:
    """The starter with its configuration; no secret is in it."""
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
    """The command that starts a server without a hub: jupyter-lab, in the place of the hub's own.

    A command of the site's that names none of those is run as it is, with the words of LISTEN behind it.
    """
    return [
        str(PurePosixPath(word).with_name(SERVER[0])) if PurePosixPath(word).name in HUBS_SERVERS else word
        for word in cmd or SERVER
    ]


def record_id(job: Job) -> str:
    """The record that a job belongs to, "" for one that isn't ours."""
    return job.comment.removeprefix(COMMENT).partition(":")[0] if job.comment.startswith(COMMENT) else ""
