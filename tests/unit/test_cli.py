"""The command `flatirons`: what it prints, and that a mistake is a sentence with exit code 2."""

import json

import pytest

from flatirons.cli import main

SMALL = """
[hub]
address = "http://hub.example.invalid:8081"
state_dir = "{state}"
[clusters.summit]
[environments.python]
image = "/srv/images/base.sif"
"""


@pytest.fixture
def site(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text(SMALL.format(state=tmp_path / "state"), encoding="utf-8")
    return path


def test_a_good_site_is_said_to_be_one(site, capsys):
    assert main(["check", "--site", str(site)]) == 0
    assert "no mistake found; 1 cluster(s), 1 environment(s)" in capsys.readouterr().out


def test_what_this_machine_lacks_is_a_warning_and_no_mistake(site, capsys):
    lacking = 'slurm_conf = "/no/slurm.conf"\nbin_dir = "/no/bin"\n[environments.python]'
    site.write_text(
        site.read_text(encoding="utf-8").replace("[environments.python]", lacking), encoding="utf-8"
    )
    assert main(["check", "--site", str(site)]) == 0
    warnings = capsys.readouterr().err
    assert "warning: clusters.summit.slurm_conf: /no/slurm.conf can't be read here" in warnings
    assert "warning: clusters.summit.bin_dir: /no/bin/sbatch, /no/bin/scancel" in warnings
    assert "warning: hub.address: hub.example.invalid is no host name" in warnings


def test_an_address_that_no_node_reaches_is_warned_of(site, capsys):
    text = site.read_text(encoding="utf-8").replace("hub.example.invalid", "localhost")
    site.write_text(text, encoding="utf-8")
    main(["check", "--site", str(site)])
    assert "which no compute node reaches" in capsys.readouterr().err


def test_every_mistake_has_a_line_of_its_own_on_stderr(site, capsys):
    site.write_text("[hub]\nadress = 1\n", encoding="utf-8")
    assert main(["check", "--site", str(site)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[0] == "flatirons: hub.adress: unknown key; did you mean 'address'?"
    assert len(captured.err.splitlines()) == 4


@pytest.mark.parametrize("command", [["check"], ["hub"], ["proxy"], ["render", "sudoers"]])
def test_a_missing_file_is_one_sentence_for_every_command(command, tmp_path, capsys):
    assert main([*command, "--site", str(tmp_path / "no.toml")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_rules_are_rendered_with_the_site_files_own_path(site, capsys):
    assert main(["render", "sudoers", "--site", str(site)]) == 0
    assert f"--site {site}" in capsys.readouterr().out


def test_a_file_that_the_site_has_no_use_for_is_refused(site, capsys):
    site.write_text(site.read_text(encoding="utf-8") + "[proxy]\nrun = 'hub'\n", encoding="utf-8")
    assert main(["render", "proxy.service", "--site", str(site)]) == 2
    assert capsys.readouterr().err.startswith("flatirons: proxy.run: ")


def test_a_missing_proxy_program_is_a_sentence(site, capsys):
    site.write_text(site.read_text(encoding="utf-8") + "[proxy]\ncommand = ['/no/chp']\n", encoding="utf-8")
    assert main(["proxy", "--site", str(site)]) == 2
    assert "/no/chp can't be run" in capsys.readouterr().err


def test_a_hub_without_its_state_directory_is_a_sentence(site, capsys):
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
