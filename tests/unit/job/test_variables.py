"""The variables that tell programs in a server's job where they run."""

import json

from flatirons.environments.catalogue import Environment
from flatirons.job.variables import job_environment
from flatirons.slurm.model import Cluster

SUMMIT = Cluster("summit", slurm_conf="/etc/slurm/summit.conf")


def test_the_image_has_the_name_that_scripts_of_other_hubs_use_beside_ours() -> None:
    chosen = Environment.from_dict("python", {"image": "/srv/a b.sif", "binds": ["/run/munge"]})
    seen = job_environment(SUMMIT, chosen, {})
    assert seen["CONTAINER_PATH"] == seen["FLATIRONS_IMAGE"] == "/srv/a b.sif"
    assert json.loads(seen["FLATIRONS_CONTAINER"]) == [
        *("apptainer", "exec", "--bind", "/run/munge", "/srv/a b.sif")
    ]


def test_without_an_image_no_container_is_named() -> None:
    seen = job_environment(SUMMIT, Environment.from_dict("conda", {}), {})
    assert "CONTAINER_PATH" not in seen
    assert (seen["FLATIRONS_IMAGE"], seen["FLATIRONS_CONTAINER"]) == ("", "[]")
