"""The host's apt sources, as text."""

from pathlib import Path

import pytest

from cluster.sources import Source, debian_mirror, parse_deb822, parse_one_line, read_os_release, read_sources

DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""
DEBIAN = {"ID": "debian", "VERSION_CODENAME": "bookworm"}


@pytest.fixture(autouse=True)
def _no_chosen_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLATIRONS_DEBIAN_MIRROR", raising=False)


def test_a_stanza_gives_a_source_for_each_suite_and_disabled_or_source_stanzas_give_none() -> None:
    uri, components = "http://mirror.example/debian", ("main", "contrib")
    assert list(parse_deb822(DEB822)) == [
        Source(uri, "bookworm", components),
        Source(uri, "bookworm-updates", components),
    ]


def test_a_line_may_have_options_and_a_comment() -> None:
    text = "deb [arch=amd64 signed-by=/k] http://m.example/debian stable main # us\n#deb x y\ndeb-src a b c\n"
    assert list(parse_one_line(text)) == [Source("http://m.example/debian", "stable", ("main",))]


def test_sources_are_read_from_both_kinds_of_files_and_from_no_others(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://one.example/debian bookworm main\n")
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/two.sources").write_text(DEB822)
    (tmp_path / "sources.list.d/three.list.disabled").write_text(
        "deb http://three.example/debian bookworm main\n"
    )
    uris = [source.uri for source in read_sources(tmp_path)]
    assert uris == ["http://one.example/debian", *["http://mirror.example/debian"] * 2]


def test_the_mirror_is_the_one_of_the_hosts_own_release() -> None:
    sources = [
        Source("http://x.example/other", "nodistro", ("main",)),
        Source("http://d.example/d/", "bookworm", ("main",)),
    ]
    assert debian_mirror(sources, DEBIAN) == "http://d.example/d"


def test_a_list_of_mirrors_gives_its_first(tmp_path: Path) -> None:
    listed = tmp_path / "mirrors"
    listed.write_text("# ours\nhttps://first.example/debian\tpriority:1\nhttps://second.example/debian\n")
    assert (
        debian_mirror([Source(f"mirror+file:{listed}", "bookworm", ("main",))], DEBIAN)
        == "https://first.example/debian"
    )


def test_another_distribution_has_no_debian_mirror_unless_one_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = read_os_release('ID=ubuntu\nVERSION_CODENAME="noble"\n')
    sources = [Source("http://u.example/ubuntu", "noble", ("main",))]
    assert debian_mirror(sources, release) is None
    monkeypatch.setenv("FLATIRONS_DEBIAN_MIRROR", "http://chosen.example/debian")
    assert debian_mirror(sources, release) == "http://chosen.example/debian"
