"""What a site becomes in JupyterHub: its real options, and a real hub that is killed and starts again."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import stat
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from jinja2 import ChoiceLoader, FileSystemLoader, PrefixLoader
from jinja2 import Environment as JinjaEnvironment
from jupyterhub.app import JupyterHub
from jupyterhub.auth import PAMAuthenticator
from jupyterhub.metrics import PeriodicMetricsCollector
from jupyterhub.proxy import ConfigurableHTTPProxy
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from traitlets.config import Config

from flatirons.environments.catalogue import Environment
from flatirons.errors import SiteError
from flatirons.hub.configure import PROXY_ROUTES, TEMPLATES, configure
from flatirons.hub.handlers.connect import SETTINGS_KEY, ConnectSettings
from flatirons.hub.launch import build_proxy_argv
from flatirons.hub.state_directory import ensure_secret, prepare, prepare_database
from flatirons.site.load import parse
from flatirons.slurm.model import Cluster
from flatirons.spawners.slurm import SlurmSpawner

SMALL = """
[hub]
address = "http://127.0.0.1:8081"
state_dir = "{state}"
{hub}
[clusters.summit]
slurm_conf = "/etc/slurm/summit/slurm.conf"
[environments.python]
image = "/srv/images/base.sif"
{more}
"""


@pytest.fixture
def configured(tmp_path):
    """Makes the configuration of the small site with additional lines."""

    def make(hub: str = "", more: str = "") -> Config:
        c = Config()
        configure(c, parse(SMALL.format(state=tmp_path / "state", hub=hub, more=more)))
        return c

    return make


def test_every_option_that_is_set_exists_in_jupyterhub(configured):
    c = configured()
    known = {
        "JupyterHub": JupyterHub,
        "ConfigurableHTTPProxy": ConfigurableHTTPProxy,
        "Authenticator": PAMAuthenticator,
        "PAMAuthenticator": PAMAuthenticator,
        "LocalAuthenticator": PAMAuthenticator,
        "Spawner": SlurmSpawner,
        "SlurmSpawner": SlurmSpawner,
        "PeriodicMetricsCollector": PeriodicMetricsCollector,
    }
    for section, options in c.items():
        for option in options:
            assert known[section].class_traits(config=True).get(option), f"{section}.{option}"


def test_servers_and_proxy_outlive_the_hub(configured):
    c = configured()
    assert c.JupyterHub.cleanup_servers is False
    assert c.JupyterHub.cleanup_proxy is False
    assert c.ConfigurableHTTPProxy.should_start is False


def test_a_proxy_that_the_hub_starts_ends_with_it(configured):
    c = configured(more="[proxy]\nrun = 'hub'")
    assert c.ConfigurableHTTPProxy.should_start is True
    assert c.JupyterHub.cleanup_proxy is True
    assert c.JupyterHub.cleanup_servers is False


def test_servers_in_the_queue_do_not_keep_others_from_starting(configured):
    assert configured().JupyterHub.concurrent_spawn_limit == 0


@pytest.mark.parametrize(
    ("value", "allowed", "limit"), [("3", True, 3), ("true", True, 0), ("false", False, 0), ("0", False, 0)]
)
def test_named_servers_are_a_number_or_any_number_or_none(configured, value, allowed, limit):
    hub = configured(hub=f"named_servers = {value}").JupyterHub
    assert (hub.allow_named_servers, hub.named_server_limit_per_user) == (allowed, limit)


def test_the_hub_listens_on_its_address_unless_listen_is_set(configured):
    assert configured().JupyterHub.hub_bind_url == "http://127.0.0.1:8081"
    hub = configured(hub="listen = 'http://0.0.0.0:9000'").JupyterHub
    assert (hub.hub_bind_url, hub.hub_connect_url) == ("http://0.0.0.0:9000", "http://127.0.0.1:8081")


def test_the_spawner_knows_clusters_environments_and_limits(configured):
    c = configured(more="[servers]\nports = '30000-31000'\nqueue_timeout = '2h'\n[parallel]\nqos = 'debug'")
    assert c.SlurmSpawner.clusters["summit"]["slurm_conf"] == "/etc/slurm/summit/slurm.conf"
    assert c.SlurmSpawner.environments["python"]["image"] == "/srv/images/base.sif"
    assert c.SlurmSpawner.port_range == [30000, 31000]
    assert c.SlurmSpawner.queue_timeout == 7200
    assert c.SlurmSpawner.parallel == {"qos": "debug"}
    assert c.SlurmSpawner.check_address is True
    assert configured(more="[servers]\ncheck_address = false").SlurmSpawner.check_address is False


def test_the_spawner_can_read_its_clusters_and_environments(configured):
    c = configured(
        more="[containers]\nbinds = ['/scratch']\n[environments.modules]\nprologue = 'module load x'"
    )
    cluster = Cluster(name="summit", **c.SlurmSpawner.clusters["summit"])
    assert cluster.environment() == {"SLURM_CONF": "/etc/slurm/summit/slurm.conf"}
    environments = c.SlurmSpawner.environments.items()
    words = [Environment.from_dict(name, settings).argv(["x"]) for name, settings in environments]
    assert words == [["apptainer", "exec", "--bind", "/scratch", "/srv/images/base.sif", "x"], ["x"]]


def test_the_form_checks_the_options_of_the_spawner(configured):
    c = configured()
    assert callable(c.SlurmSpawner.options_form)
    assert callable(c.SlurmSpawner.apply_user_options)


def test_with_another_authenticator_nobody_may_log_in_by_default(configured):
    c = configured(more="[login]\nauthenticator = 'dummy'")
    assert c.Authenticator.allow_all is False
    assert "PAMAuthenticator" not in c


def test_extra_config_overrides_what_the_site_sets(configured, tmp_path):
    extra = tmp_path / "extra.py"
    extra.write_text("c.JupyterHub.named_server_limit_per_user = len(site.clusters)\n", encoding="utf-8")
    c = configured(hub=f"extra_config = '{extra}'")
    assert c.JupyterHub.named_server_limit_per_user == 1


@pytest.mark.parametrize("text", ["c.JupyterHub.(", None])
def test_an_extra_config_that_cannot_be_read_is_named_by_its_key(configured, tmp_path, text):
    extra = tmp_path / "extra.py"
    if text:
        extra.write_text(text, encoding="utf-8")
    with pytest.raises(SiteError) as caught:
        configured(hub=f"extra_config = '{extra}'")
    assert caught.value.problems[0][0] == "hub.extra_config"


def test_secrets_are_in_a_file_and_a_directory_that_only_the_account_can_read(configured, tmp_path):
    token = configured().ConfigurableHTTPProxy.auth_token
    path = tmp_path / "state" / "proxy_token"
    assert len(token) == 64
    assert path.read_text(encoding="ascii").strip() == token
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_secret_is_made_once(tmp_path):
    assert ensure_secret(tmp_path / "token") == ensure_secret(tmp_path / "token")
    assert [path.name for path in tmp_path.iterdir()] == ["token"]


def test_the_hubs_own_database_gets_write_ahead_logging_and_keeps_its_content(tmp_path):
    path = tmp_path / "jupyterhub.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.execute("CREATE TABLE kept (x)")
    assert prepare_database(path) == f"sqlite:///{path}"
    with contextlib.closing(sqlite3.connect(path)) as found:
        assert found.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert found.execute("SELECT name FROM sqlite_master").fetchone() == ("kept",)


def test_a_database_that_cannot_be_opened_is_an_error_with_its_key(tmp_path):
    with pytest.raises(SiteError, match=r"hub\.state_dir: the hub's database .* can't be opened"):
        prepare_database(tmp_path / "no" / "jupyterhub.sqlite")


@pytest.mark.parametrize("scheme", ["sqlite:///", "sqlite+pysqlite:///"])
def test_a_database_file_elsewhere_becomes_private_with_its_journals(configured, tmp_path, scheme):
    path = tmp_path / "elsewhere.sqlite"
    for name in (path, tmp_path / "elsewhere.sqlite-wal"):
        name.touch()
        name.chmod(0o664)
    url = f"{scheme}{path}"
    assert configured(hub=f"database = '{url}'").JupyterHub.db_url == url
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("elsewhere*")}
    assert modes == {"elsewhere.sqlite": 0o600, "elsewhere.sqlite-wal": 0o600}


@pytest.mark.parametrize(
    "url", ["postgresql://db.example.org/hub", "sqlite://", "sqlite:////no/such.sqlite", "x"]
)
def test_another_database_is_left_to_jupyterhub(configured, url):
    assert configured(hub=f"database = '{url}'").JupyterHub.db_url == url


def test_a_state_directory_that_cannot_be_made_is_named_by_its_key(tmp_path):
    with pytest.raises(SiteError, match=r"hub\.state_dir: .* can't be made"):
        prepare(str(tmp_path / "no" / "state"))


def test_the_proxy_forwards_to_the_hub_until_it_has_routes(tmp_path):
    argv = build_proxy_argv(parse(SMALL.format(state=tmp_path, hub="base_url = '/j/'", more="")))
    assert argv[0].endswith("configurable-http-proxy")
    assert "--default-target=http://127.0.0.1:8081" in argv
    assert "--error-target=http://127.0.0.1:8081/j/hub/error" in argv
    assert not [word for word in argv if "token" in word]


@pytest.mark.parametrize("secure", [False, True])
def test_with_internal_tls_the_proxy_is_given_our_routes_whoever_starts_it(configured, tmp_path, secure):
    text = SMALL.format(state=tmp_path, hub="internal_tls = true" if secure else "", more="")
    text = text.replace('"http://', '"https://') if secure else text
    if secure:
        text += "\n[proxy]\napi = 'https://127.0.0.1:8001'\n"
    site, c = parse(text), Config()
    configure(c, site)
    wanted = [f"--storage-backend={PROXY_ROUTES}"] if secure else []
    for command in (build_proxy_argv(site), c.ConfigurableHTTPProxy.command):
        assert [word for word in command if "storage" in word] == wanted
    assert (c.WatchedProxy.get("checks_servers", False), PROXY_ROUTES.is_file()) == (secure, True)


def test_a_proxy_next_to_our_python_is_found_without_path(configured, tmp_path, monkeypatch):
    program = tmp_path / "chp"
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    c = configured(more="[proxy]\ncommand = ['chp', '--insecure']")
    assert c.ConfigurableHTTPProxy.command == [str(program), "--insecure"]


def test_the_pending_page_cancels_the_server_that_it_shows():
    theirs = Path(JupyterHub().template_paths[0])
    prefixed = PrefixLoader({"templates": FileSystemLoader(theirs)})
    loader = ChoiceLoader([prefixed, FileSystemLoader([TEMPLATES, theirs])])
    page = JinjaEnvironment(loader=loader, autoescape=True).get_template("spawn_pending.html")
    what = SimpleNamespace(name="second", options_form="")
    who = SimpleNamespace(name="alice", spawner=what)
    url = "/hub/api/users/alice/servers/second/progress"
    html = page.render(
        user=who, spawner=what, progress_url=url, base_url="/hub/", static_url=lambda *path, **options: ""
    )
    assert 'action="/hub/flatirons/start/alice/second"' in html
    assert f'data-stream="{url}"' in html, "JupyterHub's events, for a spawner of another kind"


class Routes(RequestHandler):
    """The part of the proxy's API that a hub needs to start."""

    def prepare(self) -> None:
        assert self.request.headers["Authorization"].startswith("token ")

    def get(self, path: str) -> None:
        self.write(self.application.settings["routes"])  # as JSON

    def post(self, path: str) -> None:
        self.application.settings["routes"][path or "/"] = json.loads(self.request.body)
        self.set_status(201)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@asynccontextmanager
async def proxy(routes: dict):
    server = HTTPServer(Application([(r"/api/routes(.*)", Routes)], routes=routes))
    port = free_port()
    server.listen(port, "127.0.0.1")
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
        await server.close_all_connections()


@asynccontextmanager
async def hub(site_file):
    """A hub process that has started; it is killed at the end if it still runs."""
    argv = [sys.executable, "-m", "flatirons.cli", "hub", "--site", str(site_file)]
    pipe = asyncio.subprocess.PIPE
    path = os.pathsep.join(part for part in sys.path if part)
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdout=pipe,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": path},
        umask=0,  # as bad as it can be
    )
    lines = []
    try:
        assert process.stdout
        async for line in process.stdout:
            lines.append(line.decode())
            if b"JupyterHub is now running" in line:
                break
        else:
            pytest.fail("".join(lines))
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def assert_private(state):
    """Nobody but the owner has a right on anything in the state directory, and the journals are there."""
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in state.rglob("*")}
    assert {"jupyterhub.sqlite", "jupyterhub.sqlite-wal", "cookie_secret", "proxy_token"} <= set(found)
    assert not {name: oct(mode) for name, mode in found.items() if mode & 0o077}


@pytest.fixture
def site_file(tmp_path):
    def write(port: int, api: str):
        text = SMALL.format(
            state=tmp_path / "state", hub="run_as = 'self'\naccount = 'root'", more=f"[proxy]\napi = '{api}'"
        )
        path = tmp_path / "site.toml"
        path.write_text(text.replace("127.0.0.1:8081", f"127.0.0.1:{port}"), encoding="utf-8")
        return path

    return write


async def test_a_real_hub_starts_from_a_site_file_and_comes_back_after_a_kill(site_file, tmp_path):
    port, routes = free_port(), {}
    health = f"http://127.0.0.1:{port}/hub/health"
    async with proxy(routes) as api:
        path = site_file(port, api)
        async with hub(path) as first:
            answer = await AsyncHTTPClient().fetch(health)
            assert answer.code == 200
            assert_private(tmp_path / "state")
            first.kill()
        cookie_secret = (tmp_path / "state" / "cookie_secret").read_bytes()
        (tmp_path / "state" / "jupyterhub.sqlite").chmod(0o644)  # as an earlier release made it
        async with hub(path) as second:
            assert (await AsyncHTTPClient().fetch(health)).code == 200
            assert_private(tmp_path / "state")
            second.send_signal(signal.SIGTERM)
            rest, _ = await second.communicate()
    assert "Leaving single-user servers running" in rest.decode()
    assert second.returncode == 0
    assert (tmp_path / "state" / "cookie_secret").read_bytes() == cookie_secret
    assert routes["/"]["target"] == f"http://127.0.0.1:{port}"


def test_the_site_limits_the_tokens_of_the_page_about_connections(configured):
    lines = '[connect]\nlongest_token = "7d"\nssh_jump = "login.example.org"'
    settings = configured(more=lines).JupyterHub.tornado_settings
    assert settings[SETTINGS_KEY] == ConnectSettings(7 * 86400, "login.example.org", ssh_to_nodes=False)
    assert configured().JupyterHub.tornado_settings[SETTINGS_KEY] == ConnectSettings()
