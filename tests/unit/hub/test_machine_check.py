"""What `flatirons check` says of accounts of this machine."""

from __future__ import annotations

import pytest

from flatirons.hub.machine_check import check_machine
from flatirons.site.load import parse

SITE = """
[hub]
address = "http://127.0.0.1:8081"
{hub}
[login]
allowed_users = ["root", "daemon", "nobody", "no-such-user"]
[clusters.summit]
[environments.python]
image = "/srv/images/base.sif"
"""


@pytest.mark.parametrize("run_as", ["sudo", "root", "self"])
def test_users_as_whom_nothing_is_started_are_named(run_as: str) -> None:
    found = check_machine(parse(SITE.format(hub=f'run_as = "{run_as}"')))
    said = [sentence for key, sentence in found if key == "login.allowed_users"]
    assert len(said) == 2
    assert said[0] == "the hub starts nothing as root: it has the rights of root (uid 0)"
    assert said[1].startswith("the hub starts nothing as daemon: it is an account of the system (uid ")


def test_a_trial_under_roots_own_account_is_named() -> None:
    found = check_machine(parse(SITE.format(hub='run_as = "self"\naccount = "root"')))
    assert ("hub.account", "the hub starts nothing as root: it has the rights of root (uid 0)") in found


def test_with_ssh_the_accounts_of_the_log_in_node_count() -> None:
    found = check_machine(parse(SITE.format(hub='run_as = "ssh"\nssh_host = "login1"')))
    assert not [sentence for key, sentence in found if key == "login.allowed_users"]
