"""Dask's configuration for a notebook, written when its server starts."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from flatirons.errors import OptionsRefused
from flatirons.parallel import login_environment
from flatirons.parallel.dask import certificate, compat, configuration

JOB = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_PARTITION": "shas",
    "SLURM_JOB_ACCOUNT": "ucb-general",
    "SLURM_JOB_QOS": "normal",
    "SLURM_MEM_PER_NODE": "8192",
    "SLURM_CPUS_ON_NODE": "4",
    "FLATIRONS_CONTAINER": json.dumps(["apptainer", "exec", "--bind", "/a b:/a", "/srv/base.sif"]),
    "JUPYTERHUB_SERVICE_PREFIX": "/user/alice/",
}


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node with an address that other nodes can reach."""
    monkeypatch.setattr(configuration.address, "of_this_node", lambda _: "10.0.0.7")


def of(tmp_path: Path, **more: str) -> dict[str, Any]:
    environ = {**JOB, **more}
    login_environment.hide_job(environ)
    return configuration.make_settings(environ, tmp_path)


def test_workers_run_in_the_notebooks_container_partition_and_account(tmp_path: Path) -> None:
    slurm = of(tmp_path)["jobqueue"]["slurm"]
    assert slurm["python"].startswith("apptainer exec --bind '/a b:/a' /srv/base.sif /")
    assert (slurm["queue"], slurm["account"]) == ("shas", "ucb-general")
    assert slurm["job-extra-directives"] == ["--export=NIL", "--no-requeue", "--qos=normal"]
    assert (slurm["cores"], slurm["memory"]) == (1, "2GiB")
    assert "walltime" not in slurm
    assert slurm["scheduler-options"]["host"] == "10.0.0.7"


def test_the_sites_defaults_for_engines_hold_for_workers(tmp_path: Path) -> None:
    site = {"partition": "sknl", "cpus_per_engine": 2, "memory_mib": 4096, "runtime_minutes": 90}
    slurm = of(tmp_path, FLATIRONS_PARALLEL=json.dumps(site))["jobqueue"]["slurm"]
    assert (slurm["queue"], slurm["cores"], slurm["memory"], slurm["walltime"]) == ("sknl", 2, "4GiB", "90")
    assert slurm["job-extra-directives"] == ["--export=NIL", "--no-requeue"]


@pytest.mark.parametrize(
    ("job", "memory"),
    [
        ({"SLURM_MEM_PER_NODE": "1500", "SLURM_CPUS_ON_NODE": "4"}, "1GiB"),
        ({"SLURM_MEM_PER_CPU": "3900"}, "3GiB"),
        ({"SLURM_MEM_PER_NODE": "0"}, "2GiB"),
    ],
)
def test_memory_is_in_whole_gib_and_never_more_than_the_notebooks_share(
    tmp_path: Path, job: dict[str, str], memory: str
) -> None:
    assert of(tmp_path, **job)["jobqueue"]["slurm"]["memory"] == memory


def test_pages_are_on_loopback_and_linked_through_the_notebook_server(tmp_path: Path) -> None:
    made = of(tmp_path)
    assert made["distributed"]["dashboard"]["link"].format(port=8787) == "/user/alice/proxy/8787/status"
    assert made["jobqueue"]["slurm"]["scheduler-options"]["dashboard_address"] == "127.0.0.1:0"
    assert made["jobqueue"]["slurm"]["worker-extra-args"][0] == "--no-dashboard"


def test_a_prefix_with_braces_is_used_unchanged(tmp_path: Path) -> None:
    made = of(tmp_path, JUPYTERHUB_SERVICE_PREFIX="/user/{a}/")
    assert made["distributed"]["dashboard"]["link"].format(port=1) == "/user/{a}/proxy/1/status"


def test_the_same_settings_are_written_once_and_others_in_another_directory(tmp_path: Path) -> None:
    first = configuration.write(JOB, tmp_path)
    written = json.loads((first / "flatirons.json").read_text())
    assert f"export DASK_ROOT_CONFIG={first}" in written["jobqueue"]["slurm"]["job-script-prologue"]
    stamp = (first / "flatirons.json").stat().st_mtime_ns
    assert configuration.write(JOB, tmp_path) == first
    assert (first / "flatirons.json").stat().st_mtime_ns == stamp
    assert configuration.write({**JOB, "SLURM_JOB_PARTITION": "sknl"}, tmp_path) != first
    assert first.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "home", ["ann smith", 'o\'brien "x"', "100%j", r"DOM\ann", "münchen", "🙂", "$HOME`id`"]
)
def test_dask_reads_the_paths_of_a_home_with_an_unusual_name(tmp_path: Path, home: str) -> None:
    folder = tmp_path / home
    file = configuration.write(JOB, folder) / "flatirons.json"
    read = yaml.safe_load(file.read_text(encoding="utf-8"))  # as dask.config does, whatever the name
    assert read["distributed"]["comm"]["tls"]["ca-file"] == str(folder / "certificate.pem")
    slurm = read["jobqueue"]["slurm"]
    assert slurm["log-directory"] == str(folder / "log")
    shown = subprocess.run(
        ["bash", "-c", f"{slurm['job-script-prologue'][-1]}; printenv DASK_ROOT_CONFIG"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == f"{file.parent}\n"


def test_a_home_whose_name_isnt_utf8_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = Path(os.fsdecode(os.fsencode(tmp_path) + b"/m\xfcnchen"))
    home.mkdir()
    assert configured(monkeypatch, home, dict(JOB)) == ""
    assert "Dask isn't configured: the path of your home" in capsys.readouterr().err


def configured(monkeypatch: pytest.MonkeyPatch, home: Path, environ: dict[str, str]) -> str:
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(configuration, "_NEEDED", ("json",))
    login_environment.hide_job(environ)
    configuration.configure_or_log(environ)
    return environ.get("DASK_ROOT_CONFIG", "")


def test_dask_is_configured_inside_a_job_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert configured(monkeypatch, tmp_path, dict(JOB)).startswith(str(tmp_path))
    outside = {key: text for key, text in JOB.items() if not key.startswith("SLURM_")}
    assert configured(monkeypatch, tmp_path, outside) == ""


def test_a_directory_that_is_set_already_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert configured(monkeypatch, tmp_path, {**JOB, "DASK_ROOT_CONFIG": "/etc/mine"}) == "/etc/mine"


def test_without_dask_nothing_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(configuration, "_NEEDED", ("there_is_no_such_package",))
    environ = dict(JOB)
    login_environment.hide_job(environ)
    configuration.configure(environ)
    assert list(tmp_path.iterdir()) == []
    assert "DASK_ROOT_CONFIG" not in environ


@pytest.mark.parametrize("broken", ["settings", "home"])
def test_a_server_starts_whatever_is_wrong_and_its_log_says_what(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    environ, home = dict(JOB), tmp_path
    if broken == "settings":
        environ["FLATIRONS_PARALLEL"] = "["
    else:
        home = tmp_path / "file"
        home.write_text("")
    assert configured(monkeypatch, home, environ) == ""
    assert "Dask isn't configured" in capsys.readouterr().err


DAY = 86400.0
NOW = 1_900_000_000.0


def old_servers(folder: Path, partition: str, ends: dict[str, float]) -> Path:
    """A directory that the jobs of these ids had, which must have ended at these times."""
    for job, end in ends.items():
        more = {"SLURM_JOB_PARTITION": partition, "SLURM_JOB_ID": job, "SLURM_JOB_END_TIME": str(int(end))}
        place = configuration.write({**JOB, **more}, folder)
    return place


def test_settings_of_servers_that_are_long_over_are_removed_and_no_others(tmp_path: Path) -> None:
    gone = old_servers(tmp_path, "a", {"1": NOW - 8 * DAY, "2": NOW - 9 * DAY})
    just_over = old_servers(tmp_path, "b", {"3": NOW - 6 * DAY})
    shared = old_servers(tmp_path, "c", {"4": NOW - 30 * DAY, "5": NOW + DAY})
    others = tmp_path / "0123456789abcdef-mine"
    others.mkdir()
    configuration.prune(tmp_path, NOW)
    kept = {just_over, shared, others, tmp_path / "certificate.pem"}
    assert set(tmp_path.iterdir()) == kept
    assert gone not in kept
    assert (shared / "flatirons.json").exists()


def test_settings_of_a_server_of_which_no_end_is_known_are_kept_for_a_year(tmp_path: Path) -> None:
    place = old_servers(tmp_path, "a", {"1": 0})
    [note] = place.glob("until-*")
    made = (place / "flatirons.json").stat().st_mtime
    configuration.prune(tmp_path, made + 360 * DAY)
    note.unlink()
    os.utime(place, (made, made))
    configuration.prune(tmp_path, made + 360 * DAY)
    assert place.exists()
    configuration.prune(tmp_path, made + 380 * DAY)
    assert not place.exists()


def test_files_of_the_user_next_to_old_settings_stay(tmp_path: Path) -> None:
    place = old_servers(tmp_path, "a", {"1": NOW - 8 * DAY})
    (place / "mine.yaml").write_text("x: 1")
    configuration.prune(tmp_path, NOW)
    assert [each.name for each in place.iterdir()] == ["mine.yaml"]
    configuration.prune(tmp_path / "nowhere", NOW)


def test_a_mistake_of_the_site_is_reported_with_the_options_name(tmp_path: Path) -> None:
    with pytest.raises(OptionsRefused, match="must hold a JSON object"):
        of(tmp_path, FLATIRONS_PARALLEL="[]")


def test_a_certificate_is_made_once_and_is_its_own_authority(tmp_path: Path) -> None:
    file = tmp_path / "below" / "certificate.pem"
    certificate.create(file)
    made = file.read_bytes()
    certificate.create(file)
    assert file.read_bytes() == made
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["certificate.pem"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(file))
    context.load_cert_chain(file, file)


class Stream:
    """A connection whose reads have these outcomes."""

    def __init__(self, *outcomes: Exception | int) -> None:
        self.outcomes = list(outcomes)

    def read_from_fd(self, buffer: bytearray) -> int:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def test_a_read_that_raises_broken_pipe_is_repeated_once() -> None:
    repaired = type("Repaired", (Stream,), {"read_from_fd": Stream.read_from_fd})
    compat.repair_tls_reads(repaired)
    compat.repair_tls_reads(repaired)
    assert repaired(BrokenPipeError(), 3).read_from_fd(bytearray()) == 3
    with pytest.raises(BrokenPipeError):
        repaired(BrokenPipeError(), BrokenPipeError(), 3).read_from_fd(bytearray())
    with pytest.raises(ConnectionResetError):
        repaired(ConnectionResetError(), 3).read_from_fd(bytearray())
