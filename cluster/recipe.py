"""What a tree is made of: packages, how they are fetched, accounts. Its text is part of the tree's key."""

from collections.abc import Sequence

from .accounts import subordinate_ids
from .layout import HUB_ACCOUNT, PEOPLE

SUITES = ("trixie", "bookworm", "unstable")
DEFAULT_SUITE = "trixie"

PACKAGES = (
    "slurmctld", "slurmd", "slurmdbd", "slurm-client", "munge", "mariadb-server", "eatmydata",
    "python3", "python3-venv", "nginx-light", "nodejs", "sudo", "openssh-server", "openssh-client",
    "libpam-modules", "login", "adduser", "passwd", "uidmap",
    "squashfuse", "squashfs-tools", "fuse-overlayfs", "fuse3",
    "iproute2", "iputils-ping", "procps", "mount", "util-linux", "ca-certificates", "curl", "less",
)  # fmt: skip

# Debian 12's C library is too old for the Apptainer in unstable, and it has none itself.
# It complains in every job's log about each helper that it doesn't find.
APPTAINER = ("apptainer", "fuse2fs", "gocryptfs")
APPTAINER_SUITES = ("trixie", "unstable")

# Of all that is in unstable, only Apptainer.
PIN = """\
Package: *
Pin: release a=unstable
Pin-Priority: -1

Package: apptainer
Pin: release a=unstable
Pin-Priority: 990
"""

# Small files and no waiting for the disk: this database lives as long as its cluster.
MARIADB = """\
[mariadbd]
skip-networking
skip-name-resolve
innodb_log_file_size = 4M
innodb_buffer_pool_size = 64M
innodb_flush_log_at_trx_commit = 0
innodb_doublewrite = 0
innodb_lock_wait_timeout = 900
performance_schema = OFF
aria_log_file_size = 8M
"""

# Run at every start; the first makes the database.
DATABASE = """\
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED VIA unix_socket;
GRANT ALL ON slurm_acct_db.* TO slurm@localhost;
"""

DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/locale/*",
)

# Run one after the other inside the new tree.
_USERADD = ("useradd", "--user-group", "--uid")
_PERSON = ("--no-create-home", "--shell", "/bin/bash")
_HUB_HOME = ("--create-home", "--home-dir", f"/var/lib/{HUB_ACCOUNT.name}", "--shell", "/usr/sbin/nologin")
ACCOUNT_COMMANDS: tuple[tuple[str, ...], ...] = (
    *((*_USERADD, str(person.uid), *_PERSON, person.name) for person in PEOPLE),
    # The hub checks passwords without being root: PAM needs to read shadow for that.
    (*_USERADD, str(HUB_ACCOUNT.uid), "--system", "--groups", "shadow", *_HUB_HOME, HUB_ACCOUNT.name),
)

SUBORDINATE_IDS = subordinate_ids(["root", *(person.name for person in PEOPLE), HUB_ACCOUNT.name])


def packages(suite: str) -> tuple[str, ...]:
    """The packages of a suite's tree."""
    return (*PACKAGES, *APPTAINER) if suite in APPTAINER_SUITES else PACKAGES


def unstable_hook(suite: str) -> str:
    """Shell for mmdebstrap ($1 is the tree): makes unstable known beside the own source, on the same mirror.

    A mirror may lag: on this one source a signature's age is not checked; the signature is.
    """
    lines = rf"s/^deb (\[([^]]*)\] )?(\S+) {suite} main$/deb [\2 check-valid-until=no] \3 unstable main/"
    if suite == "unstable":
        return f"sed -i -E '{lines}' \"$1/etc/apt/sources.list\""
    return f'sed -n -E \'{lines}p\' "$1/etc/apt/sources.list" > "$1/etc/apt/sources.list.d/unstable.list"'


def seed_files(suite: str) -> dict[str, str]:
    """Path -> text of what must be in the tree before its packages are."""
    files = {"etc/mysql/mariadb.conf.d/99-flatirons.cnf": MARIADB, "etc/mysql/flatirons.sql": DATABASE}
    if suite in APPTAINER_SUITES and suite != "unstable":
        files["etc/apt/preferences.d/apptainer"] = PIN
    return files


def mmdebstrap_argv(
    suite: str, target: str, seed: str, mirror: str | None, apt_options: Sequence[str]
) -> list[str]:
    """The command that makes a plain tree of packages in `target`, on top of the files under `seed`."""
    argv = ["mmdebstrap", "--variant=apt", "--mode=root", "--format=directory"]
    argv.append(f"--include={','.join(packages(suite))}")
    for option in (*apt_options, 'APT::Install-Recommends "false"', 'Acquire::Languages "none"'):
        argv.append(f"--aptopt={option}")
    argv += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    argv.append(f"--setup-hook=copy-in '{seed}/etc' /")
    if suite in APPTAINER_SUITES:
        argv.append(f"--setup-hook={unstable_hook(suite)}")
    return [*argv, suite, target, *([mirror] if mirror else [])]
