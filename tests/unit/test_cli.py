"""The command `flatirons`: what it prints, and that a mistake is one sentence and exit code 2."""

import json

import pytest

from flatirons.cli import main
from flatirons.site import path

SMALL = """
[hub]
address = "http://hub.example.invalid:8081"
state_dir = "{state}"
account = "root"
[clusters.summit]
[environments.python]
image = "/srv/images/base.sif"
"""


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(SMALL.format(state=tmp_path / "state"), encoding="utf-8")
    return path


def test_a_site_without_mistakes_is_reported_as_such(site, capsys):
    assert main(["check", "--site", str(site)]) == 0
    assert "no mistakes found: 1 cluster, 1 environment\n" in capsys.readouterr().out


def test_what_this_machine_lacks_is_a_warning_not_a_mistake(site, capsys):
    lacking = 'slurm_conf = "/no/slurm.conf"\nbin_dir = "/no/bin"\n[environments.python]'
    site.write_text(
        site.read_text(encoding="utf-8").replace("[environments.python]", lacking), encoding="utf-8"
    )
    assert main(["check", "--site", str(site)]) == 0
    warnings = capsys.readouterr().err
    assert "warning: clusters.summit.slurm_conf: /no/slurm.conf can't be read on this machine" in warnings
    assert (
        "warning: clusters.summit.bin_dir: not installed on this machine: /no/bin/sbatch, /no/bin/scancel"
        in warnings
    )
    assert "warning: hub.address: this machine doesn't know the host name hub.example.invalid" in warnings


def test_an_address_that_no_node_can_reach_is_a_warning(site, capsys):
    text = site.read_text(encoding="utf-8").replace("hub.example.invalid", "localhost")
    site.write_text(text, encoding="utf-8")
    main(["check", "--site", str(site)])
    assert "which no compute node can reach" in capsys.readouterr().err


def test_every_mistake_has_its_own_line_on_stderr(site, capsys):
    site.write_text("[hub]\nadress = 1\n", encoding="utf-8")
    assert main(["check", "--site", str(site)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    mistakes = [line for line in captured.err.splitlines() if not line.startswith("flatirons: warning: ")]
    assert mistakes[0] == "flatirons: hub.adress: unknown key; did you mean 'address'?"
    assert len(mistakes) == 4


def test_mistakes_of_every_kind_are_named_at_once(site, capsys):
    """Of the file's structure, between its sections, in the operator's own Python, of the authenticator."""
    text = site.read_text(encoding="utf-8").replace("[hub]", "[hub]\nextra_config = '/no/extra.py'\nlog = 1")
    text += "clusters = ['sumit']\n[login]\nauthenticator = 'pma'\n[presets.small.options]\ncpu = 1\n"
    site.write_text(text, encoding="utf-8")
    assert main(["check", "--site", str(site)]) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if not line.startswith("flatirons: warning: ")]
    assert [line.split(": ")[1] for line in lines] == [
        *("hub.log", "environments.python.clusters", "presets.small.options.cpu"),
        *("hub.extra_config", "login.authenticator"),
    ]
    assert captured.out == ""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("pma", "'pma' can't be imported: No module named 'pma'. Installed are: "),
        ("nobody.home.Authenticator", "can't be imported: No module named 'nobody'"),
        ("broken_authenticator.Mine", "can't be imported: RuntimeError: no key"),
        ("json.JSONDecoder", "is not an authenticator of JupyterHub"),
    ],
)
def test_an_authenticator_that_cannot_be_used_is_a_mistake(site, capsys, tmp_path, monkeypatch, name, why):
    (tmp_path / "broken_authenticator.py").write_text("raise RuntimeError('no key')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    text = site.read_text(encoding="utf-8") + f"[login]\nauthenticator = '{name}'\n"
    site.write_text(text, encoding="utf-8")
    assert main(["check", "--site", str(site)]) == 2
    captured = capsys.readouterr()
    assert f"flatirons: login.authenticator: '{name}'" in captured.err
    assert why in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("name", ["dummy", "jupyterhub.auth.DummyAuthenticator"])
def test_an_authenticator_may_be_a_registered_name_or_a_class(site, name):
    text = site.read_text(encoding="utf-8") + f"[login]\nauthenticator = '{name}'\n"
    site.write_text(text, encoding="utf-8")
    assert main(["check", "--site", str(site)]) == 0


def test_the_site_option_overrides_the_variable_which_overrides_the_usual_place(
    site, tmp_path, monkeypatch, capsys
):
    usual = tmp_path / "usual.toml"
    monkeypatch.setattr(path, "USUAL", str(usual))
    monkeypatch.delenv("FLATIRONS_SITE", raising=False)
    assert main(["check"]) == 2
    missing = capsys.readouterr().err
    assert missing == (
        f"flatirons: {usual}: can't be read: No such file or directory. "
        "Name your site file with --site FILE or in $FLATIRONS_SITE, or put it there.\n"
    )
    usual.write_text(site.read_text(encoding="utf-8"), encoding="utf-8")
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith(f"{usual}: ")
    monkeypatch.setenv("FLATIRONS_SITE", str(tmp_path / "no.toml"))
    assert main(["check"]) == 2
    assert (
        "no.toml: can't be read: No such file or directory ($FLATIRONS_SITE names" in capsys.readouterr().err
    )
    assert main(["check", "--site", str(site)]) == 0
    assert capsys.readouterr().out.startswith(f"{site}: ")


def test_help_says_where_jupyterhubs_own_arguments_go(capsys):
    with pytest.raises(SystemExit):
        main(["hub", "--help"])
    printed = capsys.readouterr().out
    assert "[-- ARG ...]" in printed
    assert "Arguments after -- are JupyterHub's own: flatirons hub -- --debug" in printed


@pytest.mark.parametrize("command", [["check"], ["hub"], ["proxy"], ["render", "sudoers"]])
def test_a_missing_file_gives_one_sentence_for_every_command(command, tmp_path, capsys):
    assert main([*command, "--site", str(tmp_path / "no.toml")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_rules_are_rendered_with_the_site_files_own_path(site, capsys):
    assert main(["render", "sudoers", "--site", str(site)]) == 0
    assert f"--site {site}" in capsys.readouterr().out


def test_a_file_that_the_site_does_not_need_is_refused(site, capsys):
    site.write_text(site.read_text(encoding="utf-8") + "[proxy]\nrun = 'hub'\n", encoding="utf-8")
    assert main(["render", "proxy.service", "--site", str(site)]) == 2
    assert capsys.readouterr().err.startswith("flatirons: proxy.run: ")


def test_a_missing_proxy_program_gives_a_sentence(site, capsys):
    site.write_text(site.read_text(encoding="utf-8") + "[proxy]\ncommand = ['/no/chp']\n", encoding="utf-8")
    assert main(["proxy", "--site", str(site)]) == 2
    assert "/no/chp can't be run" in capsys.readouterr().err


def test_a_hub_without_its_state_directory_gives_a_sentence(site, capsys):
    text = site.read_text(encoding="utf-8").replace("/state", "/no/state")
    site.write_text(text, encoding="utf-8")
    assert main(["hub", "--site", str(site)]) == 2
    assert capsys.readouterr().err.startswith("flatirons: hub.state_dir: ")


def test_the_schema_is_json_and_closed_to_unknown_keys(capsys):
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["additionalProperties"] is False


def test_an_unknown_command_ends_with_2(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["frobnicate"])
    assert ended.value.code == 2
