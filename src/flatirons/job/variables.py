"""The variables that tell programs in a server's job where they run: see DESIGN.md, Contracts. Pure."""

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
