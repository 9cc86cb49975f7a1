"""The command that makes the Debian tree below every image. This file is part of the tree's key."""

import re
import subprocess
from pathlib import Path

DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
)
# Secrets and names of the build machine; device nodes, which can't be copied in a user namespace.
LEFT_OUT = ("etc/munge/munge.key", "etc/hostname", "dev/*", "var/log/*", "var/cache/*")


def read_packages(text: str) -> list[str]:
    """The names in a list of packages, one per line; `#` starts a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def own_sources(text: str, suite: str) -> list[str]:
    """The lines of a sources.list for this suite; a tree may have others, for single packages."""
    pattern = re.compile(rf"deb\s+(\[[^\]]*\]\s+)?\S+\s+{re.escape(suite)}\s")
    return [line.strip() for line in text.splitlines() if pattern.match(line)]


def mmdebstrap_argv(suite: str, packages: list[str], target: Path, cluster_tree: Path) -> list[str]:
    """The command; packages come from the sources of the cluster's tree of this suite."""
    apt = cluster_tree / "etc/apt"
    argv = ["mmdebstrap", "--variant=apt", "--mode=root", "--format=directory"]
    argv.append(f"--include={','.join(packages)}")
    argv.append(f"--aptopt={apt / 'apt.conf.d/90host'}")
    argv += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    argv += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    return [*argv, suite, str(target), *own_sources((apt / "sources.list").read_text(), suite)]


def finish(tree: Path) -> None:
    """Removes from a new tree what an image must not contain."""
    found = [str(path) for pattern in LEFT_OUT for path in tree.glob(pattern)]
    subprocess.run(["rm", "-rf", "--one-file-system", "--", *found], check=True)
    (tree / "etc/machine-id").write_text("")
