"""The starter as it is sent: the whole job script, run by bash, with a fake hub."""

import ast
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flatirons.job.node import kinds, log, ports, starter
from flatirons.job.node.calls import NOT_WANTED
from flatirons.job.script import StarterConfig, kernel_settings, notebook, starter_text
from tests.repository import REPO
from tests.waiting import LIMIT_S, eventually

SERVER = """
import os, sys, socket, time, urllib.parse
url = urllib.parse.urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
{before}
try:
    listener.bind((url.hostname, url.port))
except OSError as error:
    sys.exit(f"port in use: {{error}}")
listener.listen()
{after}
"""
# a stranger (no descendant: its parent ended) takes the port just before the server binds it, once
STRANGER = """
if not os.path.exists("stranger.pid"):
    if os.fork() == 0:
        parent = os.getpid()
        if os.fork() == 0:
            os.setsid()
            while os.getppid() == parent:  # until that has ended it is a descendant of the starter
                time.sleep(0.001)
            listener.close()  # the server has it as well
            own = socket.socket()
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # else it couldn't
            own.bind((url.hostname, url.port))
            own.listen()
            open("stranger.new", "w").write(f"{os.getpid()} {url.port}")
            os.rename("stranger.new", "stranger.pid")
            time.sleep(60)
        os._exit(0)
    while not os.path.exists("stranger.pid"):
        time.sleep(0.01)
"""


class PlayedHub(ThreadingHTTPServer):
    """Answers a starter. `calls` holds the accepted calls; `refuse` is a status by call name; the first
    answers have the statuses in `away`, where 0 is an answer that is cut off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.calls: list[tuple[str, dict[str, Any], str]] = []
        self.refuse: dict[str, int] = {}
        self.refused: list[str] = []  # the names of the calls that were
        self.away: list[int] = []
        self.before_end: Callable[[], None] = lambda: None  # called when the call `end` has come
        self.before_usage: Callable[[], object] = lambda: None
        self.addresses: list[str] | None = None  # of the node, as a hub of this version sends them
        self.came = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/hub/api"

    def names(self) -> list[str]:
        return [name for name, _, _ in self.calls]

    def body(self, name: str) -> dict[str, Any]:
        return next(body for called, body, _ in self.calls if called == name)

    def wait_for(self, name: str) -> dict[str, Any]:
        with self.came:
            assert self.came.wait_for(lambda: name in self.names(), LIMIT_S), self.calls
        return self.body(name)


class Answer(BaseHTTPRequestHandler):
    server: PlayedHub

    def do_POST(self) -> None:
        name = self.path.rsplit("/", 1)[1]
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = self.server.refuse.get(name, 200)
        if self.server.away:
            status = self.server.away.pop(0)
        answer = {"environment": {"JUPYTERHUB_API_TOKEN": "t0ken"}, "prefix": "/user/alice/", "tls": None}
        if name == "boot" and "tls" in os.environ.get("PLAYED_HUB", ""):
            answer["tls"] = {"JUPYTERHUB_SSL_KEYFILE": "secret"}
        if self.server.addresses is not None:
            answer["addresses"] = self.server.addresses
        if name == "usage":
            self.server.before_usage()
        if name == "end":
            self.server.before_end()
        payload = json.dumps(answer if name == "boot" else {}).encode()
        self.send_response(status or 200)
        self.send_header("Content-Length", str(len(payload) + (0 if status else 10)))
        self.end_headers()
        self.wfile.write(payload)
        if status == 200:
            with self.server.came:
                self.server.calls.append((name, body, self.headers["Authorization"]))
                self.server.came.notify_all()
        else:
            self.server.refused.append(name)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[PlayedHub]:
    with PlayedHub() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Job:
    """The script, run as by Slurm, in a home of its own."""

    def __init__(self, folder: Path, hub: PlayedHub, home: "Path | None" = None, **config: Any) -> None:
        home = home or folder
        known = {"hub": hub.url, "code": "c" * 30, "hub_deadline": 10.0, **config}
        text = self.script(StarterConfig(**known))
        env = {
            "HOME": str(home),
            "SLURM_JOB_ID": "17",
            "SLURM_CLUSTER_NAME": "summit",
            "PATH": os.environ["PATH"],
            "SLURM_EXPORT_ENV": "NONE",
            "R_HOME": "/node/r",
        }
        self.log = home / ".local/state/flatirons/server-summit-17.log"
        self.process = subprocess.Popen(["bash"], stdin=subprocess.PIPE, env=env, cwd=folder)
        assert self.process.stdin
        self.process.stdin.write(text.encode())
        self.process.stdin.close()

    def script(self, config: StarterConfig) -> str:
        return notebook(config, sys.executable)

    def wait(self) -> int:
        return self.process.wait(LIMIT_S)


def server(before: str = "", after: str = "") -> list[str]:
    return [sys.executable, "-c", SERVER.format(before=before, after=after)]


def test_a_server_boots_is_ready_and_its_end_is_reported(hub: PlayedHub, tmp_path: Path) -> None:
    job = Job(
        tmp_path,
        hub,
        command=server(after="while not listener.accept()[0].recv(1): pass\nprint('bye'); sys.exit(7)"),
    )
    port = hub.wait_for("ready")["port"]
    with socket.create_connection((socket.gethostbyname(url_host()), port), 5) as visitor:
        visitor.sendall(b"!")
        assert job.wait() == 7
    assert hub.names() == ["boot", "ready", "end"]
    end = hub.body("end")
    assert (end["exit_code"], end["signal"], end["log"]) == (7, None, ["bye"])
    boot = hub.body("boot")
    assert boot == {"job_id": 17, "code": "c" * 30, "key": boot["key"]}
    assert all(key == "Bearer " + boot["key"] for _, _, key in hub.calls)


class ImpatientJob(Job):
    """A job whose starter looks at the memory every twentieth of a second."""

    def script(self, config: StarterConfig) -> str:
        return super().script(config).replace("LOOK_SECONDS = 10", "LOOK_SECONDS = 0.05")


def test_the_memory_of_a_running_server_is_told_to_the_hub(hub: PlayedHub, tmp_path: Path) -> None:
    job = ImpatientJob(tmp_path, hub, command=server(after="held = bytearray(80 << 20); time.sleep(60)"))
    used = hub.wait_for("usage")
    job.process.terminate()
    assert job.wait() == 0
    assert set(used) == {"memory_mib"} and 80 < used["memory_mib"] < 200
    assert hub.names() == ["boot", "ready", "usage", "end"], "it is told once: it is steady"
    assert {key for _, _, key in hub.calls} == {"Bearer " + hub.body("boot")["key"]}


def test_a_signal_reaches_the_server_while_the_hub_does_not_answer(hub: PlayedHub, tmp_path: Path) -> None:
    called, may_answer = threading.Event(), threading.Event()
    hub.before_usage = lambda: called.set() or may_answer.wait(LIMIT_S)
    stops = "import signal\nsignal.signal(15, lambda *_: open('stopped', 'w').close() or sys.exit())"
    job = ImpatientJob(tmp_path, hub, command=server(before=stops, after="time.sleep(60)"))
    assert called.wait(LIMIT_S)
    job.process.terminate()
    eventually((tmp_path / "stopped").exists)
    may_answer.set()
    assert job.wait() == 0
    assert hub.body("end")["kind"] == kinds.STOPPED


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_hub_that_does_not_want_to_know_the_memory_does_no_harm(
    hub: PlayedHub, tmp_path: Path, status: int
) -> None:
    hub.refuse["usage"] = status
    job = ImpatientJob(tmp_path, hub, command=server(after="time.sleep(60)"))
    eventually(lambda: "usage" in hub.refused)
    job.process.terminate()
    assert job.wait() == 0
    assert (hub.body("end")["kind"], hub.body("end")["log"]) == (kinds.STOPPED, [])


def test_while_a_starter_reports_the_end_nobody_can_take_the_port_of_its_server(
    hub: PlayedHub, tmp_path: Path
) -> None:
    """The attack of a neighbour who waits for it: the proxy still sends requests there."""
    attempts: list[OSError] = []

    def take_the_port() -> None:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT, socket.SO_KEEPALIVE):
            with socket.socket() as own:
                own.setsockopt(socket.SOL_SOCKET, option, 1)
                try:
                    own.bind((url_host(), hub.body("ready")["port"]))
                except OSError as error:
                    attempts.append(error)

    hub.before_end = take_the_port
    after = "while not listener.accept()[0].recv(1): pass\nos.kill(os.getpid(), 9)"
    job = Job(tmp_path, hub, command=server(after=after))
    with socket.create_connection((url_host(), hub.wait_for("ready")["port"]), 5) as visitor:
        visitor.sendall(b"!")
        assert job.wait() == 137
    assert [error.errno for error in attempts] == [errno.EADDRINUSE] * 3


def test_a_server_listens_on_the_address_that_the_hub_uses(hub: PlayedHub, tmp_path: Path) -> None:
    hub.addresses = ["192.0.2.7"]  # this machine hasn't it: it is behind NAT
    after = "print(os.environ['JUPYTERHUB_SERVICE_URL'], flush=True); time.sleep(60)"
    job = Job(tmp_path, hub, command=server(after=after))
    port = hub.wait_for("ready")["port"]
    job.process.terminate()
    job.wait()
    assert hub.body("end")["log"][0] == f"http://0.0.0.0:{port}/user/alice/"


def url_host() -> str:
    """The address on which the starter listens on this machine."""
    try:
        address = socket.gethostbyname(socket.gethostname())
    except OSError:
        return "127.0.0.1"
    return "127.0.0.1" if address.startswith("127.") else address


def test_a_port_taken_by_a_stranger_is_never_reported_and_another_is_taken(
    hub: PlayedHub, tmp_path: Path
) -> None:
    job = Job(tmp_path, hub, command=server(before=STRANGER, after="time.sleep(60)"))
    port = hub.wait_for("ready")["port"]
    pid, stolen = (int(word) for word in (tmp_path / "stranger.pid").read_text().split())
    try:
        assert port != stolen
        assert f"Port {stolen} was taken in the meantime" in job.log.read_text()
    finally:
        os.kill(pid, signal.SIGKILL)
        job.process.terminate()
    assert job.wait() == 0


def two_free_ports() -> int:
    """The first of two adjacent free ports, below the range from which the kernel assigns ports."""
    pairs = (port for port in range(20001, 30000, 2) if ports.is_free("0.0.0.0", port))
    return next(port for port in pairs if ports.is_free("0.0.0.0", port + 1))


def test_only_ports_of_the_range_are_used(hub: PlayedHub, tmp_path: Path) -> None:
    with socket.socket() as taken:
        first = two_free_ports()
        taken.bind(("0.0.0.0", first))
        job = Job(tmp_path, hub, command=server(after="time.sleep(60)"), ports=(first, first + 1))
        assert hub.wait_for("ready")["port"] == first + 1
    job.process.terminate()
    job.wait()


def test_a_full_range_is_reported_in_words(hub: PlayedHub, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        port = taken.getsockname()[1]
        job = Job(tmp_path, hub, command=server(), ports=(port, port))
        assert job.wait() == 1
    end = hub.body("end")
    assert (end["kind"], end["values"]) == (kinds.PORTS_IN_USE, {"first": str(port), "last": str(port)})


def test_a_server_that_dies_at_once_is_reported_with_its_log(hub: PlayedHub, tmp_path: Path) -> None:
    job = Job(tmp_path, hub, command=server(before="sys.exit('no module named jupyterlab')"))
    assert job.wait() == 1
    assert hub.names() == ["boot", "end"]
    assert hub.body("end")["log"] == ["no module named jupyterlab"]


def test_a_missing_image_is_named(hub: PlayedHub, tmp_path: Path) -> None:
    job = Job(tmp_path, hub, command=server(), image="/srv/images/gone.sif")
    assert job.wait() == 1
    end = hub.body("end")
    assert (end["kind"], end["values"]["image"]) == (kinds.IMAGE_MISSING, "/srv/images/gone.sif")
    assert "The image /srv/images/gone.sif doesn't exist on" in end["message"], "for a hub of before"


def test_a_missing_command_is_named(hub: PlayedHub, tmp_path: Path) -> None:
    job = Job(tmp_path, hub, command=["/no/such/apptainer"])
    assert job.wait() == 1
    end = hub.body("end")
    values = {"program": "/no/such/apptainer", "errno": "ENOENT", "error": "No such file or directory"}
    assert (end["kind"], end["values"]) == (kinds.PROGRAM_NOT_STARTED, values)


def test_the_starter_waits_for_a_hub_that_is_away(hub: PlayedHub, tmp_path: Path) -> None:
    hub.away = [
        503,
        0,
        404,
        502,
    ]  # a proxy without a hub, a hub killed at work, a proxy that knows nothing yet
    job = Job(tmp_path, hub, command=server(before="sys.exit(0)"))
    assert job.wait() == 0
    assert hub.names() == ["boot", "end"]


def test_a_home_that_the_node_does_not_have_is_named(hub: PlayedHub, tmp_path: Path) -> None:
    home = tmp_path / "gone"
    home.write_text("a file, so that not even root makes a folder of it")
    job = Job(tmp_path, hub, home=home, command=server())
    assert job.wait() == 1
    end = hub.body("end")
    assert (end["kind"], end["values"]["home"]) == (kinds.HOME_UNREACHABLE, str(home))
    assert "The log is here because of" in end["log"][0]


def test_a_full_home_is_reported_and_the_log_is_kept_elsewhere(hub: PlayedHub, tmp_path: Path) -> None:
    folder = tmp_path / ".local/state/flatirons"
    folder.mkdir(parents=True)
    (folder / "server-summit-17.log").symlink_to("/dev/full")
    job = Job(tmp_path, hub, command=server(before="sys.exit('no room')"))
    assert job.wait() == 1
    told, last = hub.body("end")["log"]
    assert "No space left on device" in told and last == "no room"


def test_with_a_full_home_and_tmp_the_server_starts_without_a_log(hub: PlayedHub, tmp_path: Path) -> None:
    (tmp_path / ".local").write_text("a file, where the folder of the logs should be")
    script = notebook(StarterConfig(hub=hub.url, code="c" * 30, command=["false"]), sys.executable)
    with_no_tmp = "import tempfile\ntempfile.tempdir = '/proc'\n"  # nobody makes a file there
    text = script.replace("CONFIG = ", f"{with_no_tmp}CONFIG = ", 1)
    env = {"HOME": str(tmp_path), "SLURM_JOB_ID": "17", "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash"], input=text, env=env, cwd=tmp_path, text=True, timeout=LIMIT_S)
    assert done.returncode == 1
    assert hub.body("end")["kind"] == kinds.NO_ROOM_FOR_LOG


def test_files_in_the_users_folder_do_not_affect_the_starter(hub: PlayedHub, tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text("raise SystemExit('mistaken for a module of Python')")
    job = Job(tmp_path, hub, command=["true"])
    assert job.wait() == 0


def test_a_signal_that_comes_while_the_server_is_started_still_reaches_it() -> None:
    class Interrupted(starter.Server):
        def start(self, address: str, port: int) -> "subprocess.Popen[bytes]":
            child = super().start(address, port)
            self.on_signal(signal.SIGTERM, None)
            return child

    config: dict[str, Any] = {
        "command": ["sleep", "60"],
        "prologue": "",
        "forgotten": [],
        "environment": {},
        "ports": None,
    }
    config.update(record="", listen=[], kernel_settings="")
    begun = Interrupted(config, {"environment": {}, "prefix": "/"})
    assert begun.listen() is None
    assert begun.child and begun.child.wait() == -signal.SIGTERM


def test_logs_that_another_job_removes_at_the_same_time_cause_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "listdir", lambda _: [f"server-summit-{number}.log" for number in range(30)])
    (tmp_path / "server-summit-3.log").write_text("")
    log.forget_old_logs(str(tmp_path))


def test_a_refused_boot_starts_nothing(hub: PlayedHub, tmp_path: Path) -> None:
    hub.refuse["boot"] = 403
    job = Job(tmp_path, hub, command=["touch", str(tmp_path / "started")])
    assert job.wait() == NOT_WANTED
    assert not (tmp_path / "started").exists()


def test_a_server_that_the_hub_no_longer_wants_is_ended(hub: PlayedHub, tmp_path: Path) -> None:
    hub.refuse["ready"] = 409
    job = Job(tmp_path, hub, command=server(after="time.sleep(60)"))
    assert job.wait() == 0


def test_a_signal_reaches_the_server(hub: PlayedHub, tmp_path: Path) -> None:
    job = Job(tmp_path, hub, command=server(after="time.sleep(60)"))
    hub.wait_for("ready")
    job.process.terminate()
    assert job.wait() == 0, "a stop is no failure"
    assert hub.body("end")["kind"] == kinds.STOPPED


def test_a_server_whose_ready_never_reached_the_hub_is_ended_and_reported_so(
    hub: PlayedHub, tmp_path: Path
) -> None:
    hub.refuse["ready"] = 503
    job = Job(tmp_path, hub, command=server(after="time.sleep(60)"), hub_deadline=0.5)
    assert job.wait() == 0
    end = hub.body("end")
    assert (end["kind"], end["values"]) == (kinds.NOT_REPORTED, {"to": hub.url})


def test_the_prologue_runs_in_the_shell_that_becomes_the_server(hub: PlayedHub, tmp_path: Path) -> None:
    show = "print(os.environ['MODULE'], os.environ.get('SLURM_EXPORT_ENV')); sys.exit(0)"
    job = Job(tmp_path, hub, command=server(before=show), prologue="export MODULE='loaded it'")
    assert job.wait() == 0
    assert hub.body("end")["log"] == ["loaded it None"]


class ProfileJob(Job):
    """A job on a node whose /etc/profile holds `lines`."""

    def __init__(self, folder: Path, hub: PlayedHub, lines: str, **config: Any) -> None:
        self.profile = folder / "profile"
        self.profile.write_text(lines)
        super().__init__(folder, hub, **{"prologue": "true", **config})

    def script(self, config: StarterConfig) -> str:
        return super().script(config).replace(". /etc/profile", f". {self.profile}")


WHERE = "print(os.getcwd(), os.environ.get('PROFILES')); sys.exit(0)"


@pytest.mark.parametrize(
    "lines",
    [
        "cd /",
        "set -eu",
        "IFS=/",
        "cd() { false; }",
        "set -o posix; cd /",
        "cd /; CDPATH=/:.",
        "exec 3>&- 7>&-",
    ],
)
def test_what_a_profile_does_to_its_shell_does_not_reach_the_server(
    hub: PlayedHub, tmp_path: Path, lines: str
) -> None:
    prologue = 'false; : "$UNSET"; path=a/b; for word in $path; do [ $word = a/b ] || exit 9; done'
    job = ProfileJob(
        tmp_path, hub, f"export PROFILES=own\n{lines}\n", command=server(before=WHERE), prologue=prologue
    )
    assert job.wait() == 0
    assert hub.body("end")["log"] == [f"{tmp_path} own"]


def test_a_prologue_may_change_the_servers_directory(hub: PlayedHub, tmp_path: Path) -> None:
    job = ProfileJob(tmp_path, hub, "", command=server(before=WHERE), prologue="cd /usr")
    assert job.wait() == 0
    assert hub.body("end")["log"] == ["/usr None"]


@pytest.mark.parametrize(
    ("profile", "prologue", "kind", "status"),
    [
        ("exit 0", "true", kinds.PROFILE_ENDED, "exit code 0"),
        ("exit 3", "true", kinds.PROFILE_ENDED, "exit code 3"),
        ("set -e; false", "true", kinds.PROFILE_ENDED, "exit code 1"),
        ("sleep 60 & exit 0", "true", kinds.PROFILE_ENDED, "exit code 0"),
        ("exec true", "true", kinds.PROFILE_ENDED, "exit code 0"),
        ("kill -9 $$", "true", kinds.PROFILE_ENDED, "signal 9"),
        ("true", "exit 0", kinds.PROLOGUE_ENDED, "exit code 0"),
        ("true", "false || exit 5", kinds.PROLOGUE_ENDED, "exit code 5"),
        ("true", "set -e; false", kinds.PROLOGUE_ENDED, "exit code 1"),
    ],
)
def test_a_profile_or_a_prologue_that_ends_is_told_from_a_server_that_ends(
    hub: PlayedHub, tmp_path: Path, profile: str, prologue: str, kind: str, status: str
) -> None:
    job = ProfileJob(tmp_path, hub, profile, command=server(), prologue=prologue)
    assert job.wait() == 1
    end = hub.body("end")
    assert (end["kind"], end["values"]["status"]) == (kind, status)


@pytest.mark.parametrize("command", [server(before="sys.exit(3)"), ["/no/such/server"]])
def test_after_a_profile_the_end_of_a_server_is_its_own(
    hub: PlayedHub, tmp_path: Path, command: list[str]
) -> None:
    job = ProfileJob(tmp_path, hub, "true", command=command)
    job.wait()
    assert hub.body("end")["kind"] == ""


def test_a_job_that_is_stopped_while_its_profile_runs_was_stopped(hub: PlayedHub, tmp_path: Path) -> None:
    job = ProfileJob(tmp_path, hub, f"touch {tmp_path}/reads; sleep 60", command=server())
    eventually((tmp_path / "reads").exists)
    job.process.terminate()
    assert job.wait() == 0
    assert hub.body("end")["kind"] == kinds.STOPPED


def test_nothing_of_the_pipe_between_shell_and_starter_reaches_the_server(
    hub: PlayedHub, tmp_path: Path
) -> None:
    show = "print(sorted(int(each) for each in os.listdir('/proc/self/fd'))[:-1]); sys.exit(0)"
    ProfileJob(tmp_path, hub, "true", command=["python3", "-c", f"import os, sys; {show}"]).wait()
    assert hub.body("end")["log"] == ["[0, 1, 2]"]


def test_variables_of_the_nodes_own_software_are_unset(hub: PlayedHub, tmp_path: Path) -> None:
    show = "print([os.environ.get(name) for name in ('PYTHONSTUFF', 'R_HOME', 'MODULE')]); sys.exit(0)"
    prologue = "export PYTHONSTUFF=/node/lib MODULE=loaded"
    forgotten = ("PYTHONSTUFF", "R_HOME")
    for more in ({}, {"prologue": prologue}):
        job = Job(tmp_path, hub, command=server(before=show), forgotten=forgotten, **more)
        assert job.wait() == 0
    assert [body["log"] for name, body, _ in hub.calls if name == "end"] == [
        ["[None, None, None]"],
        ["[None, None, 'loaded']"],
    ]


def test_variables_that_the_site_or_the_hub_sets_are_kept(hub: PlayedHub, tmp_path: Path) -> None:
    show = "print([os.environ.get(name) for name in ('PYTHONSTUFF', 'R_HOME')]); sys.exit(0)"
    config = {"prologue": "export PYTHONSTUFF=/node/lib:$PYTHONSTUFF R_HOME=/node/r"}
    named = {"PYTHONSTUFF": "/site/lib"}
    forgotten = ("PYTHONSTUFF", "R_HOME")
    job = Job(tmp_path, hub, command=server(before=show), forgotten=forgotten, environment=named, **config)
    assert job.wait() == 0
    assert hub.body("end")["log"] == ["['/site/lib', None]"]


def test_only_the_user_can_read_the_certificate(
    hub: PlayedHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLAYED_HUB", "tls")
    show = (
        "path = os.environ['JUPYTERHUB_SSL_KEYFILE']; print(path, oct(os.stat(path).st_mode), url.scheme); "
    )
    show += "sys.exit(0)"
    job = Job(tmp_path, hub, command=server(before=show))
    assert job.wait() == 0
    path, mode, scheme = hub.body("end")["log"][0].split()
    assert (mode, scheme) == ("0o100400", "https")
    assert not Path(path).parent.exists(), "it goes with the job"


def test_the_log_is_private_and_old_ones_are_forgotten(hub: PlayedHub, tmp_path: Path) -> None:
    folder = tmp_path / ".local/state/flatirons"
    folder.mkdir(parents=True)
    for number in range(100, 130):
        (folder / f"server-{number}.log").write_text("old")
    job = Job(tmp_path, hub, command=server(after="time.sleep(60)"))
    hub.wait_for("ready")
    job.process.terminate()
    assert job.wait() == 0
    assert job.log.stat().st_mode & 0o777 == 0o600
    assert len(list(folder.iterdir())) == 20


RUNTIME = """
place = os.environ["JUPYTER_RUNTIME_DIR"]
print(place, oct(os.stat(place).st_mode) if os.path.exists(place) else "")
"""


def test_jupyters_runtime_files_are_private_on_the_node_and_removed_with_the_job(
    hub: PlayedHub, tmp_path: Path
) -> None:
    keep = "open(place + '/kernel.json', 'w').close(); sys.exit(0)"
    job = Job(tmp_path, hub, command=server(before=RUNTIME + keep))
    assert job.wait() == 0
    place, mode = hub.body("end")["log"][0].split()
    assert place.startswith("/tmp/flatirons-17-") and mode == "0o40700"
    assert not Path(place).exists()


def test_a_site_may_set_jupyters_runtime_directory(hub: PlayedHub, tmp_path: Path) -> None:
    environment = {"JUPYTER_RUNTIME_DIR": "/local/scratch"}
    job = Job(tmp_path, hub, command=server(before=RUNTIME + "sys.exit(0)"), environment=environment)
    assert job.wait() == 0
    assert hub.body("end")["log"][0].split()[0] == "/local/scratch"


SETTINGS = """
place, path = os.environ.get("FLATIRONS_SOCKETS"), os.environ.get("JUPYTER_CONFIG_PATH")
last = path.split(":")[-1]
lines = open(last + "/jupyter_config.py").read().count("LocalProvisioner")
print(place or "-", path, oct(os.stat(last).st_mode), lines)
sys.exit(0)
"""


def test_jupyter_gets_settings_that_keep_neighbours_from_its_kernels(hub: PlayedHub, tmp_path: Path) -> None:
    assert Job(tmp_path, hub, command=server(before=SETTINGS)).wait() == 0
    place, path, mode, lines = hub.body("end")["log"][0].split()
    assert place.startswith("/tmp/flatirons-17-")
    assert (os.path.dirname(path), mode) == (place, "0o40700")
    assert int(lines) > 2


def test_where_tmp_is_full_jupyters_settings_are_in_the_home_until_the_job_ends(tmp_path: Path) -> None:
    code = "from flatirons.job.node import starter; print(starter.write_kernel_settings('', 'text'))\n"
    code += "import glob, os; print(*glob.glob(os.path.expanduser('~/.local/state/flatirons/*/*')))"
    env = {"HOME": str(tmp_path), "PYTHONPATH": str(REPO / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    settings, file = done.stdout.splitlines()
    assert file == f"{settings}/jupyter_config.py"
    assert list((tmp_path / ".local/state/flatirons").iterdir()) == []


def test_the_sites_and_the_users_settings_of_jupyter_count_more(hub: PlayedHub, tmp_path: Path) -> None:
    environment = {"JUPYTER_CONFIG_PATH": "/site/a:/site/b", "FLATIRONS_SOCKETS": ""}
    assert Job(tmp_path, hub, command=server(before=SETTINGS), environment=environment).wait() == 0
    place, path, *_ = hub.body("end")["log"][0].split()
    assert place == "-"
    assert path.startswith("/site/a:/site/b:/tmp/flatirons-17-")


# A Python that isn't CPython, or is as old as 3.7, as far as the starter can tell.
OTHER_PYTHON = """\
import json, os, signal, socket, sys
sys.modules.update(_json=None, _signal=None, _socket=None)
del os.posix_spawn
"""


class JobOfOtherPython(Job):
    def script(self, config: StarterConfig) -> str:
        return super().script(config).replace("CONFIG = ", f"{OTHER_PYTHON}CONFIG = ", 1)


def test_where_python_lacks_what_makes_a_start_cheap_servers_start_nevertheless(
    hub: PlayedHub, tmp_path: Path
) -> None:
    job = JobOfOtherPython(tmp_path, hub, command=server(after="time.sleep(60)"), prologue="export A=1")
    hub.wait_for("ready")
    job.process.terminate()
    assert job.wait() == 0
    assert hub.body("end")["kind"] == kinds.STOPPED


MODULES = f"""
import sys
CONFIG = {{}}
exec({starter_text().rpartition("if __name__")[0]!r})
print(*sorted(set(sys.modules) & {{"enum", "http", "json", "re", "socket", "subprocess", "typing"}}))
"""


def test_the_starter_imports_nothing_that_takes_long() -> None:
    """Each of these takes about as long as starting Python."""
    argv = [sys.executable, "-I", "-S", "-c", MODULES]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "\n"


@pytest.mark.parametrize("text", [starter_text(), kernel_settings()], ids=["starter", "kernel_settings"])
def test_what_runs_on_the_node_is_written_for_old_pythons(text: str) -> None:
    """Python 3.6 is the oldest that it supports, so it must parse as that."""
    ast.parse(text, feature_version=(3, 6))


def test_the_starter_needs_no_file_of_flatirons_on_the_node() -> None:
    imported = [node for node in ast.walk(ast.parse(starter_text())) if isinstance(node, ast.ImportFrom)]
    assert not [node for node in imported if (node.module or "").startswith("flatirons")]
