"""The rest of a site file is checked when a part of it is wrong, without false mistakes."""

import pytest

from flatirons.site.load import inspect

WRONG_BETWEEN_SECTIONS = """
[hub]
address = "http://hub.example.org:8081"
{hub}
[clusters.summit]
[environments.python]
clusters = ["sumit"]
{more}
"""
NAMED = ("environments.python.clusters", "'sumit' is none of summit")


def keys(hub: str = "", more: str = "") -> list[str]:
    _, mistakes = inspect(WRONG_BETWEEN_SECTIONS.format(hub=hub, more=more))
    return [key for key, _ in mistakes]


@pytest.mark.parametrize(
    ("hub", "more", "key"),
    [
        ("log_level = 7", "", "hub.log_level"),
        ("adress = 7", "", "hub.adress"),
        ("run_as = 'ssh'", "", "hub"),  # wrong as a whole: it names no ssh_host
        ("", "nv = 3", "environments.python.nv"),
        ("", "binds = ['/a', 3]", "environments.python.binds[1]"),
        ("", "[proxy]\npublic = 'x'\ncommand = []", "proxy.public"),
        ("", "[login]\nauthenticator = 'dummy'\nallowed_groups = ['x']", "login"),
        ("", "[servers]\nports = 'many'", "servers.ports"),
        ("", "[form.runtime]\nmaximum = 'long'", "form.runtime.maximum"),
        ("", "[presets.small]\ntitle = 'Small'", "presets.small.options"),
        ("", "[oven]\nhot = true", "oven"),
    ],
)
def test_a_mistake_in_one_section_does_not_hide_one_between_sections(hub: str, more: str, key: str) -> None:
    _, mistakes = inspect(WRONG_BETWEEN_SECTIONS.format(hub=hub, more=more))
    assert key in [where for where, _ in mistakes]
    assert NAMED in mistakes


@pytest.mark.parametrize(
    ("hub", "more", "expected"),
    [
        # a name that is wrong, or the name of a wrong field, is not reported as unknown
        ("", "[clusters.'a b']\n[environments.x]\nclusters = ['a b']", {"clusters"}),
        ("", "[form.own.x]\ntype = 'colour'\n[presets.p]\noptions = { x = 1 }", {"form"}),
        # which scheme an address needs depends on a wrong value
        ("internal_tls = 'yes'", "[proxy]\napi = 'https://127.0.0.1:8001'", {"hub"}),
    ],
)
def test_what_was_taken_out_makes_no_further_mistakes(hub: str, more: str, expected: set[str]) -> None:
    sections = {key.partition(".")[0] for key in keys(hub, more)}
    assert sections - {"environments"} == expected
    assert "presets.p.options.x" not in keys(hub, more)


@pytest.mark.parametrize("text", ["", "hub = 3", "[hub]\n", "clusters = []\nenvironments = 'x'\nform = 1"])
def test_a_missing_required_section_is_reported_once(text: str) -> None:
    site, mistakes = inspect(text)
    found = [key for key, _ in mistakes]
    assert len(found) == len(set(found)) >= 3
    assert site is not None
    assert not [sentence for _, sentence in mistakes if "hub.invalid" in sentence]


def test_a_right_site_is_the_site_itself() -> None:
    text = WRONG_BETWEEN_SECTIONS.format(hub="", more="").replace("sumit", "summit")
    site, mistakes = inspect(text)
    assert mistakes == []
    assert site is not None
    assert site.environments["python"].clusters == ["summit"]
