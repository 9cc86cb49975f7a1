"""The text of sudo rules and systemd units, with hostile names escaped."""

import pytest

from flatirons import accounts
from flatirons.errors import SiteError
from flatirons.hub.render import RENDERED_FILES, escape_for_sudo, escape_for_systemd, render
from flatirons.site.load import parse

SMALL = """
[hub]
address = "http://hub.example.org:8081"
{hub}
[clusters.summit]
[clusters.blanca]
bin_dir = "/opt/slurm/bin/"
[environments.python]
image = "/srv/images/base.sif"
{more}
"""


def rendered(kind: str, hub: str = "", more: str = "", **more_facts: bool) -> str:
    site = parse(SMALL.format(hub=hub, more=more))
    return render(
        kind, site, site_file="/etc/flatirons/site.toml", flatirons="/opt/bin/flatirons", **more_facts
    )


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture(autouse=True)
def few_accounts(monkeypatch):
    """A machine on which people begin with uid 3, and whose munge has 1001."""
    monkeypatch.setattr(accounts, "least_uid", lambda: 3)
    monkeypatch.setattr(accounts, "daemons", lambda: {1, 1001})


def test_sudo_rules_allow_exactly_four_commands_of_each_cluster_and_no_account_of_the_system():
    change = r"scontrol ^update JobId\=[0-9]+( (TimeLimit|Partition|Account|QOS)\=[A-Za-z0-9_.@-]+)+$"
    assert lines(rendered("sudoers")) == [
        "Cmnd_Alias FLATIRONS_SLURM = /usr/bin/sbatch, /usr/bin/scancel, /usr/bin/squeue, "
        "/opt/slurm/bin/sbatch, /opt/slurm/bin/scancel, /opt/slurm/bin/squeue",
        f"Cmnd_Alias FLATIRONS_CHANGE = /usr/bin/{change}, \\",
        f"    /opt/slurm/bin/{change}",
        "Runas_Alias FLATIRONS_SYSTEM = root, slurm, munge, #0, #1, #2, #1001",
        "Defaults!FLATIRONS_SLURM, FLATIRONS_CHANGE env_reset, "
        'env_keep += "SLURM_CONF", !requiretty, !lecture, !pam_session',
        "jupyterhub ALL=(ALL, !FLATIRONS_SYSTEM) NOPASSWD: FLATIRONS_SLURM, FLATIRONS_CHANGE",
    ]


def test_sudo_rules_name_the_users_where_the_site_lists_them():
    text = rendered(
        "sudoers", more="[login]\nallowed_users = ['a']\nallowed_groups = ['h']\nadmin_users = ['b']"
    )
    assert "jupyterhub ALL=(a, b, %h, !FLATIRONS_SYSTEM) NOPASSWD" in text


@pytest.mark.parametrize("least", [0, 1000, 2000])
def test_every_uid_of_the_system_is_refused_by_number(monkeypatch, least):
    monkeypatch.setattr(accounts, "least_uid", lambda: least)
    text = rendered("sudoers").replace("\\\n", "")
    [alias] = [line for line in lines(text) if line.startswith("Runas_Alias")]
    listed = [word.strip() for word in alias.partition("=")[2].split(",")]
    own = [f"#{uid}" for uid in (1, 1001) if uid >= max(least, 1)]
    assert listed == ["root", "slurm", "munge", *(f"#{uid}" for uid in range(max(least, 1))), *own]
    assert max(map(len, rendered("sudoers").splitlines())) < 200, "a person reads it"


def test_the_uid_of_slurms_user_is_refused_by_number(tmp_path):
    conf = tmp_path / "slurm.conf"
    conf.write_text("ClusterName=x\n  slurmuser = 64030 # its own\n#SlurmUser=nobody\n")
    text = rendered("sudoers", more=f"[clusters.third]\nslurm_conf = '{conf}'")
    assert "root, slurm, munge, #0, #1, #2, #1001, #64030\n" in text


AS_NAMES = [
    ("ALL", r"\x41LL"),  # bare, it is everybody
    ("HPC", r"\x48PC"),  # bare, it is an alias
    ("Defaults", r"\x44efaults"),
    ("domain users", r"domain\ users"),
    ("DOM\\user", r"\x44OM\\user"),
    ("jänner", "jänner"),
]
"""Names with the words by which sudo 1.9.16 takes them for that one user or group."""


def test_no_listed_name_becomes_a_keyword_of_sudo():
    lists = "[login]\nallowed_users = ['ALL', 'DOM\\alice']\nallowed_groups = ['domain users', 'ALL']"
    runas = lines(rendered("sudoers", more=lists))[-1]
    assert runas.startswith(
        r"jupyterhub ALL=(\x41LL, \x44OM\\alice, %domain\ users, %\x41LL, !FLATIRONS_SYSTEM)"
    )


@pytest.mark.parametrize("run_as", ["root", "self"])
def test_a_site_that_uses_no_sudo_has_no_sudo_rules(run_as):
    with pytest.raises(SiteError, match="needs no sudo rules"):
        rendered("sudoers", hub=f"run_as = '{run_as}'")


def test_the_hub_runs_as_its_account_with_the_right_to_check_passwords():
    unit = lines(rendered("hub.service"))
    assert "ExecStart=/opt/bin/flatirons hub --site /etc/flatirons/site.toml" in unit
    assert "User=jupyterhub" in unit
    assert "SupplementaryGroups=shadow" in unit
    assert "StateDirectory=flatirons" in unit
    assert "NoNewPrivileges=yes" not in unit  # sudo must work
    assert not [line for line in unit if line.startswith("UMask")]  # notebooks would inherit it


def test_a_machine_without_a_shadow_group_gets_no_line_for_it():
    assert "SupplementaryGroups" not in rendered("hub.service", has_shadow_group=False)


def test_a_hub_as_root_is_root_and_needs_no_group():
    unit = lines(rendered("hub.service", hub="run_as = 'root'"))
    assert "User=root" in unit
    assert "SupplementaryGroups=shadow" not in unit


def test_a_hub_that_needs_no_setuid_program_may_run_none():
    text = rendered("hub.service", hub="run_as = 'self'", more="[login]\nauthenticator = 'github'")
    assert "NoNewPrivileges=yes" in lines(text)


def test_the_proxy_has_its_own_unit():
    unit = lines(rendered("proxy.service"))
    assert "ExecStart=/opt/bin/flatirons proxy --site /etc/flatirons/site.toml" in unit
    assert "ProtectSystem=strict" in unit
    assert not [line for line in unit if "CAP_NET_BIND_SERVICE" in line]


def test_a_proxy_on_a_low_port_may_bind_it():
    unit = lines(rendered("proxy.service", more="[proxy]\npublic = 'http://0.0.0.0:80'"))
    assert "AmbientCapabilities=CAP_NET_BIND_SERVICE" in unit


def test_a_proxy_that_the_hub_starts_has_no_unit():
    with pytest.raises(SiteError, match="no unit of its own"):
        rendered("proxy.service", more="[proxy]\nrun = 'hub'")
    assert "flatirons-proxy" not in rendered("hub.service", more="[proxy]\nrun = 'hub'")


def test_a_state_directory_elsewhere_is_made_writable():
    text = rendered("proxy.service", hub="state_dir = '/srv/my hub'")
    assert 'ReadWritePaths="/srv/my hub"' in text
    assert "StateDirectory" not in text


@pytest.mark.parametrize("kind", RENDERED_FILES)
def test_every_file_ends_with_a_line_break(kind):
    assert rendered(kind).endswith("\n")


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("alice", "alice"), ("a@b", r"a\@b"), ("/opt/a b/*", r"/opt/a\ b/\*"), ("a,ALL", r"a\,ALL"), *AS_NAMES],
)
def test_a_word_is_escaped_for_sudo(text, escaped):
    assert escape_for_sudo(text) == escaped


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("/a/b-c", "/a/b-c"),
        ("/a b", '"/a b"'),
        ("/a%h", '"/a%%h"'),
        ("/$HOME", '"/$$HOME"'),
        ('/"', '"/\\""'),
    ],
)
def test_a_word_is_escaped_for_systemd(text, escaped):
    assert escape_for_systemd(text) == escaped
