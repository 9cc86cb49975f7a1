"""`flatirons images`: environments are really looked at, here; what is seen becomes sentences."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from flatirons.cli import main
from flatirons.environments import survey
from flatirons.environments.catalogue import Environment
from flatirons.environments.check import Place, check
from flatirons.environments.findings import (
    FAILED,
    OK,
    SKIPPED,
    WARNING,
    Expectation,
    Finding,
    compare,
    judge,
    version_command,
)
from flatirons.environments.listing import kind
from flatirons.job.node.kinds import KINDS
from flatirons.runner import Launch, Runner
from flatirons.site.load import parse

SITE = """
[hub]
address = "http://hub.example.invalid:8081"
[clusters.summit]
slurm_conf = "/etc/slurm/summit/slurm.conf"
[clusters.blanca]
"""
IMAGE = '[environments.one]\nimage = "/srv/images/one.sif"\n'


# -- looked at, on this machine


@pytest.fixture
def write_site(tmp_path: Path) -> Callable[[str], str]:
    """Writes a site file with these environments and gives its path."""

    def write(text: str) -> str:
        path = tmp_path / "site.toml"
        path.write_text(SITE + text)
        return str(path)

    return write


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A server of jupyterhub 6.1.1 whose Python is ours; Slurm's commands stand beside it."""
    folder = tmp_path / "env/bin"
    for name in ("sbatch", "srun", "scancel"):
        program(folder / name, "#!/bin/sh\n")
    program(folder / "squeue", '#!/bin/sh\n[ "$1" != --version ] || echo slurm 24.11.5\n')
    return program(folder / "jupyterhub-singleuser", f"#!{sys.executable}\nprint('6.1.1')\n")


def checked(
    site: str, capsys: pytest.CaptureFixture[str], *words: str
) -> tuple[int, dict[str, dict[str, dict[str, str]]]]:
    """The exit code, and environment -> subject -> finding."""
    code = main(["images", "check", "--site", site, "--json", *words])
    told = json.loads(capsys.readouterr().out)
    return code, {name: {each["subject"]: each for each in findings} for name, findings in told.items()}


def test_a_whole_environment_passes_with_its_kernel_started(
    whole: Path, write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    site = write_site(
        f'[environments.here]\ncmd = ["{whole}"]\nprologue = "PATH={whole.parent}:$PATH; echo loaded"\n'
    )
    code, told = checked(site, capsys)
    assert code == 0, told
    assert {subject: each["level"] for subject, each in told["here"].items()} == {
        "start": OK,
        "server": OK,
        "kernel python3": OK,
        "slurm summit": OK,
        "slurm blanca": OK,
    }
    assert "slurm 24.11.5" in told["here"]["slurm summit"]["sentence"]


def test_a_server_that_is_a_module_is_looked_at_with_the_variables_of_its_command(
    write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    package = tmp_path / "jupyterhub"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "singleuser.py").write_text("print('6.0.0')\n")
    cmd = ["env", f"PYTHONPATH={tmp_path}", sys.executable, "-m", "jupyterhub.singleuser"]
    site = write_site(f"[environments.module]\ncmd = {json.dumps(cmd)}\n")
    _, told = checked(site, capsys)
    assert "Its jupyterhub 6.0.0 goes with" in told["module"]["server"]["sentence"]
    assert told["module"]["kernel python3"]["level"] == OK
    (package / "singleuser.py").write_text("raise ModuleNotFoundError(\"No module named 'pipes'\")\n")
    code, told = checked(site, capsys)
    assert code == 1
    assert "too old for its Python" in told["module"]["server"]["sentence"]


def test_an_environment_without_a_server_fails_and_is_told_what_to_install(
    write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = checked(write_site('[environments.none]\ncmd = ["/no/jupyterhub-singleuser"]\n'), capsys)
    assert code == 1
    assert told["none"]["server"]["sentence"] == "The environment has no jupyterhub-singleuser."
    assert "pip install 'jupyterhub==6.*'" in told["none"]["server"]["advice"]


def test_an_image_and_a_bind_that_arent_there_are_told_and_nothing_is_started(
    write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, told = checked(write_site(IMAGE.replace("one.sif", "gone.sif") + 'binds = ["/no/such"]\n'), capsys)
    assert code == 1
    assert "/srv/images/gone.sif doesn't exist on" in told["one"]["image"]["sentence"]
    assert "/no/such doesn't exist on" in told["one"]["binds"]["sentence"]
    assert told["one"]["start"]["level"] == SKIPPED


def test_a_machine_without_apptainer_is_told_as_such(
    write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "one.sif").touch()
    site = write_site(
        f'[containers]\napptainer = "/no/apptainer"\n[environments.one]\nimage = "{tmp_path}/one.sif"\n'
    )
    code, told = checked(site, capsys)
    assert code == 1
    found = told["one"]["start"]
    assert found["sentence"] == "The node can't run /no/apptainer: No such file or directory."
    assert "containers.apptainer" in found["advice"]


def test_only_the_environments_that_are_named_are_checked(
    whole: Path, write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    site = write_site(IMAGE + f'[environments.two]\ncmd = ["{whole}"]\n')
    assert main(["images", "check", "--site", site, "two"]) == 0
    assert capsys.readouterr().out.endswith("Nothing fails in 1 environment(s).\n")


def test_a_name_or_a_cluster_that_there_isnt_is_a_sentence(
    write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    site = write_site(IMAGE)
    assert main(["images", "check", "--site", site, "three"]) == 2
    assert main(["images", "check", "--site", site, "--cluster", "everest"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "flatirons: There is no environment 'three'. Known: one."
    assert second == "flatirons: --cluster: 'everest' is none of summit, blanca"


def test_the_list_says_what_each_environment_is(
    write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    site = write_site(IMAGE + 'title = "The one"\n[environments.conda]\nprologue = "module load conda/24"\n')
    assert main(["images", "list", "--site", site]) == 0
    assert capsys.readouterr().out == (
        "one  (The one)\n  image    /srv/images/one.sif\nconda\n  module   conda/24\n"
    )
    assert main(["images", "list", "--json", "--site", site]) == 0
    assert [each["kind"] for each in json.loads(capsys.readouterr().out)] == ["image", "module"]


def test_labels_of_an_image_file_are_shown(
    write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    labels = {"org.flatirons.version.jupyterhub": "6.1.1", "org.opencontainers.image.created": "2026-11-25"}
    shown = json.dumps({"data": {"attributes": {"labels": labels}}})
    apptainer = program(tmp_path / "apptainer", f"#!/bin/sh\necho '{shown}'\n")
    (tmp_path / "one.sif").write_bytes(b"x" * 2_000_000)
    site = write_site(
        f'[containers]\napptainer = "{apptainer}"\n[environments.one]\nimage = "{tmp_path}/one.sif"\n'
    )
    assert main(["images", "list", "--site", site]) == 0
    told = capsys.readouterr().out
    assert "one.sif  2 MB\n" in told and "jupyterhub 6.1.1\n" in told and "built 2026-11-25" in told


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"image": "docker://jupyter/base"}, ("URI", "docker://jupyter/base")),
        ({"image": "/srv/x.sif"}, ("image", "/srv/x.sif")),
        ({"cmd": ["/opt/jupyter/bin/jupyterhub-singleuser"]}, ("venv", "/opt/jupyter")),
        ({"prologue": "source /opt/x/bin/activate"}, ("venv", "/opt/x")),
        ({"prologue": "module purge\nmodule load gcc conda"}, ("module", "gcc conda")),
        ({}, ("node", "programs of the node")),
    ],
)
def test_what_an_environment_is_made_of(settings: dict[str, Any], expected: tuple[str, str]) -> None:
    assert kind(Environment.from_dict("x", settings)) == expected


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that everybody may enter; pytest's own are for us alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize(
    ("mode", "above", "closed", "shut"),
    [
        (0o644, 0o755, "", ""),
        (0o640, 0o755, "x.sif", ""),
        (0o600, 0o755, "x.sif", "x.sif"),
        (0o644, 0o750, ".", ""),
        (0o644, 0o700, ".", "."),
    ],
)
def test_who_may_read_an_image_is_told_by_its_mode_and_those_above(
    open_folder: Path, mode: int, above: int, closed: str, shut: str
) -> None:
    folder = open_folder / "images"
    folder.mkdir()
    (folder / "x.sif").touch()
    (folder / "x.sif").chmod(mode)
    folder.chmod(above)

    def place(name: str) -> str:
        return str(folder / name) if name else ""

    found = survey.image_facts(str(folder / "x.sif"))
    assert (found["closed"], found["shut"]) == (place(closed), place(shut))


# -- on a node


class Srun(Runner):
    """Takes note of what would be run, and has `echo` say what srun would."""

    def __init__(self, says: str = "", code: int = 0) -> None:
        self.argv: Sequence[str] = ()
        self.env: Mapping[str, str] = {}
        self.says, self.code = says, code

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        self.argv, self.env = argv, env
        return Launch(("sh", "-c", 'echo "$1" >&2; exit $2', "sh", self.says, str(self.code)), os.environ, {})


NEEDS_GPU = parse(SITE + IMAGE + 'needs_gpu = true\npartitions = ["gpu"]\n')
ONE = Environment.from_dict("one", NEEDS_GPU.environment_settings()["one"])


async def test_a_partition_means_srun_for_a_node_of_it_with_a_gpu_where_one_is_needed() -> None:
    runner = Srun()
    place = Place(partition="gpu", account="physics")
    await check(NEEDS_GPU, ONE, place, runner, 90)
    argv = [word.rstrip("0123456789abcdef") if "job-name" in word else word for word in runner.argv]
    assert argv == [
        *("srun", "--quiet", "--immediate=90", "--job-name=flatirons-check-", "--partition=gpu"),
        *("--account=physics", "--chdir=/", "--nodes=1", "--ntasks=1", "--time=3", "--gres=gpu:1"),
        *("python3", "-I", "-S", "-"),
    ]
    assert runner.env == {"SLURM_CONF": "/etc/slurm/summit/slurm.conf"}


async def test_what_slurm_says_no_to_is_told_in_its_own_words_and_explained() -> None:
    says = "srun: error: Unable to allocate resources: Invalid account or account/partition combination"
    [finding] = await check(NEEDS_GPU, ONE, Place(partition="gpu"), Srun(says, 1), 90)
    assert (finding.level, finding.subject) == (FAILED, "place")
    assert "Invalid account" in finding.sentence
    assert finding.advice == "Choose another account or partition."


class Hanging(Srun):
    """srun waits until it is killed; other commands end at once."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        super().launch(argv, user, env)
        self.began.set()
        return Launch(("sleep", "60") if argv[0] == "srun" else ("true",), os.environ, {})


async def test_the_job_of_a_check_that_is_interrupted_is_cancelled() -> None:
    runner = Hanging()
    checking = asyncio.ensure_future(check(NEEDS_GPU, ONE, Place(partition="gpu"), runner, 90))
    await runner.began.wait()
    name = next(word.removeprefix("--job-name=") for word in runner.argv if "job-name" in word)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    assert list(runner.argv) == ["scancel", "--quiet", "--me", f"--name={name}"]


@pytest.mark.parametrize("place", [Place(partition="shas")])
async def test_an_environment_isnt_tried_where_it_isnt_offered(place: Place) -> None:
    [finding] = await check(NEEDS_GPU, ONE, place, Srun(), 90)
    assert (finding.level, finding.sentence) == (SKIPPED, "It isn't offered in shas, only in gpu.")


# -- what is seen becomes sentences


def seen(**changes: Any) -> dict[str, Any]:
    """A survey of an environment in which all is well, but for the changes (a.b for what is inside)."""
    inside = {
        "python": "3.13.5",
        "server": {"path": "/opt/bin/jupyterhub-singleuser", "version": "6.1.1", "error": ""},
        "kernels": {"error": "", "found": {"python3": {"error": "", "seconds": 1.2}}},
        "slurm": {"summit": {"missing": [], "version": "slurm 24.11.5", "error": ""}},
        "gpus": {"devices": [], "has_driver": False},
    }
    told = {
        "node": "c1",
        "is_root": False,
        "image": {"state": "ok", "bytes": 3_000_000, "closed": "", "shut": ""},
        "missing_binds": [],
        "tmp_mib": 9000,
        "devices": [],
        "run": {"exit": 0, "late": False, "errors": [], "inside": inside},
    }
    for name, value in changes.items():
        (inside if name in inside else told)[name] = value
    return told


def found(told: dict[str, Any], subject: str, **settings: Any) -> Finding:
    environment = Environment.from_dict("one", {"image": "/srv/images/one.sif", **settings})
    [finding] = [each for each in judge(environment, told, Expectation("6.1.1")) if each.subject == subject]
    return finding


def test_nothing_is_found_where_all_is_well() -> None:
    findings = judge(ONE, seen(), Expectation("6.1.1"))
    assert {each.level for each in findings} == {OK, SKIPPED}  # no GPU here


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            "FATAL:   While checking container encryption: could not open image /srv/x.sif: the image's "
            "architecture (arm64) could not run on the host's (amd64)",
            "made for arm64 processors, and the node's is amd64",
        ),
        ("FATAL:   image targets 'arm64', cannot run on 'amd64'", "made for arm64 processors"),
        (
            "FATAL:   container creation failed: mount hook function failure: mount /no->/x error: while "
            "mounting /no: mount source /no doesn't exist",
            "needs /no, which the node doesn't have",
        ),
        (
            "FATAL:   while extracting x.sif: root filesystem extraction failed: failed to copy content in "
            "staging file: write /tmp/rootfs-1/archive-2: no space left on device",
            "no room in its /tmp",
        ),
        (
            "FATAL:   could not open image /srv/x.sif: image format not recognized",
            "image format not recognized",
        ),
        ("sh: 3: something odd", "something odd"),
    ],
)
def test_what_apptainer_says_is_told_in_plain_words(lines: str, words: str) -> None:
    run = {"exit": 255, "late": False, "errors": ["INFO: noise", lines], "inside": None}
    finding = found(seen(run=run), "start")
    assert finding.level == FAILED
    assert words in finding.sentence


def test_a_program_that_can_not_be_started_is_told_by_its_kind_and_not_by_a_sentence() -> None:
    config = {"prefix": [], "server": "x", "prologue": "", "environment": {}, "seconds": 5, "probe": ""}
    run = survey.look_inside({**config, "prefix": ["/no/such/apptainer"]})
    assert run["kind"] in KINDS
    finding = found(seen(run={**run, "errors": ["reworded"]}), "start")
    assert "can't run /no/such/apptainer: No such file or directory." in finding.sentence


def test_a_check_that_hangs_and_an_environment_without_python_are_told() -> None:
    late = {"exit": None, "late": True, "errors": [], "inside": None}
    assert "--timeout" in found(seen(run=late), "start").advice
    words = ["there is no Python here", "WARNING: group file doesn't exist in container, not updating"]
    bare = {"exit": 127, "late": False, "errors": words, "inside": None}
    assert found(seen(run=bare), "start").sentence == "It has no Python, and so no jupyterhub-singleuser."


@pytest.mark.parametrize(
    ("version", "hub", "level", "words"),
    [
        ("6.1.1", "6.1.1", OK, "goes with"),
        ("6.0.0", "6.1.1", OK, "goes with"),
        ("1.5.1", "6.1.1", WARNING, "an older major"),
        ("5.4.2", "6.1.1", WARNING, "an older major"),
        ("7.0.0b1", "6.1.1", WARNING, "a newer major"),
        ("unknown", "6.1.1", WARNING, "can't be compared"),
        ("6.1.1", "", WARNING, "no hub's to compare"),
    ],
)
def test_versions_are_compared_as_jupyterhub_compares_them(
    version: str, hub: str, level: str, words: str
) -> None:
    told, sentence = compare(version, hub)
    assert (told, words in sentence) == (level, True), sentence


def test_an_image_that_only_root_can_read_fails_and_one_of_a_group_is_a_warning() -> None:
    image = {"state": "ok", "bytes": 1, "closed": "/srv/x.sif", "shut": "/srv/x.sif"}
    assert found(seen(is_root=True, image=image), "image").level == FAILED
    assert found(seen(is_root=True, image={**image, "shut": ""}), "image").level == WARNING
    refused = {"state": "unreadable", "why": "Permission denied"}
    assert "can't be read on c1: Permission denied." in found(seen(image=refused), "image").sentence


def test_little_room_in_tmp_fails() -> None:
    assert found(seen(tmp_mib=3), "/tmp").sentence == "/tmp of c1 has 3 MiB free."


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("squeue: error: Munge encode failed: Failed to access /run/munge/munge.socket.2", "munge's socket"),
        ("squeue: fatal: Could not establish a configuration source", "slurm.conf"),
        ("squeue: error: Incompatible versions of client and server code", "cluster's release"),
        ("squeue: error: Unable to contact slurm controller (connect failure)", "slurmctld runs"),
    ],
)
def test_why_slurm_isnt_reached_from_inside_comes_with_what_to_do(error: str, advice: str) -> None:
    said = {"summit": {"missing": [], "version": "", "error": error}}
    finding = found(seen(slurm=said), "slurm")
    assert (finding.level, advice in finding.advice) == (FAILED, True), finding


def test_an_environment_without_slurms_commands_still_serves() -> None:
    said = {"summit": {"missing": ["squeue"], "version": "", "error": ""}}
    assert found(seen(slurm=said), "slurm").level == WARNING


def test_a_kernel_that_doesnt_start_is_told_with_its_own_words() -> None:
    dead = {"error": "", "found": {"ir": {"error": "Kernel died; no package IRkernel", "seconds": 1}}}
    finding = found(seen(kernels=dead), "kernel ir")
    assert (finding.level, "no package IRkernel" in finding.sentence) == (FAILED, True)


GPU = ["/dev/nvidia0"]


@pytest.mark.parametrize(
    ("outside", "inside", "settings", "level"),
    [
        ([], {"devices": [], "has_driver": False}, {"nv": True}, SKIPPED),
        (GPU, {"devices": GPU, "has_driver": True}, {"nv": True}, OK),
        (GPU, {"devices": GPU, "has_driver": False}, {"needs_gpu": True}, FAILED),
        (GPU, {"devices": [], "has_driver": False}, {"needs_gpu": True}, FAILED),
        (["/dev/kfd"], {"devices": ["/dev/kfd"], "has_driver": False}, {"needs_gpu": True}, OK),
    ],
)
def test_a_gpu_that_is_asked_for_must_be_seen_inside(
    outside: list[str], inside: dict[str, Any], settings: dict[str, Any], level: str
) -> None:
    assert found(seen(devices=outside, gpus=inside), "gpu", **settings).level == level


@pytest.mark.parametrize(
    ("cmd", "expected"),
    [
        ([], ["jupyterhub-singleuser"]),
        (["/opt/bin/jupyter-labhub", "--debug"], ["/opt/bin/jupyter-labhub"]),
        (["python3", "-m", "jupyterhub.singleuser"], ["python3", "-m", "jupyterhub.singleuser"]),
        (["sh", "-c", "exec jupyterhub-singleuser"], []),
    ],
)
def test_the_version_is_asked_of_the_servers_own_command(cmd: list[str], expected: list[str]) -> None:
    assert version_command(cmd) == expected


@pytest.mark.parametrize("name", ["survey", "probe"])
def test_what_is_sent_is_written_for_old_pythons(name: str) -> None:
    ast.parse((files("flatirons.environments") / f"{name}.py").read_text(), feature_version=(3, 6))
