"""`flatirons images`: environments are tested on this machine; observations become sentences."""

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
from flatirons.environments.check import CheckTarget, check
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
from flatirons.environments.listing import classify
from flatirons.job.node.kinds import END_KINDS
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


# -- on this machine


@pytest.fixture
def write_site(tmp_path: Path) -> Callable[[str], str]:
    """Writes a site file with these environments; returns its path."""

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
def complete(tmp_path: Path) -> Path:
    """A server of jupyterhub 6.1.1 that uses this Python; Slurm's commands are next to it."""
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
    result = json.loads(capsys.readouterr().out)
    return code, {name: {each["subject"]: each for each in findings} for name, findings in result.items()}


def test_a_complete_environment_passes_and_its_kernel_is_started(
    complete: Path, write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    site = write_site(
        f'[environments.here]\ncmd = ["{complete}"]\nprologue = "PATH={complete.parent}:$PATH; echo loaded"\n'
    )
    code, result = checked(site, capsys)
    assert code == 0, result
    assert {subject: each["level"] for subject, each in result["here"].items()} == {
        "start": OK,
        "server": OK,
        "kernel python3": OK,
        "slurm summit": OK,
        "slurm blanca": OK,
    }
    assert "slurm 24.11.5" in result["here"]["slurm summit"]["sentence"]


def test_a_server_that_is_a_module_is_tested_with_the_variables_of_its_command(
    write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    package = tmp_path / "jupyterhub"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "singleuser.py").write_text("print('6.0.0')\n")
    cmd = ["env", f"PYTHONPATH={tmp_path}", sys.executable, "-m", "jupyterhub.singleuser"]
    site = write_site(f"[environments.module]\ncmd = {json.dumps(cmd)}\n")
    _, result = checked(site, capsys)
    assert "Its jupyterhub 6.0.0 is compatible with" in result["module"]["server"]["sentence"]
    assert result["module"]["kernel python3"]["level"] == OK
    (package / "singleuser.py").write_text("raise ModuleNotFoundError(\"No module named 'pipes'\")\n")
    code, result = checked(site, capsys)
    assert code == 1
    assert "too old for its Python" in result["module"]["server"]["sentence"]


def test_an_environment_without_a_server_fails_with_advice_on_what_to_install(
    write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, result = checked(write_site('[environments.none]\ncmd = ["/no/jupyterhub-singleuser"]\n'), capsys)
    assert code == 1
    assert result["none"]["server"]["sentence"] == "The environment has no jupyterhub-singleuser."
    assert "pip install 'jupyterhub==6.*'" in result["none"]["server"]["advice"]


def test_a_missing_image_and_a_missing_bind_are_reported_and_nothing_is_started(
    write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, result = checked(
        write_site(IMAGE.replace("one.sif", "gone.sif") + 'binds = ["/no/such"]\n'), capsys
    )
    assert code == 1
    assert "/srv/images/gone.sif doesn't exist on" in result["one"]["image"]["sentence"]
    assert "/no/such doesn't exist on" in result["one"]["binds"]["sentence"]
    assert result["one"]["start"]["level"] == SKIPPED


def test_a_machine_without_apptainer_is_reported(
    write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "one.sif").touch()
    site = write_site(
        f'[containers]\napptainer = "/no/apptainer"\n[environments.one]\nimage = "{tmp_path}/one.sif"\n'
    )
    code, result = checked(site, capsys)
    assert code == 1
    found = result["one"]["start"]
    assert found["sentence"] == "The node can't run /no/apptainer: No such file or directory."
    assert "containers.apptainer" in found["advice"]


def test_only_the_named_environments_are_checked(
    complete: Path, write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    site = write_site(IMAGE + f'[environments.two]\ncmd = ["{complete}"]\n')
    assert main(["images", "check", "--site", site, "two"]) == 0
    assert capsys.readouterr().out.endswith("The environment passed.\n")


def test_an_unknown_environment_or_cluster_is_refused_with_a_sentence(
    write_site: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    site = write_site(IMAGE)
    assert main(["images", "check", "--site", site, "three"]) == 2
    assert main(["images", "check", "--site", site, "--cluster", "everest"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "flatirons: There is no environment 'three'. Known: one."
    assert second == "flatirons: --cluster: there is no cluster 'everest', only summit, blanca"


def test_the_list_shows_what_each_environment_is(
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
    result = capsys.readouterr().out
    assert "one.sif  2 MB\n" in result and "jupyterhub 6.1.1\n" in result and "built 2026-11-25" in result


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
    assert classify(Environment.from_dict("x", settings)) == expected


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that every user can enter; those of pytest are private."""
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
def test_the_modes_of_an_image_and_its_directories_tell_who_can_read_it(
    open_folder: Path, mode: int, above: int, closed: str, shut: str
) -> None:
    folder = open_folder / "images"
    folder.mkdir()
    (folder / "x.sif").touch()
    (folder / "x.sif").chmod(mode)
    folder.chmod(above)

    def path(name: str) -> str:
        return str(folder / name) if name else ""

    found = survey.image_facts(str(folder / "x.sif"))
    assert (found["closed"], found["shut"]) == (path(closed), path(shut))


# -- on a node


class Srun(Runner):
    """Records the command, and runs `echo` with what srun would print."""

    def __init__(self, says: str = "", code: int = 0) -> None:
        self.argv: Sequence[str] = ()
        self.env: Mapping[str, str] = {}
        self.says, self.code = says, code

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        self.argv, self.env = argv, env
        return Launch(("sh", "-c", 'echo "$1" >&2; exit $2', "sh", self.says, str(self.code)), os.environ, {})


NEEDS_GPU = parse(SITE + IMAGE + 'needs_gpu = true\npartitions = ["gpu"]\n')
ONE = Environment.from_dict("one", NEEDS_GPU.environment_settings()["one"])


async def test_a_check_in_a_partition_runs_srun_and_requests_a_gpu_if_one_is_needed() -> None:
    runner = Srun()
    target = CheckTarget(partition="gpu", account="physics")
    await check(NEEDS_GPU, ONE, target, runner, 90)
    argv = [word.rstrip("0123456789abcdef") if "job-name" in word else word for word in runner.argv]
    assert argv == [
        *("srun", "--quiet", "--immediate=90", "--job-name=flatirons-check-", "--partition=gpu"),
        *("--account=physics", "--chdir=/", "--nodes=1", "--ntasks=1", "--time=3", "--gres=gpu:1"),
        *("python3", "-X", "utf8", "-I", "-S", "-"),
    ]
    assert runner.env == {"SLURM_CONF": "/etc/slurm/summit/slurm.conf"}


async def test_a_refusal_by_slurm_is_quoted_and_explained() -> None:
    says = "srun: error: Unable to allocate resources: Invalid account or account/partition combination"
    [finding] = await check(NEEDS_GPU, ONE, CheckTarget(partition="gpu"), Srun(says, 1), 90)
    assert (finding.level, finding.subject) == (FAILED, "machine")
    assert "Invalid account" in finding.sentence
    assert finding.advice == "Choose another account or partition."


class Hanging(Srun):
    """Runs an srun that waits until it is killed; other commands end at once."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()

    def launch(self, argv: Sequence[str], user: str | None, env: Mapping[str, str]) -> Launch:
        super().launch(argv, user, env)
        self.began.set()
        return Launch(("sleep", "60") if argv[0] == "srun" else ("true",), os.environ, {})


async def test_the_job_of_a_check_that_is_interrupted_is_cancelled() -> None:
    runner = Hanging()
    checking = asyncio.ensure_future(check(NEEDS_GPU, ONE, CheckTarget(partition="gpu"), runner, 90))
    await runner.began.wait()
    name = next(word.removeprefix("--job-name=") for word in runner.argv if "job-name" in word)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    assert list(runner.argv) == ["scancel", "--quiet", "--me", f"--name={name}"]


async def test_an_environment_isnt_checked_where_it_isnt_offered() -> None:
    [finding] = await check(NEEDS_GPU, ONE, CheckTarget(partition="shas"), Srun(), 90)
    assert (finding.level, finding.sentence) == (SKIPPED, "It isn't offered in shas, only in gpu.")


# -- observations become sentences


def seen(**changes: Any) -> dict[str, Any]:
    """The survey of an environment that passes, apart from the changes."""
    inside = {
        "python": "3.13.5",
        "server": {"path": "/opt/bin/jupyterhub-singleuser", "version": "6.1.1", "error": "", "off_path": ""},
        "kernels": {"error": "", "found": {"python3": {"error": "", "seconds": 1.2}}},
        "slurm": {"summit": {"missing": [], "version": "slurm 24.11.5", "error": ""}},
        "gpus": {"devices": [], "has_driver": False},
    }
    result = {
        "node": "c1",
        "is_root": False,
        "image": {"state": "ok", "bytes": 3_000_000, "closed": "", "shut": ""},
        "missing_binds": [],
        "tmp_mib": 9000,
        "devices": [],
        "run": {"exit": 0, "late": False, "errors": [], "inside": inside},
    }
    for name, value in changes.items():
        (inside if name in inside else result)[name] = value
    return result


def found(result: dict[str, Any], subject: str, **settings: Any) -> Finding:
    environment = Environment.from_dict("one", {"image": "/srv/images/one.sif", **settings})
    [finding] = [each for each in judge(environment, result, Expectation("6.1.1")) if each.subject == subject]
    return finding


def test_a_good_environment_has_no_failures_and_no_warnings() -> None:
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
def test_apptainers_errors_are_explained(lines: str, words: str) -> None:
    run = {"exit": 255, "late": False, "errors": ["INFO: noise", lines], "inside": None}
    finding = found(seen(run=run), "start")
    assert finding.level == FAILED
    assert words in finding.sentence


def test_a_program_that_cant_be_started_is_known_by_its_kind_and_not_by_a_sentence() -> None:
    config = {"prefix": [], "server": "x", "prologue": "", "environment": {}, "seconds": 5, "probe": ""}
    run = survey.look_inside({**config, "prefix": ["/no/such/apptainer"]})
    assert run["kind"] in END_KINDS
    finding = found(seen(run={**run, "errors": ["reworded"]}), "start")
    assert "can't run /no/such/apptainer: No such file or directory." in finding.sentence


def test_a_server_that_is_not_on_the_path_is_found_and_the_advice_is_to_name_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "my env/bin/jupyterhub-singleuser"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{sys.executable}\n")
    program.chmod(0o755)
    searched = survey.OWN_PYTHON.replace("/opt/*/bin", f"{tmp_path}/*/bin", 1)
    monkeypatch.setattr(survey, "OWN_PYTHON", searched)
    probe = (
        f"import os; print({survey.MARK!r} + '{{\"found\": \"' + os.environ['FLATIRONS_OFF_PATH'] + '\"}}')"
    )
    config = {
        "prefix": [],
        "server": "jupyterhub-singleuser",
        "prologue": "",
        "environment": {"PATH": "/bin"},
    }
    run = survey.look_inside({**config, "seconds": 5, "probe": probe})
    assert run["inside"] == {"found": str(program)}, run
    server = {"path": "", "version": "", "error": "not found", "off_path": str(program)}
    finding = found(seen(server=server), "server")
    assert finding.sentence == f"jupyterhub-singleuser is {program}, which isn't on the PATH."
    assert finding.advice == f'Set `cmd = ["{program}"]`, or correct the PATH.'


def test_a_prologue_that_ends_the_check_is_blamed_and_not_the_environment() -> None:
    config = {"prefix": [], "server": "x", "environment": {}, "forgotten": [], "seconds": 5, "probe": ""}
    run = survey.look_inside({**config, "prologue": "exit 4"})
    finding = found(seen(run=run), "start")
    assert finding.sentence.startswith("The site's prologue") and "(exit code 4)" in finding.sentence
    assert "Correct `prologue`" in finding.advice


def test_a_check_that_hangs_and_an_environment_without_python_are_reported() -> None:
    late = {"exit": None, "late": True, "errors": [], "inside": None}
    assert "--timeout" in found(seen(run=late), "start").advice
    words = ["there is no Python here", "WARNING: group file doesn't exist in container, not updating"]
    bare = {"exit": 127, "late": False, "errors": words, "inside": None}
    assert found(seen(run=bare), "start").sentence == "It has no Python, and so no jupyterhub-singleuser."


@pytest.mark.parametrize(
    ("version", "hub", "level", "words"),
    [
        ("6.1.1", "6.1.1", OK, "compatible with"),
        ("6.0.0", "6.1.1", OK, "compatible with"),
        ("1.5.1", "6.1.1", WARNING, "a major version older"),
        ("5.4.2", "6.1.1", WARNING, "a major version older"),
        ("7.0.0b1", "6.1.1", WARNING, "a major version newer"),
        ("unknown", "6.1.1", WARNING, "can't be compared"),
        ("6.1.1", "", WARNING, "no hub to compare"),
    ],
)
def test_versions_are_compared_as_jupyterhub_compares_them(
    version: str, hub: str, level: str, words: str
) -> None:
    result, sentence = compare(version, hub)
    assert (result, words in sentence) == (level, True), sentence


def test_an_image_that_only_root_can_read_fails_and_one_that_only_a_group_can_read_is_a_warning() -> None:
    image = {"state": "ok", "bytes": 1, "closed": "/srv/x.sif", "shut": "/srv/x.sif"}
    assert found(seen(is_root=True, image=image), "image").level == FAILED
    assert found(seen(is_root=True, image={**image, "shut": ""}), "image").level == WARNING
    refused = {"state": "unreadable", "why": "Permission denied"}
    assert "can't be read on c1: Permission denied." in found(seen(image=refused), "image").sentence


def test_little_free_space_in_tmp_fails() -> None:
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
def test_a_slurm_that_cant_be_reached_from_inside_comes_with_advice(error: str, advice: str) -> None:
    said = {"summit": {"missing": [], "version": "", "error": error}}
    finding = found(seen(slurm=said), "slurm")
    assert (finding.level, advice in finding.advice) == (FAILED, True), finding


def test_an_environment_without_slurms_commands_is_only_a_warning() -> None:
    said = {"summit": {"missing": ["squeue"], "version": "", "error": ""}}
    assert found(seen(slurm=said), "slurm").level == WARNING


def test_a_kernel_that_doesnt_start_is_reported_with_its_own_message() -> None:
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
def test_a_gpu_that_is_needed_must_be_visible_inside(
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
def test_the_servers_own_command_prints_its_version(cmd: list[str], expected: list[str]) -> None:
    assert version_command(cmd) == expected


@pytest.mark.parametrize("name", ["survey", "probe"])
def test_the_programs_that_are_sent_to_nodes_run_on_old_pythons(name: str) -> None:
    ast.parse((files("flatirons.environments") / f"{name}.py").read_text(), feature_version=(3, 6))
