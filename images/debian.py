"""The command that makes the Debian tree below every image. Its text is part of the tree's key."""

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
# Secrets and names of the machine that built it; device nodes, which can't be copied in a user namespace.
LEFT_OUT = ("etc/munge/munge.key", "etc/hostname", "dev/*", "var/log/*", "var/cache/*")


def read_packages(text: str) -> list[str]:
    """The names in a list of packages, one a line, `#` starts a comment."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def own_sources(text: str, suite: str) -> list[str]:
    """Those lines of a sources.list that are of the suite itself; a tree may have others, for one package."""
    pattern = re.compile(rf"deb\s+(\[[^\]]*\]\s+)?\S+\s+{re.escape(suite)}\s")
    return [line.strip() for line in text.splitlines() if pattern.match(line)]


def mmdebstrap_argv(suite: str, packages: list[str], target: Path, cluster_tree: Path) -> list[str]:
    """The command; packages come from where the cluster's tree of that suite has its own from."""
    apt = cluster_tree / "etc/apt"
    argv = ["mmdebstrap", "--variant=apt", "--mode=root", "--format=directory"]
    argv.append(f"--include={','.join(packages)}")
    argv.append(f"--aptopt={apt / 'apt.conf.d/90host'}")
    argv += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    argv += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    return [*argv, suite, str(target), *own_sources((apt / "sources.list").read_text(), suite)]


def finish(tree: Path) -> None:
    """Takes out of a new tree what an image must not have."""
    found = [str(place) for pattern in LEFT_OUT for place in tree.glob(pattern)]
    subprocess.run(["rm", "-rf", "--one-file-system", "--", *found], check=True)
    (tree / "etc/machine-id").write_text("")
