"""The environments that a demo can offer besides Python."""

import argparse
import tomllib

import pytest

from cluster.demo import environments
from cluster.demo.build import build
from cluster.demo.progress import Progress
from cluster.demo.site_file import merged
from cluster.errors import ClusterError
from flatirons.environments.catalogue import Environment
from images import recipe
from tests.repository import REPO

SITE = REPO / "cluster/demo/site.toml"


def test_every_image_of_the_repository_is_offered_and_no_other() -> None:
    assert {*environments.OFFERED, "base"} == set(recipe.IMAGES)


def test_a_list_of_images_keeps_its_order_without_repeats() -> None:
    assert environments.names("r, pyspark,r,") == ("r", "pyspark")


def test_an_unknown_image_is_refused_with_the_known_ones() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no julia; there are r, pyspark, scientific"):
        environments.names("r,julia")


def test_each_has_a_title_a_description_and_its_image() -> None:
    made = tomllib.loads(environments.site_text(environments.OFFERED))["environments"]
    assert made["r"]["image"] == "/srv/images/r.sif"
    assert all(said["title"] and said["description"] for said in made.values())


def test_without_images_python_runs_on_the_node_itself() -> None:
    demo = tomllib.loads(merged(SITE.read_text(), environments.site_text([])))
    python = Environment.from_dict("python", demo["environments"]["python"])
    assert (python.image.kind, python.cmd) == ("none", ("/opt/jupyter/bin/jupyterhub-singleuser",))


def test_images_are_refused_where_nodes_cannot_run_them() -> None:
    with pytest.raises(ClusterError, match="the suite bookworm has no Apptainer to run r"):
        build(Progress(), "bookworm", ["r"])
