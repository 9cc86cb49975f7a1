"""What a booted cluster offers: two Slurms with rules, users who can log in, containers, a published port."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cluster.demo.service import free_port
from tests.cluster.conftest import SCRIPT, Driver

pytestmark = pytest.mark.cluster

ECHO = """
import socketserver
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        everything = self.rfile.read()
        self.wfile.write(everything[::-1])
class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 512
    allow_reuse_address = True
Server(("0.0.0.0", 8000), Echo).serve_forever()
"""

# Prints PAM's result for alice with the password in argv: 0 is success, 7 an authentication failure.
PAM = """
import ctypes, sys
pam, libc, P = ctypes.CDLL("libpam.so.0"), ctypes.CDLL(None), ctypes.c_void_p
libc.calloc.restype = libc.strdup.restype = P
class Response(ctypes.Structure):
    _fields_ = [("text", P), ("code", ctypes.c_int)]
Talk = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, P, ctypes.POINTER(P), P)
class Conversation(ctypes.Structure):
    _fields_ = [("talk", Talk), ("own", P)]
@Talk
def talk(count, messages, answers, own):
    answers[0] = libc.calloc(count, ctypes.sizeof(Response))
    Response.from_address(answers[0]).text = libc.strdup(sys.argv[1].encode())
    return 0
handle, conversation = P(), Conversation(talk, None)
assert pam.pam_start(b"login", b"alice", ctypes.byref(conversation), ctypes.byref(handle)) == 0
print(pam.pam_authenticate(handle, 0) or pam.pam_acct_mgmt(handle, 0), end="")
"""

# A directory that serves as a container: one shell and its libraries.
TINY = """
set -e
mkdir -p tiny/bin tiny/proc tiny/sys tiny/dev tiny/tmp tiny/etc tiny/home tiny/root
cp /bin/sh /bin/id tiny/bin
for library in $(ldd /bin/sh /bin/id | grep -o '/[^ :]*' | sort -u); do
    [ -f "$library" ] && mkdir -p "tiny${library%/*}" && cp "$library" "tiny$library" || true
done
apptainer build --force tiny.sif tiny
"""


@pytest.fixture(scope="module")
def port() -> int:
    """The host's port for the hub node's port 8000."""
    return free_port()


@pytest.fixture(scope="module")
def site(make_driver: Callable[[str], Driver], port: int, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """Both clusters of the default suite, with a bind and a published port."""
    shown = tmp_path_factory.mktemp("shown")
    (shown / "file").write_text("from the host")
    driver = make_driver("boot")
    driver.run("up", "--publish", f"{port}=hub:8000", "--bind", f"{shown}:/srv/shown:ro")
    return driver


@pytest.fixture(scope="module")
def echo(site: Driver, port: int) -> Iterator[int]:
    """The published port, with a program in the hub node that answers."""
    argv = json.loads(site.run("argv", "hub", "--user", "jupyterhub").stdout)
    with subprocess.Popen([*argv, "python3", "-c", ECHO]) as server:
        until = time.monotonic() + 20
        while site.exec("hub", "bash", "-c", ": < /dev/tcp/127.0.0.1/8000", check=False).returncode:
            assert time.monotonic() < until, "the echo server did not start"
        yield port
        server.terminate()


def test_a_job_runs_as_alice_on_two_compute_nodes(site: Driver) -> None:
    script = "echo $(hostname) $(id -un) $(pwd) $SLURM_CLUSTER_NAME"
    lines = site.exec("hub", "srun", "-N2", "-n8", "sh", "-c", script, user="alice").stdout.split("\n")[:-1]
    assert len(lines) == 8
    assert {line.split()[0] for line in lines} == {"shas0101", "shas0102"}
    assert {tuple(line.split()[1:]) for line in lines} == {("alice", "/home/alice", "summit")}


def test_a_batch_job_ends_in_accounting_under_the_users_own_account(site: Driver) -> None:
    job = site.exec("hub", "sbatch", "--parsable", "--wait", "--wrap=id -u", user="alice").stdout.strip()
    assert site.exec("hub", "cat", f"slurm-{job}.out", user="alice").stdout == "10001\n"
    until = time.monotonic() + 20
    while True:
        told = site.exec("hub", "sacct", "-nPX", "-j", job, "-o", "account,user,state", user="alice").stdout
        if told == "ucb-general|alice|COMPLETED\n":
            break
        assert time.monotonic() < until, told


def test_dave_has_no_association_and_is_refused(site: Driver) -> None:
    done = site.exec("hub", "sbatch", "--wrap=true", user="dave", check=False)
    assert done.returncode == 1
    assert "Invalid account or account/partition combination specified" in done.stderr
    assert site.blanca("sbatch", "--wrap=true", user="dave", check=False).returncode == 1


@pytest.mark.parametrize(
    ("user", "partition", "account", "is_allowed"),
    [
        ("alice", "shas", "ucb-general", True),
        ("alice", "sknl", "ucb-knl", True),
        ("alice", "sknl", "ucb-general", False),
        ("bob", "shas", "ucb-general", True),
        ("bob", "sknl", "ucb-knl", False),
        ("carol", "shas", "csdms", True),
        ("carol", "shas", "ucb-general", False),
    ],
)
def test_summit_admits_accounts_to_partitions(
    site: Driver, user: str, partition: str, account: str, is_allowed: bool
) -> None:
    words = ["sbatch", "--test-only", "-p", partition, "-A", account, "--wrap=true"]
    assert (site.exec("hub", *words, user=user, check=False).returncode == 0) == is_allowed


@pytest.mark.parametrize(
    ("user", "partition", "account", "is_allowed"),
    [
        ("alice", "blanca-csdms", "csdms", True),
        ("alice", "blanca-sol", "csdms", False),
        ("bob", "blanca-sol", "sol", True),
        ("bob", "blanca-csdms", "sol", False),
        ("carol", "blanca-csdms", "csdms", True),
        ("carol", "blanca-sol", "sol", True),
    ],
)
def test_blanca_admits_each_group_to_its_own_partition(
    site: Driver, user: str, partition: str, account: str, is_allowed: bool
) -> None:
    words = ["sbatch", "--test-only", "-p", partition, "-A", account, "--wrap=true"]
    assert (site.blanca(*words, user=user, check=False).returncode == 0) == is_allowed


@pytest.mark.parametrize(("user", "qos", "is_allowed"), [("alice", "long", True), ("bob", "long", False)])
def test_qos_are_for_those_who_have_them(site: Driver, user: str, qos: str, is_allowed: bool) -> None:
    done = site.exec("hub", "sbatch", "--test-only", f"--qos={qos}", "--wrap=true", user=user, check=False)
    assert (done.returncode == 0) == is_allowed


@pytest.mark.parametrize(
    ("kind", "words"), [("v100", ["-p", "shas"]), ("a100", ["-p", "sknl", "-A", "ucb-knl"])]
)
def test_a_job_gets_the_simulated_gpus_that_it_asks_for(site: Driver, kind: str, words: list[str]) -> None:
    command = "echo $CUDA_VISIBLE_DEVICES; ls /dev/gpu*"
    done = site.exec("hub", "srun", *words, f"--gres=gpu:{kind}:2", "sh", "-c", command, user="alice")
    assert done.stdout.split()[:3] == ["0,1", "/dev/gpu0", "/dev/gpu1"]


def enforced(site: Driver) -> set[str]:
    """What Slurm enforces with control groups, in the words of cgroup.conf."""
    lines = site.exec("shas0101", "cat", "/etc/slurm/summit/cgroup.conf").stdout.splitlines()
    return {line.removeprefix("Constrain").partition("=")[0] for line in lines if line.endswith("=yes")}


def test_a_memory_limit_is_enforced(site: Driver) -> None:
    eat = "exec python3 -c 'import time; x = bytearray(500 << 20); time.sleep(60)'"
    done = site.exec("hub", "srun", "--mem=100", "sh", "-c", eat, user="alice", check=False)
    assert done.returncode
    assert ("oom_kill" if "RAMSpace" in enforced(site) else "exceeded memory limit") in done.stderr


def test_a_job_opens_only_the_gpus_that_it_got(site: Driver) -> None:
    if "Devices" not in enforced(site):
        pytest.skip("this machine has no control groups that nodes could use")
    # A simulated GPU has no driver: opening it fails in another way if it is allowed.
    command = "for i in 0 1; do cat /dev/gpu$i 2>&1; done; cat /dev/null"
    words = ["srun", "-wshas0102", "--gres=gpu:v100:1", "sh", "-c", command]
    assert [
        line.rpartition(": ")[2] for line in site.exec("hub", *words, user="alice").stdout.splitlines()
    ] == [
        "No such device or address",
        "Operation not permitted",
    ]


def test_the_reservation_is_for_its_users(site: Driver) -> None:
    words = ["srun", "--reservation=workshop", "hostname"]
    assert site.exec("hub", *words, user="alice").stdout == "shas0101\n"
    assert site.exec("hub", *words, user="bob", check=False).returncode


@pytest.mark.parametrize(("password", "answer"), [("alice", "0"), ("wrong", "7")])
def test_users_log_in_with_their_password_and_the_hub_can_check_it_without_root(
    site: Driver, password: str, answer: str
) -> None:
    for user in ("root", "jupyterhub"):
        assert site.exec("hub", "python3", "-c", PAM, password, user=user).stdout == answer


def test_users_log_in_over_ssh(site: Driver) -> None:
    ask = "printf '#!/bin/sh\\necho bob\\n' > ask; chmod +x ask; export SSH_ASKPASS=$PWD/ask;"
    options = "-o StrictHostKeyChecking=accept-new -o NumberOfPasswordPrompts=1"
    ssh = f"SSH_ASKPASS_REQUIRE=force ssh {options} bob@hub 'hostname; id -un; pwd'"
    assert site.exec("shas0101", "sh", "-c", ask + ssh).stdout.split() == ["hub", "bob", "/home/bob"]


def test_homes_are_private_and_the_same_on_every_node(site: Driver) -> None:
    site.exec("hub", "sh", "-c", "umask 077; echo mine > note", user="carol")
    assert site.exec("bnode0101", "cat", "note", user="carol").stdout == "mine\n"
    assert site.exec("hub", "cat", "/home/carol/note", user="bob", check=False).returncode == 1


def test_a_container_starts_in_a_job_of_an_ordinary_user(site: Driver) -> None:
    site.exec("hub", "sh", "-c", TINY, user="alice")
    command = ["srun", "apptainer", "exec", "tiny.sif", "/bin/sh", "-c", "id -u; pwd"]
    done = site.exec("hub", *command, user="alice")
    assert done.stdout.split() == ["10001", "/home/alice"]


def test_binds_are_seen_on_every_node_and_read_only_if_asked(site: Driver) -> None:
    for node in ("hub", "sknl0701", "bnode0101"):
        assert site.exec(node, "cat", "/srv/shown/file").stdout == "from the host"
        assert "Read-only" in site.exec(node, "touch", "/srv/shown/new", check=False).stderr


def test_exec_passes_input_output_and_exit_code(site: Driver) -> None:
    done = site.exec("hub", "sh", "-c", "cat; echo bad >&2; exit 42", stdin="in\n", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (42, "in\n", "bad\n")


def test_exec_starts_in_a_clean_log_in_environment(site: Driver) -> None:
    lines = site.exec("hub", "env", user="alice").stdout.splitlines()
    found = dict(line.split("=", 1) for line in lines)
    assert (found["HOME"], found["USER"], found["SHELL"]) == ("/home/alice", "alice", "/bin/bash")
    assert found.keys() <= {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "TERM", "PWD"}


def test_what_exec_started_ends_with_it(site: Driver) -> None:
    argv = json.loads(site.run("argv", "hub", "--user", "bob").stdout)
    with subprocess.Popen([*argv, "sleep", "12345"]) as process:
        until = time.monotonic() + 10
        while site.exec("hub", "pgrep", "-f", "sleep 12345", check=False).returncode:
            assert time.monotonic() < until
        process.terminate()
    while site.exec("hub", "pgrep", "-f", "sleep 12345", check=False).returncode == 0:
        assert time.monotonic() < until + 10


def test_exec_says_what_is_wrong_in_one_sentence(site: Driver) -> None:
    for words in (
        ["exec", "nosuch", "--", "true"],
        ["exec", "hub"],
        ["exec", "hub", "--user", "eve", "--", "true"],
    ):
        done = site.run(*words, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith("cluster: ")
        assert done.stderr.count("\n") == 1


def test_nobody_but_root_gets_in(site: Driver) -> None:
    path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    script = ["bash", str(SCRIPT), "--name", site.name, "exec", "hub", "--", "true"]
    done = subprocess.run([*nobody, *script], env=path, capture_output=True, text=True)
    assert done.returncode
    assert "root" in done.stderr or "Permission denied" in done.stderr


def test_status_lists_every_node_and_daemon(site: Driver) -> None:
    rows = site.status()
    assert set(rows["ctl"]["daemons"]) == {
        "munged", "mariadbd", "slurmdbd", "slurmctld@summit", "slurmctld@blanca"
    }  # fmt: skip
    assert all(row["running"] and set(row["daemons"].values()) == {"up"} for row in rows.values())
    assert rows["bnode0101"]["cluster"] == "blanca"
    assert rows["bnode0101"]["slurm"]
    assert site.run("status").returncode == 0


def test_logs_are_of_all_nodes_or_of_one(site: Driver) -> None:
    assert "==> hub: sshd <==" in site.run("logs").stdout
    only = site.run("logs", "shas0101").stdout
    assert "==> shas0101: slurmd <==" in only
    assert "==> hub" not in only
    assert "there is no node nosuch" in site.run("logs", "nosuch", check=False).stderr


def test_a_published_port_carries_both_directions_to_their_ends(echo: int) -> None:
    payload = os.urandom(3_000_000)
    with socket.create_connection(("127.0.0.1", echo), timeout=30) as connection:
        connection.sendall(payload)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert received == payload[::-1]


def test_a_published_port_carries_hundreds_of_connections(echo: int) -> None:
    answers: list[bytes] = []

    def ask(i: int) -> None:
        with socket.create_connection(("127.0.0.1", echo), timeout=60) as connection:
            connection.sendall(b"%06d" % i)
            connection.shutdown(socket.SHUT_WR)
            answers.append(connection.recv(100)[::-1])

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [b"%06d" % i for i in range(300)]


def test_the_same_name_is_refused_while_it_is_up(site: Driver) -> None:
    done = site.run("up", check=False)
    assert done.returncode == 1
    assert done.stderr == f"cluster: the virtual cluster {site.name} is already up; `down` ends it\n"
    assert site.exec("hub", "true").returncode == 0


def test_a_busy_port_is_refused_before_anything_boots(
    site: Driver, port: int, make_driver: Callable[[str], Driver]
) -> None:
    other = make_driver("busy")
    done = other.run("up", "--publish", f"{port}=hub:8000", check=False)
    assert done.returncode == 1
    assert done.stderr.endswith(f"can't publish hub:8000 on 127.0.0.1:{port}: Address already in use\n")
    assert "not up" in other.run("status", check=False).stderr


def test_the_driver_needs_nothing_but_the_standard_library() -> None:
    words = [
        sys.executable,
        "-I",
        "-S",
        "-c",
        "import sys; sys.path.insert(0, sys.argv[1]); import cluster.__main__",
    ]
    subprocess.run([*words, str(SCRIPT.parents[1])], check=True)
