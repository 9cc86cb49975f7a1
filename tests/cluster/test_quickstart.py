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
ASK = f"import sys; print(sys.path, {OURS}, len(sys.meta_path), __name__)"
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
RUNTIME = """
jupyter-lab --no-browser --port=18889 --IdentityProvider.token=x >lab.log 2>&1 & server=$!
ask() { curl -s --retry 30 --retry-connrefused --retry-delay 1 "localhost:18889/api/$1?token=x"; }
ask status >/dev/null
runtime=$(tr '\\0' '\\n' </proc/$server/environ | grep -c JUPYTER_RUNTIME_DIR)
place=$(ls -d /tmp/jupyter-runtime-*)
stat -c '%a %U' $place
ls $place | grep -c jpserver
kill $server
wait $server
ls -d /tmp/jupyter-runtime-* 2>/dev/null || echo gone
ls -d ~/.local/share/jupyter/runtime 2>/dev/null || echo none
"""


def run(cluster: RealCluster, *command: str, user: str = "dave") -> str:
    """What a command in the image prints, on a compute node."""
    binds = [word for bind in BINDS for word in ("--bind", bind)]
    argv = ["apptainer", "--quiet", "exec", *binds, IMAGE, *command]
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


def test_a_kernel_finds_modules_where_ipykernels_own_does(cluster: RealCluster) -> None:
    shown = run(cluster, "python", "-c", KERNEL)
    assert shown.startswith("True"), shown


def test_files_that_live_as_long_as_the_server_are_private_on_the_node_and_go_with_it(
    cluster: RealCluster,
) -> None:
    shown = run(cluster, "sh", "-c", RUNTIME).splitlines()
    assert shown[0] == "700 dave"
    assert int(shown[1]) > 0
    assert shown[2:] == ["gone", "none"]


@pytest.mark.parametrize("mode", ["0", "1"])
def test_the_single_user_server_runs_as_an_extension_and_as_an_application(
    cluster: RealCluster, mode: str
) -> None:
    words = ("env", f"JUPYTERHUB_SINGLEUSER_EXTENSION={mode}", "jupyterhub-singleuser", "--help-all")
    assert "ServerApp.port" in run(cluster, *words)
