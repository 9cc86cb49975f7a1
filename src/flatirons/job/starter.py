"""The first program of a notebook job: it asks the hub what to run, runs it, and says how it went.

Its text is copied into the job script (job/script.py), so it needs Python >= 3.6 on the node and nothing
else: no package, no file of ours. It runs as the user, outside the container, and calls the hub three times:

boot   {job_id, code, key} -> {environment, prefix, tls}; the code works once. `key` is a secret made here,
       with which this starter proves itself afterwards. Repeating boot with the same key is the same use of
       the code, so an answer lost on the way does no harm.
ready  {port}, once the server that we started listens there;
end    {exit_code, signal, message, log}, when it ended. `log` holds the last lines of its output.

All of them are repeated while the hub can't be reached (it may be restarting); a refusal is final. A
404 is none: it is what a proxy says that was restarted and doesn't know the way to the hub yet.

Without a hub (`flatirons notebook`) a file of the user's takes its place: see Record.
"""

import atexit
import contextlib
import http.client
import json
import os
import pwd
import resource
import signal
import socket
import subprocess
import sys
import time
from types import FrameType
from typing import Any, Dict, List, Optional, Set, Tuple, Union  # the node's Python may be 3.6

Config = Dict[str, Any]  # of job/script.py, StarterConfig

PORT_ATTEMPTS = 10
END_SECONDS = 20  # how long the end is told to a hub that may be restarting: it holds the job's node
LOG_LINES = 40
LOG_FILES_KEPT = 20
REFUSALS = (400, 401, 403, 409, 413)


class Refused(Exception):
    """The hub said no: this job is not, or no longer, wanted."""


class Unreachable(Exception):
    """The hub didn't answer in time."""


class CannotRun(Exception):
    """The server can't be started here, for the reason in the text."""


class Hub:
    """The three calls to the hub; `deadline` is in seconds for one call, repeats included."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self.key = key
        scheme, _, rest = self.url.partition("://")
        self.place, slash, path = rest.partition("/")
        self.path = slash + path
        self.connection = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection

    def post(self, name: str, body: Dict[str, Any], deadline: float) -> Any:
        """The hub's answer to POST flatirons/NAME; raises Refused, or Unreachable at the deadline."""
        last, pause = time.monotonic() + deadline, 0.1
        while True:
            try:
                status, text = self.send(name, json.dumps(body).encode())
                if status in REFUSALS:
                    raise Refused(f"the hub refused {name}: {status}")
                if status < 300:
                    return json.loads(text.decode() or "null")
                problem = f"it answered {status}"  # a proxy's page, or a hub that isn't itself yet
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem = str(error)  # away, or killed in the middle of its answer
            if time.monotonic() + pause > last:
                raise Unreachable(f"the hub at {self.url} can't be reached: {problem}")
            time.sleep(pause)  # between attempts at a hub that is away; there is nothing to wait on
            pause = min(pause * 2, 5)

    def send(self, name: str, body: bytes) -> Tuple[int, bytes]:
        """(status, text) of one attempt; straight to the hub, whatever proxy the job's environment names."""
        connection = self.connection(self.place, timeout=30)
        headers = {"Content-Type": "application/json", "Authorization": "Bearer " + self.key}
        try:
            connection.request("POST", f"{self.path}/flatirons/{name}", body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


class Record:
    """The same three calls where there is no hub, only a file of the user's (notebook/record.py).

    Its first line holds the answer to boot; each call is added to it as a line. As long as it is there the
    server is wanted. `path` may begin with ~.
    """

    def __init__(self, path: str, key: str) -> None:
        self.path = os.path.expanduser(path)
        self.key = key

    def post(self, name: str, body: Dict[str, Any], _deadline: float) -> Any:
        """The answer to boot, None to another call; raises Refused, or Unreachable for a full home."""
        line = json.dumps({"call": name, **body}) + "\n"
        try:
            with open(self.path) as record:
                lines = record.readlines()
            if name == "boot" and len(lines) > 1:
                raise Refused("this job was started once before, and its server is gone")
            with open(os.open(self.path, os.O_WRONLY | os.O_APPEND), "w") as record:  # never makes the file
                record.write(line)
            return json.loads(lines[0])["answer"] if name == "boot" else None
        except FileNotFoundError:
            raise Refused(f"there is no {self.path} here: the server isn't wanted any more") from None
        except (OSError, ValueError, LookupError) as error:
            raise Unreachable(f"{self.path} can't be used: {error}") from None


def open_log(job_id: int) -> str:
    """Sends our output, and so the server's, to a private file, one for each job; gives its path."""
    account = pwd.getpwuid(os.getuid())
    folder = os.path.join(os.environ.get("HOME") or account.pw_dir, ".local", "state", "flatirons")
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        forget_old_logs(folder)
        name = "server-{}-{}.log".format(os.environ.get("SLURM_CLUSTER_NAME", "slurm"), job_id)
        path = os.path.join(folder, name)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        try_to_write(descriptor)
    except OSError as error:  # home full, read-only or missing: the job's node still has a place
        import tempfile  # seldom needed, and costs a start some milliseconds

        descriptor, path = tempfile.mkstemp(prefix=f"flatirons-{job_id}-", suffix=".log")
        os.write(descriptor, f"The log is here because of: {error}\n".encode())
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    return path


def try_to_write(descriptor: int) -> None:
    """Raises OSError where a file can be made but not filled: that is how a full home looks."""
    os.write(descriptor, b"\n")
    os.fsync(descriptor)
    os.ftruncate(descriptor, 0)


def forget_old_logs(folder: str) -> None:
    """Keeps the newest logs only. Another job of the user may be at it at the same time."""
    ages = {}  # type: Dict[str, float]
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            if name.startswith("server-"):
                path = os.path.join(folder, name)
                ages[path] = os.path.getmtime(path)
    for path in sorted(ages, key=lambda path: ages[path])[: -LOG_FILES_KEPT + 1]:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def say(text: object) -> None:
    """Adds a line to the log, whatever the locale, and if there is room."""
    with contextlib.suppress(OSError):
        os.write(1, f"{text}\n".encode("utf-8", "replace"))


def last_lines(path: str) -> List[str]:
    """The end of a log, at most LOG_LINES lines of 500 characters."""
    try:
        with open(path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - 32768))
            text = log.read().decode("utf-8", "replace")
    except OSError as error:
        return [f"(the log can't be read: {error})"]
    return [line[:500] for line in text.splitlines()[-LOG_LINES:]]


def own_address() -> str:
    """The address under which the hub finds this node, or 0.0.0.0 where the node's name doesn't tell."""
    name = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    try:
        address = socket.gethostbyname(name)
        with socket.socket() as probe:
            probe.bind((address, 0))
    except OSError:
        return "0.0.0.0"
    return "0.0.0.0" if address.startswith("127.") else address


def free_port(address: str, ports: Optional[List[int]], taken: Set[int]) -> int:
    """A port that nobody listens on right now; `ports` is [first, last] or None for any."""
    if not ports:
        with socket.socket() as probe:
            probe.bind((address, 0))
            return int(probe.getsockname()[1])
    candidates = [port for port in range(ports[0], ports[1] + 1) if port not in taken]
    first = int.from_bytes(os.urandom(4), "big") % max(len(candidates), 1)
    for port in candidates[first:] + candidates[:first]:  # two starters begin at different ones
        if is_free(address, port):
            return port
    raise CannotRun("No port between {} and {} is free on this node.".format(*ports))


def is_free(address: str, port: int) -> bool:
    """Whether the port can be bound at this moment."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def listeners(port: int) -> Dict[str, int]:
    """{inode: uid} of the sockets that listen on this TCP port (proc_net(5))."""
    found = {}  # type: Dict[str, int]
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as lines:
                rows = [line.split() for line in list(lines)[1:]]
        except OSError:
            continue
        for row in rows:
            if row[3] == "0A" and int(row[1].rsplit(":", 1)[1], 16) == port:
                found[f"socket:[{row[9]}]"] = int(row[7])
    return found


def descendants(root: int) -> Set[int]:
    """The process ids of `root` and all that came from it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as stat:
                    parents[int(name)] = int(stat.read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                continue  # it ended while we looked
    family = {root}
    while True:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        if not more:
            return family
        family |= more


def is_answered(address: str, port: int) -> bool:
    """Whether anybody listens there: asked often, since it costs next to nothing."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def listens(pid: int, port: int) -> bool:
    """Whether it is the child, or a process of its, that listens on the port, and not a stranger."""
    sockets = listeners(port)
    if not sockets:
        return False
    hidden = False
    for member in descendants(pid):
        folder = f"/proc/{member}/fd"
        try:
            for name in os.listdir(folder):
                try:
                    if os.readlink(os.path.join(folder, name)) in sockets:
                        return True
                except FileNotFoundError:
                    continue
        except FileNotFoundError:
            continue
        except PermissionError:
            hidden = True
    return hidden and os.getuid() in sockets.values()


class Server:
    """The notebook server, as a child in a process group of its own."""

    def __init__(self, config: Config, answer: Dict[str, Any]) -> None:
        self.config = config
        self.answer = answer
        self.child = None  # type: Optional[subprocess.Popen[bytes]]
        self.signals = []  # type: List[int]
        self.files = self.write_certificate()

    def on_signal(self, number: int, _frame: Optional[FrameType]) -> None:
        """Hands a signal on to the server; from then on its end is what was asked for.

        To the server alone: the container's file system, a process of the same group, must outlive it.
        """
        self.signals.append(number)
        if self.child is not None and self.child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # it ended this very moment
                os.kill(self.child.pid, number)

    def environment(self, address: str, port: int) -> Dict[str, str]:
        """The server's environment: the job's own, what the hub sent, and where to listen."""
        account = pwd.getpwuid(os.getuid())
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": account.pw_dir, "SHELL": account.pw_shell}
        env.update({"USER": account.pw_name, "LOGNAME": account.pw_name, "LANG": "C.UTF-8"})
        env.update(os.environ)
        # set by sbatch --export=NONE; kept, it would make every later srun lose its environment
        for name in ("SLURM_EXPORT_ENV", "SBATCH_EXPORT", "SLURM_GET_USER_ENV", *self.config["forgotten"]):
            env.pop(name, None)
        env.update(self.config["environment"])
        env.update(self.answer["environment"])
        if not self.config["record"]:
            scheme = "https" if self.answer.get("tls") else "http"
            env["JUPYTERHUB_SERVICE_URL"] = "{}://{}:{}{}".format(
                scheme, address, port, self.answer["prefix"]
            )
        env.update(self.files)
        return env

    def write_certificate(self) -> Dict[str, str]:
        """Puts the certificate where only the user reads it; gives the variables that name its files."""
        texts = self.answer.get("tls")
        if not texts:
            return {}
        import shutil  # for internal TLS only
        import tempfile

        folder = tempfile.mkdtemp(prefix="flatirons-tls-")
        atexit.register(shutil.rmtree, folder)
        files = {}
        for variable, text in texts.items():
            files[variable] = os.path.join(folder, variable.lower() + ".pem")
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(files[variable], flags, 0o400), "w") as file:
                file.write(text)
        return files

    def start(self, address: str, port: int) -> "subprocess.Popen[bytes]":
        """The child; the prologue runs first, in the shell that then becomes the server."""
        listen = [word.format(address=address, port=port) for word in self.config["listen"]]
        argv = [*self.config["command"], *listen]
        if self.config["prologue"]:
            # /etc/profile is where `module` comes from: sbatch --export gave the job nothing of a log-in
            lines = ["[ ! -r /etc/profile ] || . /etc/profile", self.config["prologue"]]
            lines = [*self.remember(), *lines, *self.forget(), 'exec "$@"']
            argv = ["bash", "-c", "\n".join(lines), "flatirons", *argv]
        try:
            return subprocess.Popen(
                argv,
                env=self.environment(address, port),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise CannotRun(f"{argv[0]} can't be run on this node: {error.strerror}") from None

    def named(self) -> List[str]:
        """Those of the variables to be forgotten that were given to us, by the site or the hub."""
        given = {**self.config["environment"], **self.answer["environment"]}
        return [name for name in self.config["forgotten"] if name in given]

    def remember(self) -> List[str]:
        """Shell lines that keep what was given to us, before a module says something else."""
        return [f'flatirons_{name}="${name}"' for name in self.named()]

    def forget(self) -> List[str]:
        """Shell lines that forget what modules said of the node's own software, after they did."""
        forgotten = [f"unset -v {name}" for name in self.config["forgotten"]]
        return [*forgotten, *(f'export {name}="$flatirons_{name}"' for name in self.named())]

    def listen(self) -> Optional[int]:
        """The port that the server listens on, or None when it ended before it did."""
        address = own_address()
        taken = set()  # type: Set[int]
        for _ in range(PORT_ATTEMPTS):
            if self.signals:
                return None
            port = free_port(address, self.config["ports"], taken)
            taken.add(port)
            child = self.child = self.start(address, port)
            if self.signals:  # told so while there was no child to tell
                self.on_signal(signal.SIGTERM, None)
            pause = 0.005
            while child.poll() is None:
                if is_answered(address, port) and listens(child.pid, port):
                    return port
                time.sleep(pause)  # the kernel offers nothing to wait on for "a process listens"
                pause = min(pause * 1.2, 0.05)
            if self.signals or is_free(address, port):
                return None
            say(f"Port {port} was taken meanwhile; trying another.")
        raise CannotRun(f"{PORT_ATTEMPTS} ports in a row were taken by others.")


def keep_cores_out() -> None:
    """No core files, unless the user raises the limit again: they fill the home when Slurm ends a job."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def enter_home() -> None:
    """Goes to the user's home; raises CannotRun, naming it, where the node hasn't got it."""
    home = os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    node = os.environ.get("SLURMD_NODENAME", "this node")
    try:
        os.chdir(home)
    except OSError as error:
        raise CannotRun(f"Your home directory {home} can't be entered on {node}: {error.strerror}.") from None


def check_image(config: Config) -> None:
    """Raises CannotRun, naming the image, when it isn't there: Apptainer's own words are for experts."""
    image = config["image"]
    node = os.environ.get("SLURMD_NODENAME", "this node")
    if image and not os.path.exists(image):
        raise CannotRun(f"The image {image} doesn't exist on {node}.")
    if image and not os.access(image, os.R_OK):
        raise CannotRun(f"The image {image} can't be read by you on {node}.")


def run(config: Config, hub: Union[Hub, Record], job_id: int) -> Tuple[Optional[int], Optional[int], str]:
    """Boots, runs the server to its end; gives (exit code or None, signal or None, sentence)."""
    body = {"job_id": job_id, "code": config["code"], "key": hub.key}
    server = Server(config, hub.post("boot", body, config["hub_deadline"]))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, server.on_signal)
    keep_cores_out()
    enter_home()
    check_image(config)
    port = server.listen()
    if port is not None:
        try:
            hub.post("ready", {"port": port}, config["hub_deadline"])
        except (Refused, Unreachable) as error:
            server.on_signal(signal.SIGTERM, None)
            say(error)
    status = server.child.wait() if server.child else 0
    if server.signals:
        return 0, None, "The notebook server was stopped."
    return (status, None, "") if status >= 0 else (None, -status, "")


def main(config: Config) -> int:
    """The job, from its first moment to its last; gives the exit code of the job."""
    job_id = int(os.environ["SLURM_JOB_ID"])
    log = open_log(job_id)
    key = os.urandom(32).hex()
    hub = Record(config["record"], key) if config["record"] else Hub(config["hub"], key)  # type: Union[Hub, Record]
    status, number, message = 1, None, ""  # type: Optional[int], Optional[int], str
    try:
        status, number, message = run(config, hub, job_id)
    except (Refused, Unreachable) as error:
        say(error)
        return 1
    except (CannotRun, OSError) as error:
        say(error)
        message = str(error)
    body = {"exit_code": status, "signal": number, "message": message, "log": last_lines(log)}
    try:
        hub.post("end", body, END_SECONDS)
    except (Refused, Unreachable) as error:
        say(error)
    return status if status is not None else 128 + (number or 0)


if __name__ == "__main__":
    sys.exit(main(globals()["CONFIG"]))  # put above this text by job/script.py
