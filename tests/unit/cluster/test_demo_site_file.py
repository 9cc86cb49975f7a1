"""What `scripts/demo --site-extra` adds to the demo's site file."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.demo.__main__ import LOG_INS, stop_command
from cluster.demo.service import HERE
from cluster.demo.site_file import dumps, merged, require_toml
from cluster.errors import ClusterError
from flatirons.site.load import parse
from tests.repository import REPO

KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.dates(),
    st.times(),
    st.datetimes(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_toml_is_written_as_it_was_read(table: dict[str, Any]) -> None:
    assert tomllib.loads(dumps(table)) == table


def test_a_second_section_of_the_same_name_adds_its_keys_and_its_values_win() -> None:
    first = "top = 1\n[login]\nusers = ['a']\nservice = 'sshd'\n[form.cpus]\ndefault = 1\n"
    second = (
        "[login]\nusers = ['b']\nadmins = ['b']\n[form.cpus]\nmaximum = 8\n[form.memory]\nmaximum = '8G'\n"
    )
    assert tomllib.loads(merged(first, second)) == {
        "top": 1,
        "login": {"users": ["b"], "service": "sshd", "admins": ["b"]},
        "form": {"cpus": {"default": 1, "maximum": 8}, "memory": {"maximum": "8G"}},
    }


def test_arrays_of_tables_and_tables_in_place_of_values_are_replaced() -> None:
    first = "[[a]]\nx = 1\n[[a]]\nx = 2\n[b]\ny = { z = 1 }\n"
    second = "[[a]]\nx = 3\n[a.deep]\nw = [{ v = 1 }, {}]\n[b]\ny = 4\n[c]\n"
    whole = tomllib.loads(merged(first, second))
    assert whole == {"a": [{"x": 3, "deep": {"w": [{"v": 1}, {}]}}], "b": {"y": 4}, "c": {}}
    assert tomllib.loads(merged(second, first))["b"] == {"y": {"z": 1}}


def test_the_order_of_sections_stays_for_the_first_environment_is_the_default() -> None:
    both = tomllib.loads(merged("[e.z]\n[e.a]\n", "[e.b]\n[e.z]\nx = 1\n"))
    assert list(both["e"]) == ["z", "a", "b"]


def test_the_demos_own_site_takes_that_of_the_tests_and_a_second_login() -> None:
    own = (HERE / "site.toml").read_text()
    extra = (REPO / "tests" / "site-extra.toml").read_text()
    site = parse(merged(own, extra, "[login]\nadmin_users = ['bob']\n"))
    assert site.login.admin_users == ["bob"]
    assert site.login.pam_service == "sshd"
    assert {"python", "broken"} <= site.environments.keys()


def test_a_text_that_is_not_toml_gives_a_sentence() -> None:
    with pytest.raises(ClusterError, match=r"extra.toml is not TOML: .*line 2"):
        require_toml("[login]\nx = \n", "extra.toml")


def test_the_log_in_line_names_the_admin_of_the_site() -> None:
    [admin] = parse((HERE / "site.toml").read_text()).login.admin_users
    assert f"{admin}/{admin} (the admin" in LOG_INS


@pytest.mark.parametrize(
    ("name", "command"),
    [("flatirons", "scripts/demo --stop"), ("x", "scripts/demo --stop --name x")],
)
def test_the_stop_command_is_that_of_the_instance(name: str, command: str) -> None:
    assert stop_command(name) == command
