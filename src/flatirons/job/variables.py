"""The variables that tell programs in a server's job where they run. Pure.

======================  ===================================================================================
SLURM_CONF              the cluster's slurm.conf, where the site names one
FLATIRONS_CLUSTER       the cluster's name in the site file
FLATIRONS_ENVIRONMENT   the environment's name there
FLATIRONS_IMAGE         the path of its image, "" for software of the node
FLATIRONS_CONTAINER     a JSON list: the words before a command that run it in the same container
CONTAINER_PATH          the path of its image, as scripts of other hubs call it; not set without an image
FLATIRONS_PARALLEL      a JSON object: the site's defaults for engines, by the keys of [parallel]
FLATIRONS_SBATCH        a JSON object: by which options the cluster takes resources, where they aren't the
                        usual ones; see slurm.spelling
======================  ===================================================================================

Notebooks may use all of them, engines and workers those that name their environment. `flatirons.parallel`
reads them in an image that may hold another release of Flatirons, so their names and forms don't change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # every Jupyter server imports this module before its first answer
    from flatirons.environments.catalogue import Environment
    from flatirons.slurm.model import Cluster


ENVIRONMENT_NAMES = (
    *("FLATIRONS_CLUSTER", "FLATIRONS_ENVIRONMENT", "FLATIRONS_IMAGE", "FLATIRONS_CONTAINER"),
    "CONTAINER_PATH",
)
"""The variables that a job of engines gets from its notebook: they name the environment that it runs in."""


def job_environment(cluster: Cluster, chosen: Environment, parallel: Mapping[str, Any]) -> dict[str, str]:
    """The variables that name a server's cluster and image, and the defaults for its engines."""
    spelling = cluster.spelling.as_text()
    return {
        **cluster.environment(),
        "FLATIRONS_CLUSTER": cluster.name,
        "FLATIRONS_ENVIRONMENT": chosen.name,
        "FLATIRONS_IMAGE": chosen.image.path,
        **({"CONTAINER_PATH": chosen.image.path} if chosen.image.path else {}),
        "FLATIRONS_CONTAINER": json.dumps(chosen.argv([])),
        "FLATIRONS_PARALLEL": json.dumps(dict(parallel)),
        **({"FLATIRONS_SBATCH": spelling} if spelling else {}),
    }
