"""The catalogue: the argv of a container, and a clear sentence for an image that can't be run."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.environments.catalogue import (
    Bind,
    Catalogue,
    Environment,
    Image,
    container_argv,
    container_prefix,
)
from flatirons.errors import ImageError

BASE = "/srv/images/base.sif"


def test_a_command_runs_inside_the_image_with_binds_and_options_before_the_path():
    image = Image(BASE, binds=(Bind("/scratch"), Bind("/etc/slurm", mode="ro")), options=("--no-mount=tmp",))
    assert container_argv(image, ["python3", "-m", "x"]) == [
        "apptainer", "exec", "--bind", "/scratch", "--bind", "/etc/slurm:/etc/slurm:ro",
        "--no-mount=tmp", BASE, "python3", "-m", "x",
    ]  # fmt: skip


def test_nvidia_libraries_are_mounted_if_the_site_sets_nv():
    assert "--nv" in container_prefix(Image(BASE, nv=True))


def test_the_sites_own_apptainer_is_used():
    assert container_prefix(Image(BASE, apptainer="/opt/bin/apptainer"))[0] == "/opt/bin/apptainer"


def test_without_a_container_the_command_is_unchanged():
    assert container_argv(Image(kind="none"), ["jupyterhub-singleuser"]) == ["jupyterhub-singleuser"]


def test_an_environment_gives_the_words_before_any_command():
    made = Environment("python", Image(BASE, binds=(Bind("/a b", "/c"),)))
    assert made.argv([]) == ["apptainer", "exec", "--bind", "/a b:/c", BASE]
    assert Environment("modules", Image(kind="none")).argv([]) == []


@pytest.mark.parametrize("text", ["/a", "/a:/b", "/a:/b:ro", "/a:/a:rw", r"/a\:b\,c:/d\\e:ro"])
def test_a_bind_is_written_as_it_was_parsed(text):
    assert str(Bind.parse(text)) == text


@pytest.mark.parametrize("text", ["", "a", "/a:b", "/a:/b:rx", "/a:/b:ro:x", "/a,/b", "/a\n/b", ":/b"])
def test_a_bind_that_apptainer_would_misread_is_refused(text):
    with pytest.raises(ImageError):
        Bind.parse(text)


@pytest.mark.parametrize(
    ("text", "source", "target"),
    [
        (r"/a\:b", "/a:b", "/a:b"),
        (r"/a\,b:/c", "/a,b", "/c"),
        (r"/home/DOM\ann", r"/home/DOM\ann", r"/home/DOM\ann"),
        (r"/a\\:/b", "/a\\", "/b"),
        ('/a"b c', '/a"b c', '/a"b c'),
        ("/a ", "/a ", "/a "),
    ],
)
def test_a_path_that_apptainer_would_split_is_bound_as_a_mount(text: str, source: str, target: str) -> None:
    option, value = Bind.parse(text).words()
    assert option == "--mount"
    [cells] = csv.reader([value])  # Apptainer reads it with Go's CSV reader, whose rules are the same
    assert cells == ["type=bind", f"source={source}", f"destination={target}"]


def test_a_mount_may_be_read_only() -> None:
    assert Bind("/a,b", "/c", "ro").words()[1].endswith(',"ro"')
    assert Bind("/a b/é%j'$x").words() == ["--bind", "/a b/é%j'$x"]


@given(st.text())
def test_any_text_is_a_bind_or_an_image_error(text):
    try:
        assert Bind.parse(str(Bind.parse(text))) is not None
    except ImageError as error:
        assert error.user


@pytest.mark.parametrize(
    "path", ["", "base.sif", "~/base.sif", "--fakeroot", "/a\x00", "http://example.org/a"]
)
def test_an_image_must_be_an_absolute_path_or_a_uri(path):
    with pytest.raises(ImageError):
        Image(path)


def test_an_image_may_be_a_uri():
    assert container_prefix(Image("docker://python:3.13"))[-1] == "docker://python:3.13"


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "docker"},
        {"cmd": ("",)},
        {"kind": "none", "path": BASE},
        {"kind": "none", "path": "", "nv": True},
    ],
)  # fmt: skip
def test_settings_that_contradict_each_other_are_refused(settings):
    with pytest.raises(ImageError):
        Image(**{"path": BASE, **settings})


def test_an_environment_is_made_from_plain_data():
    made = Environment.from_dict("python", {"title": "Python", "image": BASE, "binds": ["/scratch"]})
    assert made.title == "Python"
    assert made.image == Image(BASE, binds=(Bind("/scratch"),))


def test_an_environment_without_an_image_runs_without_a_container():
    assert Environment.from_dict("modules", {"cmd": ["/opt/jupyterhub-singleuser"]}).image.kind == "none"


def test_variables_of_the_nodes_software_are_unset_for_a_container_and_kept_for_a_module():
    assert {"PYTHONPATH", "R_LIBS", "SPARK_CONF_DIR"} <= set(
        Environment.from_dict("a", {"image": BASE}).forgotten
    )
    assert Environment.from_dict("b", {}).forgotten == ()


@pytest.mark.parametrize("settings", [{"imgae": BASE}, {"image": "base.sif"}, {"image": BASE, "binds": "/a"}])
def test_the_error_for_a_wrong_setting_names_the_environment(settings):
    with pytest.raises(ImageError, match="'python'"):
        Environment.from_dict("python", settings)


def test_the_first_environment_is_the_default_and_an_unknown_name_is_refused_with_the_known_ones():
    catalogue = Catalogue.from_dict({"python": {"image": BASE}, "r": {"image": BASE}})
    assert catalogue.get("").name == "python"
    assert catalogue.get("r").name == "r"
    assert len(catalogue) == len(list(catalogue)) == 2
    with pytest.raises(ImageError, match="Known: python, r"):
        catalogue.get("julia")


def test_an_empty_catalogue_is_reported():
    with pytest.raises(ImageError, match="has no environments"):
        Catalogue().get("")


def test_an_image_by_its_path_is_the_environment_that_has_it_or_the_image_alone() -> None:
    known = Catalogue.from_dict({"r": {"image": "/srv/r.sif", "nv": True}})
    assert known.with_image("/srv/r.sif", {}).image.nv
    alone = known.with_image("/srv/new.sif", {"binds": ["/scratch"]})
    assert (alone.name, alone.image.path, alone.image.nv) == ("new", "/srv/new.sif", False)
    assert alone.argv([])[2:4] == ["--bind", "/scratch"]
    with pytest.raises(ImageError, match="absolute path"):
        known.with_image("new.sif", {})
