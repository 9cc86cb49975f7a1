"""The variables that tell programs in a server's job where they run. Pure.

======================  ===================================================================================
SLURM_CONF              the cluster's slurm.conf, where the site names one
FLATIRONS_CLUSTER       the cluster's name in the site file
FLATIRONS_ENVIRONMENT   the environment's name there
FLATIRONS_IMAGE         the path of its image, "" for software of the node
FLATIRONS_CONTAINER     a JSON list: the words before a command that run it in the same container
FLATIRONS_PARALLEL      a JSON object: the site's defaults for engines, by the keys of [parallel]
======================  ===================================================================================

Notebooks may use all of them. `flatirons.parallel` reads them in an image that may hold another release of
Flatirons, so their names and forms don't change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flatirons.environments.catalogue import Environment
from flatirons.slurm.model import Cluster


def job_environment(cluster: Cluster, chosen: Environment, parallel: Mapping[str, Any]) -> dict[str, str]:
    """The variables that name a server's cluster and image, and the defaults for its engines."""
    return {
        **cluster.environment(),
        "FLATIRONS_CLUSTER": cluster.name,
        "FLATIRONS_ENVIRONMENT": chosen.name,
        "FLATIRONS_IMAGE": chosen.image.path,
        "FLATIRONS_CONTAINER": json.dumps(chosen.argv([])),
        "FLATIRONS_PARALLEL": json.dumps(dict(parallel)),
    }
