"""The environments that a demo offers besides the first."""

import argparse
import tomllib

import pytest

from cluster.demo import environments
from images import recipe


def test_only_images_that_there_are_are_offered() -> None:
    assert {*environments.OFFERED, "base"} == set(recipe.IMAGES)


def test_a_list_is_taken_once_each_and_in_order() -> None:
    assert environments.names("r, pyspark,r,") == ("r", "pyspark")


def test_an_unknown_image_is_named_with_the_known() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no julia; there are r, pyspark, scientific"):
        environments.names("r,julia")


def test_each_has_a_title_a_description_and_its_image() -> None:
    made = tomllib.loads(environments.site_text(environments.OFFERED))["environments"]
    assert made["r"]["image"] == "/srv/images/r.sif"
    assert all(said["title"] and said["description"] for said in made.values())
