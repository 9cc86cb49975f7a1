"""Whole programs that use engines: ipyparallel, controller and engines are real; only Slurm is a fake."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import local_slurm
from tests.repository import REPO

SOURCE = REPO / "src"
ENTRY_POINTS = """\
[ipyparallel.controller_launchers]
flatirons = flatirons.parallel.ipp.launcher:FlatironsControllerLauncher

[ipyparallel.engine_launchers]
flatirons = flatirons.parallel.ipp.launcher:FlatironsEngineSetLauncher
"""
PATIENT = """
import os, subprocess, time
def until(condition, seconds=60):
    last = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < last
        time.sleep(0.05)
"""


class Sandbox:
    """A home directory and a PATH with Slurm's commands, in which programs run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("home", "jobs", "bin", "site/flatirons-0.dist-info"):
            (folder / name).mkdir(parents=True)
        (folder / "site/flatirons-0.dist-info/METADATA").write_text("Name: flatirons\nVersion: 0\n")
        (folder / "site/flatirons-0.dist-info/entry_points.txt").write_text(ENTRY_POINTS)
        for name in ("sbatch", "srun", "scancel", "squeue"):
            command = folder / "bin" / name
            command.write_text(f"#!{sys.executable}\n{Path(local_slurm.__file__).read_text()}")
            command.chmod(0o755)

    @property
    def env(self) -> dict[str, str]:
        path = f"{self.folder / 'site'}:{SOURCE}"
        return {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "LOCAL_SLURM": str(self.folder / "jobs"),
            "PYTHONPATH": path,
            "FLATIRONS_CONTAINER": json.dumps(["env", f"PYTHONPATH={path}", f"HOME={self.folder / 'home'}"]),
            # what the notebook's own job has
            **{"SLURM_JOB_ID": "77", "SLURM_JOB_PARTITION": "shas", "SLURM_JOB_ACCOUNT": "ucb-general"},
            **{
                "SLURM_MEM_PER_NODE": "2000",
                "SBATCH_QOS": "wrong",
                "PMI_RANK": "0",
                "SLURM_CONF": "/etc/x.conf",
            },
        }

    def run(self, code: str) -> str:
        """The output of a program, which must succeed."""
        return self.run_both(code).stdout

    def run_both(self, code: str) -> subprocess.CompletedProcess[str]:
        """A program that has ended, and must have succeeded."""
        done = subprocess.run(
            [sys.executable, "-c", PATIENT + code],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=80,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def is_over(self, job: int) -> bool:
        """Whether the job has ended."""
        return (self.folder / "jobs" / f"{job}.status").exists()


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path)


START = """
import ipyparallel as ipp
rc = ipp.Cluster(engines="flatirons", n=2, log_level=30, controller_ip="127.0.0.1").start_and_connect_sync()
"""


def test_engines_answer_and_end_with_the_program(sandbox: Sandbox) -> None:
    printed = sandbox.run(START + "print(sorted(rc[:].apply_sync(lambda: 6 * 7)))")
    assert printed == "[42, 42]\n"
    assert sandbox.is_over(1)
    security = sandbox.folder / "home/.ipython/profile_default/security"
    assert list(security.iterdir()) == []


def test_neither_the_key_nor_the_notebooks_job_reaches_slurm(sandbox: Sandbox) -> None:
    known = json.loads(
        sandbox.run(
            START
            + """
import json
known = json.load(open(rc.cluster.controller.connection_files["engine"]))
print(json.dumps([known["key"], known["curve_serverkey"], open(known["liveness_key"]).read().strip()]))
"""
        )
    )
    record = json.loads((sandbox.folder / "jobs/1.json").read_text())
    kept = json.dumps(record) + (sandbox.folder / "jobs/1.script").read_text()
    assert not [key for key in known if len(key) < 20 or key in kept]
    left = [name for name in record["env"] if name.startswith(("SLURM", "SBATCH", "PMI"))]
    assert set(left) <= {"SLURM_CONF", "SLURM_TIME_FORMAT"}
    assert record["env"]["SLURM_CONF"] == "/etc/x.conf"
    assert {"--partition=shas", "--account=ucb-general", "--ntasks=2"} <= set(record["argv"])


def test_an_interrupt_reaches_the_engines(sandbox: Sandbox) -> None:
    printed = sandbox.run(
        START
        + """
import signal
marks = [f"{os.getcwd()}/mark{i}" for i in (0, 1)]
def work(mark):
    open(mark, "w").close()
    __import__("time").sleep(60)
ar = rc[:].map_async(work, marks)
until(lambda: all(map(os.path.exists, marks)))
rc.cluster.signal_engines_sync(signal.SIGINT)
try:
    ar.get(timeout=20)
except ipp.CompositeError as error:
    print({name for name, *_ in error.elist})
"""
    )
    assert printed == "{'KeyboardInterrupt'}\n"


def test_the_engines_of_a_killed_program_end(sandbox: Sandbox) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", START + "print('up', flush=True); import signal; signal.pause()"],
        env=sandbox.env,
        cwd=sandbox.folder,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout
    assert program.stdout.readline() == "up\n"
    program.kill()
    program.wait()
    program.stdout.close()
    sandbox.run("until(lambda: os.path.exists('jobs/1.status'))")
    assert sandbox.is_over(1)


def test_another_program_lists_and_stops_them(sandbox: Sandbox) -> None:
    printed = sandbox.run(
        START
        + """
import sys
def ipcluster(*words):
    command = [sys.executable, "-m", "ipyparallel.cluster", *words]
    return subprocess.run(command, capture_output=True, text=True)
print([line.split()[2:] for line in ipcluster("list").stdout.splitlines()[1:]])
done = ipcluster("stop", f"--cluster-id={rc.cluster.cluster_id}")
assert done.returncode == 0, done.stderr
"""
    )
    assert printed == "[['True', '2', 'Flatirons']]\n"
    assert sandbox.is_over(1)


def test_engines_that_cannot_start_are_reported_with_their_log(sandbox: Sandbox) -> None:
    printed = sandbox.run(
        """
import ipyparallel as ipp, json
os.environ["FLATIRONS_CONTAINER"] = json.dumps(["no-such-apptainer", "exec"])
cluster = ipp.Cluster(engines="flatirons", n=1, controller_ip="127.0.0.1")
try:
    cluster.start_and_connect_sync()
except ipp.error.EngineError as error:
    print(error)
print(cluster.engine_set.get_output())
cluster.stop_cluster_sync()
"""
    )
    assert "Engines (job 1) have ended: The job's script ended with exit code 127" in printed
    assert "no-such-apptainer" in printed


def test_refused_engines_leave_no_controller(sandbox: Sandbox) -> None:
    printed = sandbox.run(
        """
from flatirons.parallel import Cluster
from flatirons.errors import SubmitRefused
cluster = Cluster(n=1, partition="nonesuch", log_level=30, controller_ip="127.0.0.1")
try:
    cluster.start_and_connect_sync()
except SubmitRefused as error:
    print(error)
print(cluster.controller)
"""
    )
    assert "invalid partition specified: nonesuch" in printed
    assert printed.endswith("None\n")


def test_the_profile_slurm_works_without_any_set_up(sandbox: Sandbox) -> None:
    etc = sandbox.folder / "etc"
    etc.mkdir()
    code = f"""
import IPython.core.application as app, shutil, flatirons.parallel
shutil.copy(os.path.dirname(flatirons.parallel.__file__) + "/etc/ipython/ipcluster_config.py", {str(etc)!r})
app.ENV_CONFIG_DIRS[:] = [{str(etc)!r}]
import ipyparallel as ipp
cluster = ipp.Cluster(profile="slurm", n=1, log_level=30, controller_ip="127.0.0.1")
print(cluster.engine_launcher_class.__name__, cluster.controller_launcher_class.__name__)
"""
    assert sandbox.run(code) == "FlatironsEngineSetLauncher FlatironsControllerLauncher\n"
    assert os.path.exists(sandbox.folder / "home/.ipython/profile_slurm/ipcluster_config.py")


@pytest.mark.parametrize("attempt", range(3))
def test_a_controller_that_is_ended_while_it_starts_leaves_nothing(sandbox: Sandbox, attempt: int) -> None:
    profile = sandbox.folder / "profile"
    words = ["-m", "flatirons.parallel.ipp.controller", f"--profile-dir={profile}", "--ip=127.0.0.1"]
    with (sandbox.folder / "log").open("w") as log:
        controller = subprocess.Popen(
            [sys.executable, *words], env=sandbox.env, stdout=log, stderr=log, start_new_session=True
        )
    file = profile / "security" / "ipcontroller-engine.json"
    sandbox.run(f"until(lambda: os.path.exists({str(file)!r}))")
    controller.terminate()
    controller.wait(10)
    assert list(file.parent.iterdir()) == []
    assert subprocess.run(["pgrep", "-g", str(controller.pid)], check=False).returncode == 1


def test_the_controller_uses_only_free_ports_of_the_site(sandbox: Sandbox) -> None:
    with contextlib.ExitStack() as taken:
        first = taken.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        ports = list(range(first, first + 60))
        profile = sandbox.folder / "home/.ipython/profile_default"
        profile.mkdir(parents=True)
        (profile / "ipcontroller_config.py").write_text(f"get_config().IPController.ports = {ports}\n")
        printed = sandbox.run(START + "print(open(rc.cluster.controller.connection_files['engine']).read())")
    known = json.loads(printed)
    used = [known[name] for name in ("registration", "control", "mux", "task", "iopub", "liveness")]
    assert set(used) <= set(ports) - {first}


@pytest.mark.parametrize(
    ("keywords", "is_default"),
    [
        ("", True),
        ("engine_timeout=60", False),
        ("engine_timeout=300", False),
        ("config=Config(Cluster=Config(engine_timeout=60))", False),
    ],
)
def test_a_timeout_is_removed_only_if_nobody_set_it_also_where_the_launcher_is_first_used(
    sandbox: Sandbox, keywords: str, is_default: bool
) -> None:
    """The module of the launcher is imported while ipyparallel makes its first cluster."""
    printed = sandbox.run(
        f"""
import sys
import ipyparallel as ipp
from traitlets.config import Config
assert not [name for name in sys.modules if name.startswith("flatirons")]
cluster = ipp.Cluster(n=1, engines="flatirons", {keywords})
from flatirons.parallel.ipp import compat
print(compat.is_default(cluster, "engine_timeout"), compat.is_default(cluster, "delay"))
"""
    )
    assert printed == f"{is_default} True\n"


def test_a_timeout_counts_that_was_set_before_the_launcher_was_first_named(sandbox: Sandbox) -> None:
    printed = sandbox.run(
        """
import ipyparallel as ipp
cluster = ipp.Cluster(n=1, engine_timeout=300)
cluster.engine_launcher_class = "flatirons"
from flatirons.parallel.ipp import compat
print(compat.is_default(cluster, "engine_timeout"), compat.is_default(cluster, "delay"))
"""
    )
    assert printed == "False True\n"


def test_a_stock_cluster_keeps_the_timeout_that_the_user_chose(sandbox: Sandbox) -> None:
    printed = sandbox.run(
        """
import ipyparallel as ipp
words = {"engines": "flatirons", "n": 1, "log_level": 30, "controller_ip": "127.0.0.1"}
cluster = ipp.Cluster(engine_timeout=60, delay=1.0, **words)
cluster.start_and_connect_sync()
print(cluster.engine_timeout, cluster.delay)
cluster.stop_cluster_sync()
other = ipp.Cluster(**words)
other.start_and_connect_sync()
print(other.engine_timeout, other.delay)
other.stop_cluster_sync()
"""
    )
    assert printed == "60 1.0\n-1 0.0\n"


PORTS = """
import json, psutil
def cluster_processes():
    for process in psutil.process_iter(["environ"]):
        if (process.info["environ"] or {}).get("HOME") == os.environ["HOME"] and process.pid != os.getpid():
            yield process
def ports():
    sockets = [each for process in cluster_processes() for each in process.net_connections("tcp")]
    return sorted({each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN})
info = json.load(open(rc.cluster.controller.connection_files["client"]))
"""
GREET = """
import socket
def mechanism(port):
    # the greeting of ZMTP 3 begins with signature and version; the mechanism follows
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
        stranger.sendall(bytes([0xff, *8 * [0], 0x7f, 3, 0]))
        theirs = b""
        while len(theirs) < 32 and (more := stranger.recv(32 - len(theirs))):
            theirs += more
    return theirs[12:32].rstrip(b"\\0").decode()
engines = json.load(open(rc.cluster.controller.connection_files["engine"]))
print(json.dumps({port: mechanism(port) for port in ports() if port != engines["liveness"]}))
"""


def test_every_port_of_a_cluster_demands_its_key(sandbox: Sandbox) -> None:
    found = json.loads(sandbox.run(START + PORTS + GREET))
    assert len(found) > 15  # of the controller, of the engines, and of their nannies
    assert set(found.values()) == {"CURVE"}


EAVESDROP = """
import zmq
def listen(**keys):
    heard = zmq.Context.instance().socket(zmq.SUB)
    heard.linger = 0
    for name, key in keys.items():
        setattr(heard, name, key)
    heard.subscribe(b"")
    for port in ports():
        heard.connect(f"tcp://127.0.0.1:{port}")
    return heard
mine, secret = zmq.curve_keypair()
own = dict(curve_publickey=mine, curve_secretkey=secret)
strangers = [listen(), listen(curve_serverkey=mine, **own)]
if info["curve_serverkey"]:
    own["curve_serverkey"] = info["curve_serverkey"].encode()
member = listen(**own)
def heard(by):
    text = b""
    while by.poll(500):
        text += b"".join(by.recv_multipart())
    return text
until(lambda: (rc[:].apply_sync(print, "the catch of the day"), b"the catch of the day" in heard(member))[1])
print([heard(each) for each in strangers])
"""


def test_a_stranger_hears_nothing_of_what_engines_print(sandbox: Sandbox) -> None:
    assert sandbox.run(START + PORTS + EAVESDROP) == "[b'', b'']\n"


def test_the_notebook_sees_no_warning_about_its_engines(sandbox: Sandbox) -> None:
    noisy = "import logging; logging.basicConfig(level=logging.WARNING)\n"
    code = f"{START}\nimport sys; print(sorted(rc[:].apply_sync(lambda: 6 * 7)), file=sys.stderr)"
    done = sandbox.run_both(noisy + code)
    assert done.stderr.startswith("[42, 42]\n")


@pytest.mark.parametrize(("chosen", "is_encrypted"), [("1", True), ("0", False)])
def test_the_controller_of_another_launcher_encrypts_too(
    sandbox: Sandbox, chosen: str, is_encrypted: bool
) -> None:
    etc = sandbox.folder / "etc"
    etc.mkdir()
    shutil.copy(SOURCE / "flatirons/parallel/etc/ipython/ipcontroller_config.py", etc)
    wrapper = f"import IPython.core.application as app; app.ENV_CONFIG_DIRS[:] = [{str(etc)!r}]\n"
    (sandbox.folder / "site/sitecustomize.py").write_text(wrapper)
    code = f"""
import ipyparallel as ipp, json
os.environ["IPP_ENABLE_CURVE"] = {chosen!r}
rc = ipp.Cluster(n=1, log_level=30).start_and_connect_sync()
info = json.load(open(rc.cluster.controller.connection_files["client"]))
print(bool(info["curve_serverkey"]), len(info["key"]) > 20, rc[:].apply_sync(lambda: 6 * 7))
"""
    assert sandbox.run(code) == f"{is_encrypted} True [42]\n"


def test_encryption_can_be_turned_off(sandbox: Sandbox) -> None:
    code = "os.environ['IPP_ENABLE_CURVE'] = '0'\n" + START + PORTS + "print(info['curve_serverkey'])"
    assert sandbox.run(code) == "None\n"
