"""The image's servers and kernels start by the bundle, and nobody can tell but by the clock."""

from __future__ import annotations

import json

import pytest

from benchmarks.coldstart import BINDS
from tests.conftest import RealCluster

pytestmark = pytest.mark.cluster
IMAGE = "/srv/images/base.sif"
START = "import sys; sys.path.insert(0, '/opt/jupyter/lib/quickstart')\n"

BUNDLE = """
import importlib.util, marshal
from flatirons_start import bundle
finder = bundle.read()
differing = []
for name, (file, package, begin, size) in finder.table.items():
    there = importlib.util.find_spec(name)
    here = finder.find_spec(name)
    places = [list(spec.submodule_search_locations or []) for spec in (here, there)]
    same = here.origin == there.origin and places[0] == places[1]
    if not same or (size and here.loader.get_code(name) != there.loader.get_code(name)):
        differing.append(name)
print(len(finder.table), differing)
"""
SERVER = """
from flatirons_start.later import stand_ins
with stand_ins():
    import jupyterhub.singleuser.extension, jupyterlab.labapp
print([name for name in ("sqlalchemy", "jupyterhub.orm", "lark", "requests") if name in sys.modules])
import jsonschema, jupyterhub.scopes, jupyterhub.utils
checker = jsonschema.Draft7Validator.FORMAT_CHECKER
print(checker.conforms("https://example.org/\u00fc", "iri"), checker.conforms("no iri", "iri"))
import jupyterhub.orm, jupyterhub.handlers.pages
print(jupyterhub.scopes.orm.User is jupyterhub.orm.User)
"""
KERNEL = """
import sys, time
from jupyter_client.manager import KernelManager
OURS = "[m for m in sys.modules if 'flatirons' in m]"
ASK = f"import sys; print(sys.path, {OURS}, len(sys.meta_path), __name__, sys.argv[0])"
shown = []
for argv in (None, ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]):
    manager = KernelManager(kernel_name="python3")
    if argv:
        manager.kernel_spec.argv = argv
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(60)
    texts = []
    client.execute_interactive(ASK, output_hook=lambda m: texts.append(m["content"].get("text", "")))
    shown.append("".join(texts))
    client.stop_channels()
    manager.shutdown_kernel()
print(shown[0] == shown[1], shown)
"""
CHANGED = """
touch /opt/jupyter/lib/python3*/site-packages
python -c "import sys; sys.path.insert(0, '/opt/jupyter/lib/quickstart')
from flatirons_start import bundle
print(bundle.use())"
jupyterhub-singleuser --version
"""


def run(cluster: RealCluster, *command: str, user: str = "dave", options: tuple[str, ...] = ()) -> str:
    """What a command in the image prints, on a compute node."""
    binds = [word for bind in BINDS for word in ("--bind", bind)]
    argv = ["apptainer", "--quiet", "exec", *options, *binds, IMAGE, *command]
    done = cluster.exec("shas0101", argv, user)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_bundle_holds_what_lies_in_the_image(cluster: RealCluster) -> None:
    count, _, differing = run(cluster, "python", "-c", START + BUNDLE).strip().partition(" ")
    assert int(count) > 800
    assert json.loads(differing.replace("'", '"')) == []


def test_what_a_server_did_without_is_there_for_who_asks(cluster: RealCluster) -> None:
    shown = run(cluster, "python", "-c", START + SERVER).splitlines()
    assert shown == ["[]", "True False", "True"]


@pytest.mark.parametrize("safe", ["", "1"])
def test_a_kernel_finds_modules_where_ipykernels_own_does(cluster: RealCluster, safe: str) -> None:
    shown = run(cluster, "env", f"PYTHONSAFEPATH={safe}", "python", "-c", KERNEL)
    assert shown.startswith("True"), shown


def test_an_image_whose_packages_were_changed_starts_as_a_stock_one(cluster: RealCluster) -> None:
    first, version = run(cluster, "sh", "-c", CHANGED, user="root", options=("--writable-tmpfs",)).split()
    assert first == "False"
    assert version.startswith("6.")


@pytest.mark.parametrize("name", ["PYTHONSAFEPATH", "PYTHONOPTIMIZE", "PYTHONDONTWRITEBYTECODE"])
def test_it_starts_whatever_the_environment_tells_python(cluster: RealCluster, name: str) -> None:
    shown = run(cluster, "env", f"{name}=1", "jupyterhub-singleuser", "--version")
    assert shown.startswith("6.")


def test_a_users_own_module_of_a_name_of_the_images_adds_to_it_and_replaces_nothing(
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
