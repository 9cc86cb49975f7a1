"""The first program of a notebook job: it asks the hub what to run, runs it, and says how it went.

It runs as the user, outside the container. It and the files beside it are put into the job script as one
text (job/script.py), so they need Python >= 3.6 on the node and nothing else.
"""

import atexit
import contextlib
import os
import pwd
import resource
import signal
import subprocess
import sys
import time
from types import FrameType
from typing import Any, Dict, List, Optional, Set, Tuple, Union  # the node's Python may be 3.6

from flatirons.job.node.calls import NOT_WANTED, Hub, Record, Refused, Unreachable
from flatirons.job.node.log import folder_of_logs, forget_old_logs, last_lines, open_log, say
from flatirons.job.node.ports import CannotRun, free_port, is_answered, is_free, listens, own_address

Config = Dict[str, Any]  # of job/script.py, StarterConfig

PORT_ATTEMPTS = 10
BYTES_OF_ROOM = 64 * 1024  # more than the connection files and keys of a server with many kernels
END_SECONDS = 20  # how long the end is told to a hub that may be restarting: it holds the job's node


def own_directory() -> str:
    """A directory of the user's alone on this node, gone with the job; "" where there is no room for one.

    In /tmp, which containers share with the node; TMPDIR may lead to where they can't see.
    """
    place = "/tmp/flatirons-{}-{}".format(os.environ.get("SLURM_JOB_ID", ""), os.urandom(4).hex())
    atexit.register(remove, place)
    try:
        os.mkdir(place, 0o700)
        room = os.path.join(place, "room")
        with open(room, "wb") as file:  # where a directory can be made there may be no room in it
            file.write(bytes(BYTES_OF_ROOM))
        os.unlink(room)
    except OSError as error:
        say(f"What Jupyter keeps while it runs will be in the home: {place}: {error.strerror}")
        return ""
    return place


def remove(place: str) -> None:
    """Removes a directory, as far as that goes."""
    import shutil  # costs a start some milliseconds

    shutil.rmtree(place, ignore_errors=True)


class Server:
    """The notebook server, as a child in a process group of its own."""

    def __init__(self, config: Config, answer: Dict[str, Any]) -> None:
        self.config = config
        self.answer = answer
        self.child: Optional[subprocess.Popen[bytes]] = None
        self.signals: List[int] = []
        self.files = self.write_certificate()
        self.directory = own_directory()

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
        if self.directory:  # connection files and the like: of no use elsewhere, and slow in a far home
            env.setdefault("JUPYTER_RUNTIME_DIR", self.directory)
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
        taken: Set[int] = set()
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
        with contextlib.suppress(OSError):
            forget_old_logs(folder_of_logs())
    status = server.child.wait() if server.child else 0
    if server.signals:
        return 0, None, "The notebook server was stopped."
    return (status, None, "") if status >= 0 else (None, -status, "")


def main(config: Config) -> int:
    """The job, from its first moment to its last; gives the exit code of the job."""
    job_id = int(os.environ["SLURM_JOB_ID"])
    log = open_log(job_id)
    key = os.urandom(32).hex()
    hub: Union[Hub, Record] = Record(config["record"], key) if config["record"] else Hub(config["hub"], key)
    status, number, message = 1, None, ""  # type: Optional[int], Optional[int], str
    try:
        status, number, message = run(config, hub, job_id)
    except (Refused, Unreachable) as error:
        say(error)
        return NOT_WANTED if isinstance(error, Refused) else 1
    except (CannotRun, OSError) as error:
        say(error)
        message = str(error)
    if log == os.devnull and status != 0:
        message = message or "Neither the home directory nor /tmp of the node has room for a log."
    body = {"exit_code": status, "signal": number, "message": message, "log": last_lines(log)}
    try:
        hub.post("end", body, END_SECONDS)
    except (Refused, Unreachable) as error:
        say(error)
    return status if status is not None else 128 + (number or 0)


if __name__ == "__main__":
    sys.exit(main(globals()["CONFIG"]))  # put above this text by job/script.py
