"""The image builder, and the base image as an ordinary user runs it on a compute node."""

import contextlib
import fcntl
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from images import recipe, stage
from images.errors import BuildError
from tests.cluster.conftest import Driver
from tests.repository import REPO

BUILD_SECONDS = 900
SECONDS_TO_BEGIN = 60
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(BUILD_SECONDS)]
BUILD = REPO / "scripts/build"
IMAGE = "/srv/images/base.sif"


# The builder, with a mmdebstrap that isn't one.


@pytest.fixture
def fake_mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file for a script that replaces mmdebstrap on PATH and fills $target; the cache is empty."""
    tree = tmp_path / "tree/etc/apt"
    tree.mkdir(parents=True)
    (tree / "sources.list").write_text("deb http://mirror.example/debian trixie main\n")
    monkeypatch.setattr(stage, "cluster_tree", lambda suite: tmp_path / "tree")
    monkeypatch.setenv("FLATIRONS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    script = tmp_path / "bin/mmdebstrap"
    script.parent.mkdir()
    script.touch(mode=0o755)
    write(script, 'mkdir -p "$target/etc"; echo whole > "$target/file"')
    return script


def write(script: Path, body: str) -> None:
    head = '#!/bin/sh\nset -e\nfor target; do case $target in */out) break ;; esac; done\nmkdir "$target"\n'
    script.write_text(head + body + "\n")


def in_cache() -> list[str]:
    """The contents of the cache without locks and logs."""
    return sorted(place.name for place in stage.cache().iterdir() if place.suffix not in (".lock", ".log"))


def other_debian(number: int) -> recipe.Stage:
    """A Debian stage with other contents."""
    wanted = stage.cache() / f"{number}.log"
    wanted.write_text(f"package-{number}\n")
    return recipe.Stage("debian", "trixie", {"debian.txt": wanted})


def test_a_stage_is_built_once(fake_mmdebstrap: Path) -> None:
    place = stage.ensure(recipe.debian("trixie"))
    assert (place / "file").read_text() == "whole\n"
    fake_mmdebstrap.unlink()
    assert stage.ensure(recipe.debian("trixie")) == place


def test_a_failed_build_shows_its_last_messages_and_leaves_nothing(
    fake_mmdebstrap: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write(fake_mmdebstrap, 'echo part > "$target/file"; echo no such package >&2; exit 25')
    with pytest.raises(BuildError, match="Debian packages failed"):
        stage.ensure(recipe.debian("trixie"))
    assert "no such package" in capfd.readouterr().err
    assert in_cache() == []


def test_of_many_builds_the_newest_few_are_kept(fake_mmdebstrap: Path) -> None:
    places = []
    for number in range(stage.KEPT + 2):
        places.append(stage.ensure(other_debian(number)))
        os.utime(places[-1], (number, number))
    assert in_cache() == sorted(place.name for place in places[2:])


def driver_of(fake_mmdebstrap: Path) -> subprocess.Popen[bytes]:
    """A separate process that builds the Debian stage, once mmdebstrap has begun.

    Fails if it ends before that, or prints nothing for a long time.
    """
    started = fake_mmdebstrap.with_name("started")
    os.mkfifo(started)
    begun = os.open(started, os.O_RDONLY | os.O_NONBLOCK)  # else this would wait for a writer
    write(fake_mmdebstrap, f'echo part > "$target/file"; echo > {started}; exec sleep 1000')
    code = (
        "import sys, pathlib; from images import __main__, recipe, stage\n"
        f"stage.cluster_tree = lambda suite: pathlib.Path({str(fake_mmdebstrap.parents[1] / 'tree')!r})\n"
        "__main__.recipe.image = lambda name, suite, base, panel: recipe.debian(suite)\n"
        "sys.exit(__main__.main())"
    )
    child = subprocess.Popen([sys.executable, "-P", "-c", code], env={**os.environ, "PYTHONPATH": str(REPO)})
    ended = os.pidfd_open(child.pid)
    try:
        heard, _, _ = select.select([begun, ended], [], [], SECONDS_TO_BEGIN)
    finally:
        os.close(begun)
        os.close(ended)
    if heard != [begun]:
        child.kill()
        pytest.fail(f"mmdebstrap never began; the build's exit code: {child.wait(20)}")
    return child


def test_a_build_that_fails_before_it_begins_does_not_block_the_test(
    fake_mmdebstrap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLATIRONS_CACHE", "/dev/null")
    with pytest.raises(pytest.fail.Exception, match="exit code: 1"):
        driver_of(fake_mmdebstrap)


def builders(fake_mmdebstrap: Path) -> list[str]:
    """The command lines of processes of a build in this test's cache."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append(file.read_text().replace("\0", " "))
    return [line for line in found if str(fake_mmdebstrap.parents[1]) in line and "unshare" in line]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_ends_with_its_processes_and_leaves_nothing(
    fake_mmdebstrap: Path, number: signal.Signals
) -> None:
    child = driver_of(fake_mmdebstrap)
    child.send_signal(number)
    assert child.wait(20) in (130, 143)
    assert builders(fake_mmdebstrap) == []
    assert in_cache() == []


def test_the_next_build_removes_what_a_killed_one_left_and_never_uses_it(
    fake_mmdebstrap: Path,
) -> None:
    child = driver_of(fake_mmdebstrap)
    child.kill()
    child.wait(20)
    with (stage.cache() / ".debian-trixie.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the last process of the build has gone
    [left] = in_cache()
    assert left.startswith(".building-")
    write(fake_mmdebstrap, 'echo whole > "$target/file"; mkdir "$target/etc"')
    place = stage.ensure(recipe.debian("trixie"))
    assert (place / "file").read_text() == "whole\n"
    assert in_cache() == [place.name]


# The base image.


@pytest.fixture(scope="module")
def image() -> Path:
    """The base image's file; printed alone on stdout."""
    given = os.environ.get("FLATIRONS_IMAGE_FILE")
    if given:
        return Path(given)
    done = subprocess.run([str(BUILD), "base"], stdout=subprocess.PIPE, text=True, timeout=BUILD_SECONDS)
    assert done.returncode == 0
    [line] = done.stdout.splitlines()
    return Path(line)


class Container:
    """The image on a compute node."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def run(self, *command: str, user: str = "alice", options: tuple[str, ...] = ()) -> str:
        """The output of a command in it; its standard error comes first."""
        argv = ["apptainer", "--quiet", "exec", *options, IMAGE, "sh", "-c", 'exec "$@" 2>&1', "sh", *command]
        return self.driver.exec("shas0101", *argv, user=user).stdout

    def python(self, code: str, user: str = "alice") -> str:
        return self.run("python", "-c", code, user=user)


@pytest.fixture(scope="module")
def container(image: Path, make_driver: Callable[[str], Driver]) -> Iterator[Container]:
    driver = make_driver("images")
    driver.run("up", "--bind", f"{image}:{IMAGE}:ro")
    yield Container(driver)


def test_a_second_build_builds_nothing(image: Path) -> None:
    again = subprocess.run([str(BUILD), "base"], capture_output=True, text=True, check=True)
    assert again.stderr == ""
    assert "FLATIRONS_IMAGE_FILE" in os.environ or again.stdout == f"{image}\n"


def test_it_runs_as_the_user_in_the_users_home(container: Container) -> None:
    assert container.run("sh", "-c", "id -un; pwd; hostname") == "alice\n/home/alice\nshas0101\n"


def test_the_packages_that_a_notebook_imports_are_there(container: Container) -> None:
    assert container.python("import ipyparallel, numpy, scipy, pandas, matplotlib, flatirons.parallel") == ""


def test_the_server_is_of_the_locked_version(container: Container) -> None:
    version = container.run("jupyterhub-singleuser", "--version").strip()
    assert f"\njupyterhub=={version}\n" in (REPO / "images/base/requirements.txt").read_text()


def test_slurms_commands_reach_the_cluster_from_inside(container: Container) -> None:
    binds = ("--bind", "/run/munge,/etc/slurm")
    assert "shas" in container.run("sinfo", options=binds)
    script = "sbatch --wait --parsable --output=inside.txt --wrap hostname >/dev/null && cat inside.txt"
    assert container.run("sh", "-c", script, options=binds).startswith("shas")


def test_its_slurm_is_of_the_clusters_release(container: Container) -> None:
    options = ("--bind", "/run/munge,/etc/slurm")
    ours = container.run("squeue", "--version", options=options)
    assert ours == container.driver.exec("shas0101", "squeue", "--version").stdout


def test_the_python_kernel_computes(container: Container) -> None:
    code = (
        "from jupyter_client.manager import run_kernel\n"
        "with run_kernel(kernel_name='python3') as client:\n"
        "    client.execute_interactive('import numpy; print(numpy.arange(10).sum())', timeout=30)"
    )
    assert "45" in container.python(code)


def test_no_bytecode_is_missing_or_stale(container: Container) -> None:
    code = "import jupyterhub.singleuser, jupyterlab.labapp, ipyparallel, scipy.stats, flatirons.parallel"
    loaded = container.run("python", "-v", "-c", code)
    assert "/opt/jupyter/lib" in loaded
    assert re.findall(r"^# code object from '?/\S+\.py'?$", loaded, re.MULTILINE) == []


def test_jupyterlab_starts_and_sends_no_request_to_the_internet(container: Container) -> None:
    settings = "localhost:18888/lab/api/settings/@jupyterlab/apputils-extension:notification?token=x"
    script = (
        "jupyter lab --no-browser --port=18888 --IdentityProvider.token=x >lab.log 2>&1 & server=$!\n"
        f"curl -s --retry 30 --retry-connrefused --retry-delay 1 '{settings}'\n"
        "kill $server; wait $server || cat lab.log >&2"
    )
    shown = json.loads(container.run("sh", "-c", script))
    asked = {key: field["default"] for key, field in shown["schema"]["properties"].items()}
    assert (asked["fetchNews"], asked["checkForUpdates"]) == ("false", False)
    assert "Extension Manager is 'readonly'" in container.run("cat", "lab.log")
    extensions = container.run("jupyter", "labextension", "list")
    assert "announcements" in extensions.partition("Disabled extensions:")[2]


def by_hand(container: Container, *words: str, before: str = "") -> str:
    """The output of a shell line with `apptainer run IMAGE words`, as people type it on a node."""
    line = f"{before} apptainer --quiet run {shlex.join([IMAGE, *words])}"
    return container.driver.exec("shas0101", "sh", "-c", f"cd && {line} 2>&1", user="alice").stdout


def test_a_command_is_run_by_hand_whatever_the_nodes_modules_have_set(container: Container) -> None:
    code = "import sys, numpy; print(sys.prefix, sys.argv[1:])"
    before = "PYTHONHOME=/opt/site CONTAINER_PATH=/x"
    printed = by_hand(container, "python", "-c", code, "a b", "-x", before=before)
    assert printed == "/opt/jupyter ['a b', '-x']\n"
    version = by_hand(container, "jupyter-labhub", "--version").split()[-1]  # jupyterhub's, after log lines
    assert f"\njupyterhub=={version}\n" in (REPO / "images/base/requirements.txt").read_text()
    assert (
        "apptainer run IMAGE COMMAND"
        in container.driver.exec("shas0101", "apptainer", "run-help", IMAGE, user="alice").stdout
    )


def test_without_a_command_jupyterlab_is_run_by_hand(container: Container) -> None:
    script = (
        f"cd && apptainer --quiet run {IMAGE} --port=18889 --IdentityProvider.token=x >lab.log 2>&1 &\n"
        "server=$!\n"
        "curl -s --retry 30 --retry-connrefused --retry-delay 1 'localhost:18889/api/status?token=x'\n"
        "kill $server; wait $server || cat ~/lab.log >&2"
    )
    answer = container.driver.exec("shas0101", "sh", "-c", script, user="alice").stdout
    assert json.loads(answer)["kernels"] == 0


def test_nothing_of_the_machine_that_built_it_is_inside(container: Container) -> None:
    places = "/etc/pip.conf /etc/xdg/pip /etc/munge/munge.key /etc/apt/apt.conf.d/99mmdebstrap /etc/hostname"
    found = container.run(
        "sh", "-c", f"for f in {places}; do [ ! -e $f ] || echo $f; done; cat /etc/machine-id"
    )
    assert found == ""


def test_a_users_own_packages_add_to_the_image_but_replace_nothing(container: Container) -> None:
    code = (
        "import pathlib, site; place = pathlib.Path(site.getusersitepackages())\n"
        "place.mkdir(parents=True)\n"
        "for name in ('mine', 'numpy'): (place / f'{name}.py').write_text('')"
    )
    container.python(code, user="bob")
    assert container.python("import mine, numpy; numpy.arange(1)", user="bob") == ""


def test_labels_say_what_is_inside(container: Container) -> None:
    shown = container.driver.exec("hub", "apptainer", "inspect", "--json", IMAGE).stdout
    labels = json.loads(shown)["data"]["attributes"]["labels"]
    lock = (REPO / "images/base/requirements.txt").read_text()
    for name in ("jupyterlab", "jupyterhub", "ipyparallel"):
        assert f"\n{name}=={labels[f'org.flatirons.version.{name}']}\n" in lock
    assert re.fullmatch(r"\d+\.\d+\.\d+", labels["org.flatirons.version.slurm"])
    assert re.fullmatch(r"[0-9a-f]{40}\+?|unknown", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.created"].startswith("20")
