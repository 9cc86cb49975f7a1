"""The image's servers start from the bundle, and differ from others only in the time that this takes."""

from __future__ import annotations

import json

import pytest

from benchmarks.coldstart import BINDS
from tests.conftest import RealCluster

pytestmark = pytest.mark.cluster
IMAGE = "/srv/images/base.sif"
# As in a server: the directory is removed from the path after the import.
START = """
import sys
sys.path[0] = "/opt/jupyter/lib/quickstart"
from flatirons_start import bundle, later
del sys.path[0]
"""

BUNDLE = """
import importlib.util
finder = bundle.read()
differing = []
for name, (file, package, begin, size) in finder.table.items():
    there = importlib.util.find_spec(name)
    package = name.rpartition(".")[0]
    here = finder.find_spec(name, sys.modules[package].__path__ if package else None)
    places = [list(spec.submodule_search_locations or []) for spec in (here, there)]
    same = here.origin == there.origin and places[0] == places[1]
    if not same or (size and here.loader.get_code(name) != there.loader.get_code(name)):
        differing.append(name)
print(len(finder.table), differing)
"""
SERVER = """
with later.stand_ins():
    import jupyterhub.singleuser.extension, jupyterlab.labapp
print([name for name in ("sqlalchemy", "jupyterhub.orm", "lark") if name in sys.modules])
import jsonschema, jupyterhub.scopes, jupyterhub.utils
checker = jsonschema.Draft7Validator.FORMAT_CHECKER
print(checker.conforms("https://example.org/\u00fc", "iri"), checker.conforms("no iri", "iri"))
import jupyterhub.orm, jupyterhub.handlers.pages
print(jupyterhub.scopes.orm.User is jupyterhub.orm.User)
"""


def run(cluster: RealCluster, *command: str, user: str = "dave", options: tuple[str, ...] = ()) -> str:
    """The output of a command in the image, on a compute node."""
    binds = [word for bind in BINDS for word in ("--bind", bind)]
    argv = ["apptainer", "--quiet", "exec", *options, *binds, IMAGE, *command]
    done = cluster.exec("shas0101", argv, user)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_bundle_holds_the_same_bytecode_as_the_image(cluster: RealCluster) -> None:
    count, _, differing = run(cluster, "python", "-c", START + BUNDLE).strip().partition(" ")
    assert int(count) > 800
    assert json.loads(differing.replace("'", '"')) == []


def test_modules_that_a_server_leaves_out_can_be_imported(cluster: RealCluster) -> None:
    shown = run(cluster, "python", "-c", START + SERVER).splitlines()
    assert shown == ["[]", "True False", "True"]


def test_an_image_whose_packages_were_changed_starts_as_a_stock_one(cluster: RealCluster) -> None:
    packages = run(cluster, "python", "-c", START + "print(bundle.PACKAGES)").strip()
    another = ("--bind", f"/run/munge:{packages}/another-1.0.dist-info")
    use = START + "print(bundle.use())"
    assert run(cluster, "python", "-c", use) == "True\n"
    assert run(cluster, "python", "-c", use, options=another) == "False\n"
    assert run(cluster, "jupyterhub-singleuser", "--version", options=another).startswith("6.")


@pytest.mark.parametrize("name", ["PYTHONSAFEPATH", "PYTHONOPTIMIZE", "PYTHONDONTWRITEBYTECODE"])
def test_it_starts_whatever_pythons_variables_say(cluster: RealCluster, name: str) -> None:
    shown = run(cluster, "env", f"{name}=1", "jupyterhub-singleuser", "--version")
    assert shown.startswith("6.")


def test_a_users_module_with_the_name_of_one_in_the_image_does_not_replace_it(
    cluster: RealCluster,
) -> None:
    place = run(cluster, "python", "-m", "site", "--user-site").strip()
    script = f"mkdir -p {place} && echo 'raise SystemExit(1)' >{place}/tornado.py"
    script += " && jupyterhub-singleuser --version"
    try:
        assert run(cluster, "sh", "-c", script).startswith("6.")
    finally:
        run(cluster, "rm", "-r", place)


@pytest.mark.parametrize("mode", ["0", "1"])
def test_the_single_user_server_runs_as_an_extension_and_as_an_application(
    cluster: RealCluster, mode: str
) -> None:
    words = ("env", f"JUPYTERHUB_SINGLEUSER_EXTENSION={mode}", "jupyterhub-singleuser", "--help-all")
    assert "ServerApp.port" in run(cluster, *words)
