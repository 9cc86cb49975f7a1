"""Bad images on a node of the virtual cluster: what users see, and what `flatirons images check` says."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.demo.service import FLATIRONS, SITE
from tests.conftest import RealCluster
from tests.person import Person
from tests.waiting import eventually

pytestmark = pytest.mark.cluster

NODE = "sknl0701"  # the only one of its partition
ON_NODE = {
    **{"cluster": "summit", "partition": "sknl", "account": "ucb-knl"},
    **{"runtime": "0:10:00", "memory": "1G"},
}
# Processors in Apptainer's numbers, as the label of an image file has them.
ARCHITECTURES = {"x86_64": 2, "aarch64": 4}
MAKE = """
mkdir -p /srv/images/bad
cd /srv/images/bad
root=$(mktemp -d)
mkdir -p "$root/bin" "$root/etc" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/var/tmp" "$root/home"
cp /bin/dash "$root/bin/sh"
for file in $(ldd /bin/dash | grep -o '/[^ ]*'); do cp -L --parents "$file" "$root"; done
mksquashfs "$root" "$root.squashfs" -quiet -no-progress
for image in "bare $1" "locked $1" "foreign $2"; do
    set -- "$1" "$2" ${image}
    apptainer --quiet sif new "$3.sif"
    apptainer --quiet sif add --datatype 4 --partfs 1 --parttype 2 --partarch "$4" "$3.sif" "$root.squashfs"
    chmod 644 "$3.sif"
done
chmod 600 locked.sif
rm -r "$root" "$root.squashfs"
chmod -R a+rX .
chmod 600 locked.sif
"""
# Servers that stand in /srv/images/bad, each in a directory of its own; the image's Python runs them.
SERVERS = {
    "old": """#!/opt/jupyter/bin/python3
import pipes  # as jupyterhub/spawner.py does in jupyterhub 1 to 3
""",
    "older-major": """#!/opt/jupyter/bin/python3
import jupyterhub, jupyterhub._version, sys
jupyterhub.__version__ = jupyterhub._version.__version__ = "5.4.2"
from jupyterhub.singleuser import main
sys.exit(main())
""",
}


def run(cluster: RealCluster, *argv: str, stdin: str = "", user: str | None = None) -> str:
    """The output of a command on the node."""
    done = cluster.exec(NODE, argv, user, stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def foreign_program() -> str:
    """The first bytes of a program for a processor that this machine doesn't have, for a shell's printf."""
    number = {"x86_64": 183, "aarch64": 62}[platform.machine()]  # e_machine in elf(5)
    head = b"\x7fELF\2\1\1" + bytes(9) + b"\2\0" + bytes([number, 0, 1, 0, 0, 0]) + bytes(100)
    return "".join(f"\\{byte:03o}" for byte in head)


@pytest.fixture(scope="module")
def bad_images(cluster: RealCluster) -> Iterator[None]:
    """The images on the node, and a hub that offers them; removed at the end."""
    ours = ARCHITECTURES[platform.machine()]
    [other] = set(ARCHITECTURES.values()) - {ours}
    run(cluster, "bash", "-euc", MAKE, "make", str(ours), str(other))
    for path, text in {**SERVERS, "foreign-program": foreign_program()}.items():
        write = f'mkdir -p /srv/images/bad/{path}; cd $_; printf "$1" > jupyterhub-singleuser; chmod 755 . *'
        run(cluster, "bash", "-euc", write, "write", text)
    file = cluster.demo.etc / "site.toml"
    plain = file.read_text()
    offer(cluster, file, plain + Path(__file__).with_name("bad-images.toml").read_text())
    yield
    offer(cluster, file, plain)
    run(cluster, "rm", "-r", "/srv/images/bad")
    for name in ("no-munge.toml", "slow.toml"):
        (cluster.demo.etc / name).unlink(missing_ok=True)


def offer(cluster: RealCluster, file: Path, site: str) -> None:
    """Restarts the hub with another site file."""
    cluster.stop_hub()
    file.write_text(site)
    cluster.start_hub()


@pytest.fixture
def alice(cluster: RealCluster, bad_images: None) -> Iterator[Person]:
    person = Person(cluster.hub_url, "alice").log_in()
    yield person
    for name, model in person.servers().items():
        if model["ready"] or model["pending"]:
            person.rest("DELETE", person.path(name))
    cluster.exec("hub", ["scancel", "-u", "alice"])
    eventually(lambda: not cluster.exec("hub", ["squeue", "-h", "-u", "alice"]).stdout.strip(), 60)
    eventually(lambda: not any(model["pending"] for model in person.servers().values()), 60)
    person.http.close()


@pytest.fixture
def full_tmp(cluster: RealCluster) -> Iterator[None]:
    """The node's /tmp is full."""
    run(cluster, "mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "tmpfs", "/tmp")
    cluster.exec(NODE, ["sh", "-c", "cat /dev/zero > /tmp/filled"])
    yield
    run(cluster, "umount", "--lazy", "/tmp")


BAD = [
    ("missing", "image_missing", "/srv/images/bad/missing.sif doesn't exist on sknl0701"),
    ("locked", "image_missing", "You can't read the image /srv/images/bad/locked.sif on sknl0701"),
    ("foreign", "wrong_architecture", "The image is made for"),
    ("foreign_program", "wrong_architecture", "made for another kind of processor"),
    ("bare", "no_singleuser", "The environment has no jupyterhub-singleuser."),
    ("old", "old_jupyterhub", "The environment is too old for its Python"),
    ("unbound", "bind_missing", "The container needs /no/such/place, which the node doesn't have."),
]


@pytest.mark.parametrize(("environment", "kind", "words"), BAD, ids=[name for name, _, _ in BAD])
def test_a_user_who_starts_a_bad_image_reads_what_is_wrong_and_what_to_do(
    alice: Person, environment: str, kind: str, words: str
) -> None:
    told(alice, environment, kind, words)


def told(alice: Person, environment: str, kind: str, words: str) -> None:
    """Fails unless the page of the start and the report show this."""
    alice.start(**{**ON_NODE, "environment": environment})
    failed = alice.events()[-1]
    assert failed.get("failed"), failed
    assert words in failed["message"]
    report = eventually(lambda: newest(alice, kind))
    assert words in report["sentence"] and report["advice"]
    assert words in alice.http.get("/hub/flatirons/report/alice").text.replace("&#39;", "'")


def newest(alice: Person, kind: str) -> dict[str, Any] | None:
    """The newest report if it is of this kind."""
    reports = alice.rest("GET", "/flatirons/report/alice").json()["reports"]
    return reports[0] if reports and reports[0]["kind"] == kind else None


def test_a_server_of_an_older_major_version_starts_and_the_check_warns_of_it(
    alice: Person, cluster: RealCluster
) -> None:
    alice.start(**{**ON_NODE, "environment": "older_major"})
    alice.wait_ready()
    assert alice.ask_server("api/status").status_code == 200
    code, found = checked(cluster, "older_major")
    assert (code, found["older_major"]["server"]["level"]) == (0, "warning")


def test_an_image_that_cant_be_unpacked_into_a_full_tmp_is_reported_as_such(
    alice: Person, full_tmp: None
) -> None:
    told(alice, "unpacked", "tmp_full", "no room in its /tmp")


def test_a_server_of_an_image_file_starts_even_when_tmp_is_full(alice: Person, full_tmp: None) -> None:
    alice.start(**{**ON_NODE, "environment": "python"})
    alice.wait_ready()
    assert alice.ask_server("api/status").status_code == 200


# -- what the operator sees


def images(cluster: RealCluster, *words: str) -> subprocess.CompletedProcess[str]:
    """`flatirons images` on the log-in node, as alice."""
    return cluster.exec("hub", [FLATIRONS, "images", *words, "--site", SITE], "alice")


def checked(cluster: RealCluster, *words: str) -> tuple[int, dict[str, dict[str, dict[str, str]]]]:
    """The exit code of a check on the node, and environment -> subject -> finding."""
    place = ("--partition", "sknl", "--account", "ucb-knl")
    done = images(cluster, "check", "--json", *place, *words)
    assert done.returncode in (0, 1), done.stderr
    found = json.loads(done.stdout)
    return done.returncode, {name: {each["subject"]: each for each in all_} for name, all_ in found.items()}


def test_a_good_image_passes_on_a_node_and_here(cluster: RealCluster, bad_images: None) -> None:
    code, found = checked(cluster, "python")
    assert code == 0, found
    assert {subject: each["level"] for subject, each in found["python"].items()} == {
        **dict.fromkeys(("image", "start", "server", "kernel python3", "slurm"), "ok")
    }
    here = images(cluster, "check", "python")
    assert here.returncode == 0, here.stdout
    assert "slurm blanca" in here.stdout and "The environment passed." in here.stdout


CHECKED = [
    ("missing", "image", "doesn't exist on sknl0701"),
    ("locked", "image", "can't be read on sknl0701: Permission denied"),
    ("foreign", "start", "The image is made for"),
    ("bare", "start", "It has no Python, and so no jupyterhub-singleuser."),
    ("old", "server", "The environment is too old for its Python"),
    ("unbound", "binds", "/no/such/place doesn't exist on sknl0701"),
]


def test_a_check_finds_what_is_wrong_with_each_bad_image(cluster: RealCluster, bad_images: None) -> None:
    code, found = checked(cluster, *(name for name, _, _ in CHECKED))
    assert code == 1
    for name, subject, words in CHECKED:
        finding = found[name][subject]
        assert (finding["level"], words in finding["sentence"]) == ("failed", True), finding
        assert finding["advice"]


def test_a_check_reports_a_full_tmp(cluster: RealCluster, bad_images: None, full_tmp: None) -> None:
    code, found = checked(cluster, "unpacked")
    assert code == 1
    assert found["unpacked"]["/tmp"]["sentence"] == "/tmp of sknl0701 has 0 MiB free."
    assert "no room in its /tmp" in found["unpacked"]["start"]["sentence"]


def test_a_check_that_is_interrupted_leaves_no_job(cluster: RealCluster, bad_images: None) -> None:
    site = (cluster.demo.etc / "site.toml").read_text() + '[environments.slow]\nprologue = "sleep 60"\n'
    (cluster.demo.etc / "slow.toml").write_text(site)
    words = ("images", "check", "slow", "--partition", "sknl", "--account", "ucb-knl")
    argv = [FLATIRONS, *words, "--site", "/etc/flatirons/slow.toml"]
    interrupted = (
        'env --default-signal=INT "$@" & until squeue -h --me | grep -q .; do :; done; kill -INT $!; wait $!'
    )
    done = cluster.exec("hub", ["sh", "-c", interrupted, "sh", *argv], "alice")
    assert (done.returncode, done.stderr) == (130, "")
    eventually(lambda: not cluster.exec("hub", ["squeue", "-h", "-u", "alice"]).stdout.strip(), 60)


def test_a_check_where_slurm_gives_no_node_says_why(cluster: RealCluster, bad_images: None) -> None:
    done = images(cluster, "check", "python", "--partition", "sknl", "--account", "ucb-general")
    assert done.returncode == 1
    assert "Slurm allocated no node of sknl" in done.stdout


def test_without_munge_inside_the_check_says_what_to_bind(cluster: RealCluster, bad_images: None) -> None:
    site = (cluster.demo.etc / "site.toml").read_text().replace('binds = ["/run/munge", ', "binds = [")
    (cluster.demo.etc / "no-munge.toml").write_text(site)
    done = cluster.exec(
        "hub", [FLATIRONS, "images", "check", "python", "--site", "/etc/flatirons/no-munge.toml"], "alice"
    )
    assert done.returncode == 1
    assert "/run/munge" in " ".join(done.stdout.split())


def test_the_list_shows_what_is_inside_an_image(cluster: RealCluster, bad_images: None) -> None:
    shown = images(cluster, "list", "--json")
    assert shown.returncode == 0, shown.stderr
    python = next(entry for entry in json.loads(shown.stdout) if entry["name"] == "python")
    assert (python["kind"], python["path"]) == ("image", "/srv/images/base.sif")
    assert python["versions"]["jupyterhub"].startswith("6.")
    assert python["bytes"] > 100_000_000
