"""The JupyterLab panel, compiled from labextension/ and kept in the cache. The wheel ships `built()`."""

import os
import shutil
import sys
from pathlib import Path

from ..tree import cache
from .build_cache import ensure
from .progress import run_logged
from .software import REPO, node

SOURCE = REPO / "labextension"
LOCK = SOURCE / "package-lock.json"
SOURCES = ("package.json", "tsconfig.json", "src", "style", "schema")
THIS = Path(__file__)


def modules() -> Path:
    """A directory with `node_modules`: what the panel is compiled and tested with."""

    def build(draft: Path) -> None:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy2(SOURCE / name, draft / name)
        npm = [str(node() / "bin/node"), str(node() / "lib/node_modules/npm/bin/npm-cli.js")]
        env = {**os.environ, "npm_config_cache": str(cache() / "npm-downloads")}
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-progress"]
        run_logged([*npm, "ci", *options], "installing the panel's packages", env, cwd=draft)

    return ensure("panel-modules", [LOCK, THIS], build)


def built() -> Path:
    """The compiled panel: package.json, static/ and its settings, as JupyterLab loads it."""

    def build(draft: Path) -> None:
        work = draft / "work"
        work.mkdir()
        for name in SOURCES:
            place = SOURCE / name
            if place.is_dir():
                shutil.copytree(place, work / name, ignore=shutil.ignore_patterns("__tests__"))
            elif place.exists():
                shutil.copy2(place, work / name)
        packages = modules() / "node_modules"
        (work / "node_modules").symlink_to(packages)
        program = str(node() / "bin/node")
        run_logged([program, str(packages / "typescript/bin/tsc")], "compiling the panel", cwd=work)
        bundle = [program, str(packages / "@jupyter/builder/lib/build-labextension.js")]
        core = packages / "@jupyterlab/core-meta/core.package.json"
        run_logged([*bundle, "--core-package-file", str(core), "."], "bundling the panel", cwd=work)
        for made in (work / "built").iterdir():
            made.rename(draft / made.name)
        shutil.rmtree(work)

    sources = [SOURCE / name for name in SOURCES if (SOURCE / name).exists()]
    return ensure("panel", [*sources, LOCK, THIS], build)


def main() -> None:
    """Prints the path of the compiled panel, or with --modules that of its packages."""
    print(modules() if sys.argv[1:] == ["--modules"] else built())


if __name__ == "__main__":
    main()
