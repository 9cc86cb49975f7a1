"""What programs inside a server's job may ask of its surroundings: see DESIGN.md, Contracts. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from flatirons.environments.catalogue import Environment
from flatirons.slurm.model import Cluster


def job_environment(cluster: Cluster, chosen: Environment, parallel: Mapping[str, Any]) -> dict[str, str]:
    """The variables by which a server knows its cluster, its image and what its engines get by default."""
    return {
        **cluster.environment(),
        "FLATIRONS_CLUSTER": cluster.name,
        "FLATIRONS_ENVIRONMENT": chosen.name,
        "FLATIRONS_IMAGE": chosen.image.path,
        "FLATIRONS_CONTAINER": json.dumps(chosen.argv([])),
        "FLATIRONS_PARALLEL": json.dumps(dict(parallel)),
    }
