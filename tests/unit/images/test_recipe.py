"""The inputs of images: keys, sources of packages, the lock file."""

import argparse
import re
from pathlib import Path

import pytest

from images import base, debian, recipe, schedule, stage
from images.errors import BuildError
from tests.repository import REPO

LOCK = REPO / "images/base/requirements.txt"
SOURCES = """\
deb http://mirror.example/debian trixie main
# deb http://mirror.example/debian trixie contrib

deb [check-valid-until=no] http://mirror.example/debian unstable main
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with files that a wheel is built from, and others."""
    package = tmp_path / "src/flatirons"
    (package / "__pycache__").mkdir(parents=True)
    for file in (
        tmp_path / "pyproject.toml",
        tmp_path / "hatch_build.py",
        tmp_path / "README.md",
        tmp_path / "LICENSE",
        package / "cli.py",
    ):
        file.write_text("one")
    (package / "__pycache__/cli.pyc").write_text("one")
    return tmp_path


def last_stage(checkout: Path) -> recipe.Stage:
    inputs = {"image.def": recipe.HERE / "flatirons.def"} | recipe.flatirons_sources(checkout)
    return recipe.Stage("base", "trixie", inputs, recipe.sandbox("base", "trixie"), ".sif")


def versions(lock: Path) -> dict[str, str]:
    lines = (line for line in lock.read_text().splitlines() if not line.startswith("#"))
    pairs = (line.partition(";")[0].strip().partition("==") for line in lines)
    return {name: version for name, _, version in pairs}


@pytest.mark.parametrize("file", ["pyproject.toml", "src/flatirons/cli.py"])
def test_a_change_of_flatirons_makes_another_image_of_the_same_packages(checkout: Path, file: str) -> None:
    before = last_stage(checkout)
    key = before.key
    (checkout / file).write_text("two")
    after = last_stage(checkout)
    assert after.key != key
    assert before.parent and after.parent and before.parent.key == after.parent.key


def test_bytecode_in_the_checkout_does_not_change_the_image(checkout: Path) -> None:
    before = last_stage(checkout).key
    (checkout / "src/flatirons/__pycache__/cli.pyc").write_text("two")
    assert last_stage(checkout).key == before


def test_the_same_bytes_in_another_file_make_another_image(checkout: Path) -> None:
    before = last_stage(checkout).key
    (checkout / "src/flatirons/cli.py").rename(checkout / "src/flatirons/other.py")
    assert last_stage(checkout).key != before


def test_each_suite_has_its_own_images() -> None:
    assert len({recipe.image("base", suite).key for suite in recipe.SUITES}) == len(recipe.SUITES)


def test_an_unknown_image_is_refused_with_the_known_names() -> None:
    with pytest.raises(BuildError, match="no image nosuch; there are base"):
        recipe.image("nosuch", "trixie")


def test_another_base_makes_other_images(tmp_path: Path) -> None:
    file = tmp_path / "base.sif"
    keys = {recipe.image("r", "trixie").key, recipe.image("r", "trixie", "docker://debian:trixie").key}
    for content in ("one", "two"):
        file.write_text(content)
        keys.add(recipe.image("r", "trixie", base.parse(f"localimage:{file}")).key)
    assert len(keys) == 4


def test_apptainer_is_told_where_the_base_is(tmp_path: Path) -> None:
    by_name = recipe.debian("trixie", base.parse("docker://registry.example/debian:trixie"))
    assert recipe.definition_arguments(by_name, "x", "abc", "now")["BOOTSTRAP"] == "docker"
    assert base.source(by_name.base, Path("/inputs")) == "registry.example/debian:trixie"
    (tmp_path / "base.tar").touch()
    assert base.source(base.parse(f"oci-archive://{tmp_path}/base.tar"), Path("/inputs")) == "/inputs/base"


@pytest.mark.parametrize(
    "text", ["debian", "docker:debian", "docker://a b", "oci-archive:/no/such", "http://x"]
)
def test_an_invalid_base_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not one of docker://NAME|there is no file"):
        base.parse(text)


def test_only_what_the_cache_lacks_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLATIRONS_CACHE", str(tmp_path))
    image = recipe.image("r", "trixie")
    assert [each.name for each in schedule.missing(image)] == ["r", "r", "base", "debian"]
    (stage.cache() / recipe.sandbox("base", "trixie").file_name).mkdir()
    assert [each.name for each in schedule.missing(image)] == ["r", "r"]


@pytest.mark.parametrize("image", ["scientific", "pyspark"])
def test_an_image_leaves_the_packages_of_its_parent_as_they_are(image: str) -> None:
    ours, parents = versions(REPO / f"images/{image}/requirements.txt"), versions(LOCK)
    other = {name for name in ours.keys() & parents.keys() if ours[name] != parents[name]}
    assert other == ({"pandas"} if image == "pyspark" else set())  # PySpark doesn't support pandas 3


@pytest.mark.parametrize("image", recipe.IMAGES)
def test_a_definition_gets_every_value_that_it_uses_and_no_other(image: str) -> None:
    for each in (recipe.image(image, "trixie"), recipe.sandbox(image, "trixie")):
        asked = set(re.findall(r"\{\{ (\w+) \}\}", each.inputs["image.def"].read_text()))
        assert set(recipe.definition_arguments(each, "/parent", "abc", "now")) == asked


def test_packages_come_only_from_the_suite_itself() -> None:
    assert debian.own_sources(SOURCES, "trixie") == ["deb http://mirror.example/debian trixie main"]
    assert len(debian.own_sources(SOURCES, "unstable")) == 1
    assert debian.own_sources(SOURCES, "trix") == []


def test_a_list_of_packages_may_have_comments() -> None:
    assert debian.read_packages("# all\n\ngit  # the tool\nless\n") == ["git", "less"]


def test_the_lock_file_has_one_version_of_every_package_and_names_no_host() -> None:
    wanted = debian.read_packages((REPO / "images/base/requirements.in").read_text())
    names = {re.split(r"[<>=]", name)[0] for name in wanted}
    assert names <= set(versions(LOCK))
    assert "://" not in LOCK.read_text()


def test_the_image_has_the_same_jupyterhub_as_the_hub() -> None:
    assert versions(LOCK)["jupyterhub"] == versions(REPO / "requirements-dev.txt")["jupyterhub"]
