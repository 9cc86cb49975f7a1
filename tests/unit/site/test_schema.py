"""The keys of site.toml, and the message for each mistake."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flatirons.errors import SiteError
from flatirons.site.load import load, options_form, parse
from flatirons.site.schema import Site
from flatirons.site.value_types import as_duration, seconds
from tests.repository import REPO

SMALL = """
[hub]
address = "http://hub.example.org:8081"
[clusters.summit]
[environments.python]
image = "/srv/images/base.sif"
"""


def problems(text: str) -> dict[str, str]:
    with pytest.raises(SiteError) as caught:
        parse(text)
    return dict(caught.value.problems)


def with_lines(section: str, *lines: str) -> str:
    """The small site with lines in a section, which may be there already."""
    header = f"[{section}]\n"
    added = "".join(f"{line}\n" for line in lines)
    return SMALL.replace(header, header + added) if header in SMALL else SMALL + header + added


def test_six_lines_make_a_site():
    site = parse(SMALL)
    assert site.hub.account == "jupyterhub"
    assert site.servers.queue_timeout == 86400
    assert list(site.clusters) == ["summit"]


def test_users_and_groups_have_the_names_of_any_directory():
    names = ["domain users", "DOM\\hpc team", "Benutzer (HPC)", "änne", "alice@example.org", "ALL", "x$"]
    lists = [f"{key} = {json.dumps(names)}" for key in ("allowed_groups", "admin_users")]
    login = parse(with_lines("login", *lists)).login
    assert login.allowed_groups == login.admin_users == names


def test_options_of_sbatch_are_one_or_several_by_long_or_short_names():
    lines = ['sbatch_memory = "--mem-per-cpu"', 'sbatch_cpus = "-c"', 'sbatch_gpus = ["-G", "-C=gpu"]']
    cluster = parse(with_lines("clusters.summit", *lines)).clusters["summit"]
    assert (cluster.sbatch_memory, cluster.sbatch_cpus) == ("--mem-per-cpu", ["--cpus-per-task"])
    assert cluster.sbatch_gpus == ["--gpus", "--constraint=gpu"]


def test_the_examples_in_the_repository_are_valid_sites():
    assert load(REPO / "deploy" / "site.example.toml").login.admin_users == ["ada"]
    assert list(load(REPO / "cluster" / "demo" / "site.toml").clusters) == ["summit", "blanca"]


@pytest.mark.parametrize(
    ("section", "line", "key", "words"),
    [
        ("hub", "adress = 1", "hub.adress", "did you mean 'address'?"),
        ("hub", "Named_Servers = 1", "hub.Named_Servers", "did you mean 'named_servers'?"),
        ("hub", "zzz = 1", "hub.zzz", "known here: address, listen"),
        ("proxy", "allowed_users = []", "proxy.allowed_users", "belongs to login.allowed_users"),
        ("clusters.summit", "slurmconf = '/a'", "clusters.summit.slurmconf", "did you mean 'slurm_conf'?"),
        ("environments.python", "imag = '/a'", "environments.python.imag", "did you mean 'image'?"),
        ("form.cpus", "max = 3", "form.cpus.max", "unknown key"),
        ("form.cpu", "maximum = 3", "form.cpu", "did you mean 'cpus'?"),
        ("hbu", "", "hbu", "did you mean 'hub'?"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_one_suggested(section, line, key, words):
    assert words in problems(with_lines(section, line))[key]


@pytest.mark.parametrize(
    ("section", "line", "key", "words"),
    [
        ("hub", "account = 5", "hub.account", "text in quotes is expected, not 5"),
        ("hub", "account = '-x'", "hub.account", "the name of a user or group"),
        ("hub", "state_dir = 'state'", "hub.state_dir", "an absolute path is expected"),
        ("hub", "base_url = '/jupyter'", "hub.base_url", 'begins and ends with "/"'),
        (
            "hub",
            "run_as = 'su'",
            "hub.run_as",
            "'ssh' or 'self' is expected, not 'su'",
        ),
        ("connect", "ssh_to_nodes = true", "connect", "ssh_jump"),
        ("connect", "ssh_jump = '-oProxyCommand=x'", "connect.ssh_jump", "host name"),
        ("hub", "run_as = 'ssh'", "hub", "ssh_host"),
        ("hub", "named_servers = -1", "hub.named_servers", "at least 0, true or false"),
        ("hub", "listen = 'http://0.0.0.0'", "hub.listen", "with a port"),
        ("proxy", "public = '0.0.0.0:8000'", "proxy.public", "a URL such as"),
        ("proxy", "public = 'http://a:8000/x'", "proxy.public", "nothing behind host and port"),
        ("proxy", "api = 'http://a:99999'", "proxy.api", "a URL such as"),
        ("proxy", "api = 'http://a b:8001'", "proxy.api", "a URL such as"),
        ("proxy", "api = 'http://me:pw@a:8001'", "proxy.api", "a URL such as"),
        ("proxy", "command = []", "proxy.command", "at least one entry"),
        ("proxy", "command = 'chp'", "proxy.command", "a list is expected"),
        ("login", "allowed_users = [' b']", "login.allowed_users[0]", "the name of a user"),
        ("login", "allowed_groups = ['#0']", "login.allowed_groups[0]", "the name of a user or group"),
        ("login", "admin_groups = ['%wheel']", "login.admin_groups[0]", "the name of a user or group"),
        ("login", "blocked_users = ['a:b']", "login.blocked_users[0]", "the name of a user or group"),
        ("login", "allow_all = 'yes'", "login.allow_all", "true or false is expected, not 'yes'"),
        ("login", "authenticator = 'a b'", "login.authenticator", "a class such as"),
        ("clusters.summit", "sbatch_memory = '--mem=4G'", "clusters.summit.sbatch_memory", '"--mem-per-cpu"'),
        ("clusters.summit", "sbatch_gpus = 5", "clusters.summit.sbatch_gpus", "or a list of them"),
        ("clusters.summit", "sbatch_gpus = ['--gpu']", "clusters.summit.sbatch_gpus", "not '--gpu'"),
        ("clusters.'a b'", "", 'clusters."a b"', "letters, digits"),
        ("containers", "binds = ['a:b']", "containers.binds[0]", "must be absolute"),
        ("environments.x", "image = 'base.sif'", "environments.x", "an absolute path or a"),
        ("environments.x", "nv = true", "environments.x.nv", "of no use without an image"),
        ("environments.python", "nv = 'yes'", "environments.python.nv", "true or false"),
        ("servers", "queue_timeout = 30", "servers.queue_timeout", "a time such as"),
        ("servers", "ports = '1-2'", "servers.ports", "a range such as"),
        ("servers", "ports = '31000-30000'", "servers.ports", "a range such as"),
        ("parallel", "runtime = '2:00'", "parallel.runtime", "could mean hours or minutes"),
        ("form.cpus", "maximum = -3", "form.cpus.maximum", "at least 0"),
        ("form.memory", "default = '4 horses'", "form.memory.default", "an amount of memory"),
        ("form.runtime", "maximum = 90", "form.runtime.maximum", "a time such as"),
        ("form.gpus", "default = 'many'", "form.gpus", '"v100:2"'),
        ("form.partition", "choices = []", "form.partition.choices", "a list of texts, or a table"),
        ("form.partition", "choices = ['a', 'a']", "form.partition.choices", "listed twice"),
        ("form.cluster", "choices = ['frontier']", "form.cluster", "'frontier' is none of summit"),
        ("form.environment", "default = 'r'", "form.environment", "'r' is none of python"),
    ],
)
def test_a_bad_value_is_named_by_its_key_with_what_was_expected(section, line, key, words):
    assert words in problems(with_lines(section, line))[key]


def test_a_missing_section_or_key_is_named():
    assert problems("[hub]\n[clusters.a]\n[environments.b]\n") == {"hub.address": "is missing"}
    assert problems("[hub]\naddress = 'http://a:1'\n") == {
        "clusters": "is missing",
        "environments": "is missing",
    }


def test_all_mistakes_are_reported_in_the_order_of_the_file():
    text = "[servers]\nports = 1\n[hub]\nlog_level = 'loud'\nbase_url = 'x'\naddress = 'y'\n"
    keys = list(problems(text + "[clusters.a]\n[environments.b]\n"))
    assert keys == ["servers.ports", "hub.log_level", "hub.base_url", "hub.address"]


def test_internal_tls_needs_https_addresses():
    secure = SMALL.replace("[hub]\n", "[hub]\ninternal_tls = true\n")
    assert set(problems(secure)) == {"hub.address", "proxy.api"}
    assert set(problems(SMALL.replace("http://hub", "https://hub"))) == {"hub.address"}
    parse(secure.replace("http://hub", "https://hub") + "[proxy]\napi = 'https://127.0.0.1:8001'\n")


def test_bounds_in_the_wrong_order_are_refused():
    text = with_lines("form.runtime", "default = '2d'", "maximum = '12h'")
    assert problems(text) == {"form.runtime": "default is larger than maximum"}


def test_a_default_that_isnt_a_choice_is_refused():
    text = with_lines("form.qos", "choices = ['normal']", "default = 'long'")
    assert problems(text) == {"form.qos": "the default 'long' isn't one of the choices"}


def test_a_file_that_isnt_toml_is_reported_with_the_line():
    assert "line 2" in problems('[hub]\nname "x"\n')[""]


def test_a_file_that_cannot_be_read_is_reported(tmp_path):
    with pytest.raises(SiteError, match="No such file"):
        load(tmp_path / "site.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(SiteError, match="UTF-8"):
        load(tmp_path / "latin.toml")


def test_with_pam_everybody_is_allowed_unless_users_are_listed():
    assert parse(SMALL).login.everybody
    assert not parse(with_lines("login", "allowed_groups = ['hpc']")).login.everybody
    assert not parse(with_lines("login", "authenticator = 'github'")).login.everybody


def test_groups_are_refused_without_pam():
    text = with_lines("login", "authenticator = 'github'", "allowed_groups = ['hpc']")
    assert "Unix groups" in problems(text)["login"]


def test_common_binds_come_before_an_environments_own():
    text = with_lines("environments.python", "binds = ['/data']") + "[containers]\nbinds = ['/scratch']\n"
    assert parse(text).environment_settings()["python"]["binds"] == ["/scratch", "/data"]


def test_an_environment_without_an_image_gets_no_binds():
    text = (
        with_lines("environments.modules", "prologue = 'module load conda'")
        + "[containers]\nbinds = ['/a']\n"
    )
    settings = parse(text).environment_settings()["modules"]
    assert (settings["kind"], settings["binds"]) == ("none", [])


def test_the_form_offers_the_clusters_environments_and_choices_of_the_file():
    text = with_lines("form.partition", "choices = { shas = 'Haswell', sknl = 'KNL' }", "label = 'Where'")
    form = options_form(parse(text))
    assert form.fields["partition"].label == "Where"
    choices = form.fields["partition"].choices(rights=None)
    assert [(choice.value, choice.label) for choice in choices] == [("shas", "Haswell"), ("sknl", "KNL")]


def test_a_hidden_field_is_not_visible():
    form = options_form(parse(with_lines("form.qos", "hidden = true", "default = 'normal'")))
    assert form.fields["qos"].visible is False


def test_only_the_given_defaults_for_engines_are_passed_on():
    assert parse(with_lines("parallel", "runtime = '90m'", "nodes = 2")).parallel.settings() == {
        "runtime": "90m",
        "nodes": 2,
    }


def test_the_schema_shows_defaults_as_they_are_written_in_a_file():
    servers = Site.model_json_schema()["$defs"]["ServersSection"]["properties"]
    assert servers["queue_timeout"]["default"] == "1d"


def test_every_key_is_described():
    for name, definition in Site.model_json_schema()["$defs"].items():
        for key, facts in definition["properties"].items():
            assert facts.get("description"), f"{name}.{key}"


@given(st.integers(min_value=1, max_value=10**8))
def test_a_duration_is_read_as_it_is_written(total):
    assert seconds(as_duration(total)) == total


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        assert seconds(text) > 0


toml_values = st.one_of(
    st.integers(), st.booleans(), st.text(max_size=20), st.just([]), st.just([1]), st.just({})
)


@given(st.sampled_from(sorted(Site.model_fields)), st.text(min_size=1, max_size=15), toml_values)
def test_no_data_makes_anything_but_a_site_error(section, key, value):
    text = json.dumps(value) if not isinstance(value, dict) else "{}"
    name = json.dumps(key, ensure_ascii=True)
    try:
        parse(f"[{section}]\n{name} = {text}\n")
    except SiteError as error:
        assert error.problems
