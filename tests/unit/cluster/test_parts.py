"""Parts of the driver that need no cluster: processes, state, arguments, the tree's key."""

import subprocess
import sys
from pathlib import Path

import pytest

from cluster import __main__, forward, recipe, state, tree
from cluster.errors import ClusterError
from cluster.faults import find_daemon
from cluster.processes import Process, children, run, wait_until

DAEMONS = [
    ("ctl", "munged"), ("ctl", "slurmdbd"), ("ctl", "slurmctld@summit"), ("ctl", "slurmctld@blanca"),
    ("hub", "munged"), ("shas0101", "munged"), ("shas0101", "slurmd"), ("shas0102", "slurmd"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("slurmdbd", ("ctl", "slurmdbd")),
        ("slurmctld", ("ctl", "slurmctld@summit")),
        ("slurmctld@blanca", ("ctl", "slurmctld@blanca")),
        ("munged@hub", ("hub", "munged")),
        ("slurmd@shas0102", ("shas0102", "slurmd")),
    ],
)
def test_a_daemon_is_named_by_itself_or_with_its_node_or_cluster(target: str, found: tuple[str, str]) -> None:
    assert find_daemon(DAEMONS, target) == found


@pytest.mark.parametrize("target", ["munged", "slurmd", "nosuch", "slurmd@hub", "slurmdbd@summit", ""])
def test_a_target_that_names_no_or_several_daemons_is_refused_with_the_known_names(target: str) -> None:
    with pytest.raises(ClusterError, match="there are"):
        find_daemon(DAEMONS, target)


def test_a_process_is_killed_but_never_one_that_reused_its_pid() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        known = Process.of(child.pid)
        assert known is not None
        assert Process.parse(str(known)) == known
        earlier = Process(known.pid, known.started - 1)
        assert not earlier.is_alive()
        earlier.end()
        assert known.is_alive()
        known.end()
        assert not known.is_alive()
        known.end()


def test_children_are_found_and_a_process_that_is_gone_has_none() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"]) as parent:
        wait_until(lambda: len(children(parent.pid)) == 1, "the child", 5)
        [child] = children(parent.pid)
        parent.kill()
        orphan = Process.of(child)
        assert orphan is not None
        orphan.end()
    assert children(parent.pid) == []


def test_the_error_of_a_failed_command_has_its_last_line() -> None:
    with pytest.raises(ClusterError, match=r"^testing: second$"):
        run(["sh", "-c", "echo first >&2; echo second >&2; exit 3"], "testing")
    with pytest.raises(ClusterError, match="command nosuchcommand is missing"):
        run(["nosuchcommand"], "testing")
    with pytest.raises(ClusterError, match="did not end within"):
        run(["sleep", "60"], "testing", deadline_s=0.1)


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-x", "x" * 33])
def test_an_instance_name_must_be_a_plain_word(name: str) -> None:
    with pytest.raises(ClusterError, match="not a valid name"):
        state.Instance(name)


def test_a_directory_that_the_program_did_not_create_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "RUN", tmp_path)
    (tmp_path / "theirs").mkdir()
    instance = state.Instance("theirs")
    with pytest.raises(ClusterError, match="not made by this program"):
        instance.require_ours()
    with pytest.raises(ClusterError, match="not made by this program"):
        instance.settings()


def test_settings_are_read_back_as_they_were_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "RUN", tmp_path / "run")
    wanted = state.Settings(
        "trixie", "/t", "/s", 5, 4, "", [state.Bind("/a", "/b", False)], ["8000=hub:8000"]
    )
    instance = state.Instance("one")
    instance.write_settings(wanted)
    assert instance.settings() == wanted
    assert instance.run.stat().st_mode & 0o777 == 0o700
    instance.remove_state()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("8000=hub:80", ("127.0.0.1", 8000, "hub", 80)),
        ("0.0.0.0:1=ctl:2", ("0.0.0.0", 1, "ctl", 2)),
        ("127.0.0.1:8000=shas0101:65535", ("127.0.0.1", 8000, "shas0101", 65535)),
    ],
)
def test_a_port_is_published_on_loopback_unless_an_address_is_given(
    text: str, meant: tuple[str, int, str, int]
) -> None:
    assert forward.parse(text) == meant


@pytest.mark.parametrize(
    "text", ["", "8000", "8000=hub", "hub:8000", "70000=hub:1", "1=hub:99999", "x:1=hub:1"]
)
def test_a_publication_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="not of the form"):
        forward.parse(text)


@pytest.mark.parametrize("text", ["/tmp", "tmp:/x", "/tmp:x", "/tmp:/x:rx", "/nosuch/place:/x"])
def test_a_bind_of_another_form_or_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(ClusterError, match=r"bind|form"):
        __main__.parse_bind(text)


def test_a_bind_is_writable_unless_it_says_otherwise() -> None:
    assert __main__.parse_bind("/tmp:/x") == state.Bind("/tmp", "/x", True)
    assert __main__.parse_bind("/tmp:/x:ro") == state.Bind("/tmp", "/x", False)


def test_without_root_the_command_ends_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["cluster", "up"])
    assert __main__.main() == 1
    assert (
        capsys.readouterr().err
        == "cluster: the virtual cluster needs root, because it makes mounts and namespaces\n"
    )


def test_the_error_for_too_little_disk_space_says_how_much_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cluster.prerequisites.BUILD_BYTES", 10**18)
    with pytest.raises(ClusterError, match="not enough disk space"):
        tree.require_disk(tmp_path)


def test_the_key_changes_with_every_input_of_a_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    def keys() -> list[str]:
        return [
            tree.tree_key("trixie", "http://m.example", []),
            tree.tree_key("bookworm", "http://m.example", []),
            tree.tree_key("trixie", "http://other.example", []),
            tree.tree_key("trixie", "http://m.example", ['Acquire::http::Proxy "http://p.example"']),
        ]

    before = keys()
    assert len(set(before)) == 4
    assert keys() == before
    monkeypatch.setattr(recipe, "SUBORDINATE_IDS", "other")
    assert not set(keys()) & set(before)


@pytest.mark.parametrize(
    ("suite", "file"), [("trixie", "sources.list.d/unstable.list"), ("unstable", "sources.list")]
)
@pytest.mark.parametrize("options", ["", "[signed-by=/usr/share/k.gpg] "])
def test_only_unstable_may_be_out_of_date_and_comes_from_the_same_mirror(
    suite: str, file: str, options: str, tmp_path: Path
) -> None:
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    (tmp_path / "etc/apt/sources.list").write_text(f"deb {options}http://m.example/debian {suite} main\n")
    subprocess.run(["sh", "-c", recipe.unstable_hook(suite), "hook", str(tmp_path)], check=True)
    kept = options.strip("[] ")
    line = f"deb [{kept} check-valid-until=no] http://m.example/debian unstable main\n"
    assert (tmp_path / "etc/apt" / file).read_text() == line


def test_only_apptainer_comes_from_unstable() -> None:
    assert "Package: apptainer" in recipe.seed_files("trixie")["etc/apt/preferences.d/apptainer"]
    assert "etc/apt/preferences.d/apptainer" not in recipe.seed_files("bookworm")
    assert "apptainer" not in recipe.packages("bookworm")
