"""The traits of SlurmSpawner that the operator sets."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Dict, Enum, HasTraits, Integer, List, TraitError, Unicode, default, validate

from flatirons.slurm.model import DEFAULT_CLUSTER
from flatirons.slurm.spelling import SETTINGS, Spelling
from flatirons.spawners.trait_types import Seconds

CLUSTER_KEYS = frozenset({"slurm_conf", "bin_dir", "title", *SETTINGS})


class SiteTraits(HasTraits):
    """What the operator sets: clusters, environments, limits, and how jobs are run."""

    clusters = Dict(
        help="Slurm clusters by name, each with 'slurm_conf' and 'bin_dir' (paths), 'title', and the options "
        "of sbatch for resources ('sbatch_memory' and the like, as in a site file), all optional."
        " Left out: the one that Slurm's commands find by themselves, which is called 'default'."
    ).tag(config=True)
    environments = Dict(
        help="The environments that users can choose, by name; for the keys see "
        "flatirons.environments.catalogue.Environment. Left out: the software of the node."
    ).tag(config=True)
    image = Unicode(
        help="Path of an image that servers run in, for a form that offers images by path. The environment "
        "with this image is used, with its binds and other settings; without one, the image alone."
    ).tag(config=True)
    image_settings = Dict(
        help="Settings of an environment for an image that is run alone, such as `{'binds': ['/scratch']}`."
    ).tag(config=True)
    gres = Unicode(
        help="Generic resources on each node as in sbatch's --gres, for a form that offers them so: "
        "`gpu:v100:1`."
    ).tag(config=True)
    ntasks_is_per_node = Bool(
        help="Whether `ntasks` is the number of tasks on each node; by default it is that of the whole job."
    ).tag(config=True)
    run_as = Enum(
        ["root", "sudo", "ssh", "self"],
        default_value="sudo",
        help="How Slurm's commands are run as the user: see flatirons.runner.",
    ).tag(config=True)
    ssh_host = Unicode(help="The log-in node for run_as = 'ssh'.").tag(config=True)
    queue_timeout = Seconds(
        86400.0,
        min=1,
        help="Seconds that a job may wait in the queue before it is cancelled, or a text: `12h`.",
    ).tag(config=True)
    node_timeout = Seconds(
        300.0, min=1, help="Seconds from the start of the job until its server listens, or a text: `5m`."
    ).tag(config=True)
    stop_timeout = Seconds(
        60.0, min=1, help="Seconds that a cancelled job may take to end, or a text: `90s`."
    ).tag(config=True)
    port_range = List(
        Integer(), help="First and last port that servers may listen on; empty: any free one."
    ).tag(config=True)
    prologue = Unicode(help="Shell lines that run on the node before every server.").tag(config=True)
    python = Unicode("python3", help="The node's Python (3.6 or newer) that runs the starter.").tag(
        config=True
    )
    starter_url = Unicode(
        help="URL of the hub's API for starters; default: the one that servers use. With internal TLS it "
        "must be the public one, since a starter has no certificate yet."
    ).tag(config=True)
    check_address = Bool(
        True,
        help="Whether a job's calls must come from an address of its node, as hub and Slurm know it.",
    ).tag(config=True)
    own_fields = Dict(
        help="The site's own fields of the form, by name: a value goes to an option of sbatch ('sbatch'), to "
        "a variable of the server's environment ('env'), or both; see flatirons.slurm_form.site_fields."
    ).tag(config=True)
    parallel = Dict(help="Defaults for engines started from a notebook; see flatirons.parallel.").tag(
        config=True
    )

    env_keep = List(
        Unicode(), help="Names of variables that servers get from the hub's environment; none by default."
    ).tag(config=True)

    @default("clusters")
    def _default_clusters(self) -> dict[str, dict[str, str]]:
        return {DEFAULT_CLUSTER: {}}

    @validate("clusters")
    def _known_keys_only(self, proposal: Any) -> dict[str, dict[str, Any]]:
        clusters: dict[str, dict[str, Any]] = proposal["value"]
        for name, facts in clusters.items():
            if unknown := set(facts) - CLUSTER_KEYS:
                known = ", ".join(sorted(CLUSTER_KEYS))
                raise TraitError(f"cluster {name!r} has the unknown key {min(unknown)!r}; known: {known}")
            try:
                Spelling.of(facts)
            except ValueError as error:
                raise TraitError(f"cluster {name!r}: {error}") from None
        return clusters or {DEFAULT_CLUSTER: {}}
