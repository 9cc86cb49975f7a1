"""The first program of a notebook job: asks the hub for the environment, runs the server, reports its end.

It runs as the user, outside the container. job/script.py puts it and the other modules of this folder into
the job script as one text, so the node needs Python >= 3.6 and nothing else.
"""

from __future__ import annotations

import atexit
import errno
import os
import pwd
import resource
import sys
import time
from typing import TYPE_CHECKING

from flatirons.job.node.calls import NOT_WANTED, HubApi, RecordFile, Refused, Unreachable
from flatirons.job.node.child import start
from flatirons.job.node.interpreter import signal
from flatirons.job.node.kinds import (
    HOME_UNREACHABLE,
    IMAGE_MISSING,
    IMAGE_UNREADABLE,
    NO_ROOM_FOR_LOG,
    NOT_REPORTED,
    PORTS_TAKEN,
    PROFILE_ENDED,
    PROGRAM_NOT_STARTED,
    STOPPED,
    CannotRun,
)
from flatirons.job.node.log import folder_of_logs, forget_old_logs, last_lines, open_log, say
from flatirons.job.node.ports import free_port, hold, is_answered, is_free, listens, lock, own_address
from flatirons.job.node.profile import ProfileShell, how_ended

if TYPE_CHECKING:
    import subprocess
    from types import FrameType
    from typing import Any, Union

    from flatirons.job.node.child import Child
    from flatirons.job.node.interpreter import socket
    from flatirons.job.node.usage import UsageReports

    Config = dict[str, Any]  # of job/script.py, StarterConfig
    CallTarget = Union[HubApi, RecordFile]

PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
PORT_ATTEMPTS = 10
LONGEST_WAIT = 3600  # seconds
BYTES_OF_ROOM = 64 * 1024  # more than the connection files and keys of a server with many kernels
END_SECONDS = 20  # for the call `end`, as the hub may be restarting; until then the job keeps its node
LONGEST_VALUE = 1000  # characters that the hub takes of a message or a value


def own_directory() -> str:
    """A private directory on this node that is removed with the job; "" when there is no room for one.

    It is in /tmp, which containers share with the node. TMPDIR may be a directory that they don't see.
    """
    place = "/tmp/flatirons-{}-{}".format(os.environ.get("SLURM_JOB_ID", ""), os.urandom(4).hex())
    atexit.register(remove, place)
    try:
        os.mkdir(place, 0o700)
        room = os.path.join(place, "room")
        with open(room, "wb") as file:  # on a full disk a directory can still be created
            file.write(bytes(BYTES_OF_ROOM))
        os.unlink(room)
    except OSError as error:
        full = OSError(error.errno, error.strerror, place)  # a failed write doesn't name its file
        say(f"Jupyter's runtime files will be in the home: {full}")
        return ""
    return place


def write_kernel_settings(place: str, text: str) -> str:
    """The directory with settings for Jupyter (kernel_transport.py): in `place`, else in the home, or ""."""
    settings = os.path.join(place or folder_of_logs(), "config-" + os.urandom(4).hex())
    if not place:
        atexit.register(remove, settings)
    try:
        os.makedirs(settings, 0o700)
        with open(os.path.join(settings, "jupyter_config.py"), "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        say(f"Other users of this node may read what kernels print: {error}")
        return ""
    return settings


def remove(place: str) -> None:
    """Removes a directory and ignores errors."""
    import shutil  # its import takes some milliseconds, which a start doesn't need to wait for

    shutil.rmtree(place, ignore_errors=True)


class Server:
    """The notebook server, as a child in its own process group."""

    def __init__(self, config: Config, answer: dict[str, Any]) -> None:
        self.config = config
        self.answer = answer
        self.child: Child | subprocess.Popen[bytes] | None = None
        self.shell: ProfileShell | None = None
        self.signals: list[int] = []
        self.held: socket.socket | None = None  # keeps the server's port until this process ends
        self.files = self.write_certificate()
        self.directory = own_directory()
        self.kernel_settings = write_kernel_settings(self.directory, config["kernel_settings"])

    def on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Passes a signal on to the server, whose end is a requested stop from then on.

        Only the server gets it: the process of the container's file system, in the same group, must outlive
        the server.
        """
        self.signals.append(number)
        if self.child is not None and self.child.poll() is None:
            try:
                os.kill(self.child.pid, number)
            except (ProcessLookupError, PermissionError):  # it has just ended
                pass

    def environment(self, address: str, port: int) -> dict[str, str]:
        """The server's environment: the job's own, what the site and the hub set, and where to listen."""
        account = pwd.getpwuid(os.getuid())
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": account.pw_dir, "SHELL": account.pw_shell}
        env.update({"USER": account.pw_name, "LOGNAME": account.pw_name, "LANG": "C.UTF-8"})
        env.update(os.environ)
        # sbatch --export=NIL sets the first; with it every later srun would lose its environment
        for name in ("SLURM_EXPORT_ENV", "SBATCH_EXPORT", "SLURM_GET_USER_ENV", *self.config["forgotten"]):
            env.pop(name, None)
        if self.directory:  # connection files are of no use on other machines, and slow on a network disk
            env.setdefault("JUPYTER_RUNTIME_DIR", self.directory)
            env.setdefault("FLATIRONS_SOCKETS", self.directory)
        env.update(self.config["environment"])
        env.update(self.answer["environment"])
        if self.kernel_settings:  # the directory that is named first counts most
            places = [env.get("JUPYTER_CONFIG_PATH", ""), self.kernel_settings]
            env["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, places))
        if not self.config["record"]:
            scheme = "https" if self.answer.get("tls") else "http"
            host = f"[{address}]" if ":" in address else address
            env["JUPYTERHUB_SERVICE_URL"] = "{}://{}:{}{}".format(scheme, host, port, self.answer["prefix"])
        env.update(self.files)
        return env

    def write_certificate(self) -> dict[str, str]:
        """Writes the certificate to private files of the user; returns their paths by variable."""
        texts = self.answer.get("tls")
        if not texts:
            return {}
        import shutil  # needed for internal TLS only
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

    def start(self, address: str, port: int) -> Child | subprocess.Popen[bytes]:
        """Starts the server; a profile and a prologue run first, in the shell that then becomes the server.

        Raises CannotRun when the program can't be executed.
        """
        listen = [word.format(address=address, port=port) for word in self.config["listen"]]
        argv = [*self.config["command"], *listen]
        self.shell = None
        if self.config["prologue"]:
            self.shell = ProfileShell(self.config["prologue"], self.remember(), self.forget())
            argv = self.shell.argv(argv)
        try:
            return start(argv, self.environment(address, port), [self.shell.writer] if self.shell else [])
        except OSError as error:
            text = f"{argv[0]} can't be run on this node: {error.strerror}"
            name = errno.errorcode.get(error.errno or 0, "")
            values = {"program": argv[0], "errno": name, "error": error.strerror}
            raise CannotRun(PROGRAM_NOT_STARTED, text, **values) from None
        finally:
            if self.shell:
                self.shell.close_writer()

    def check_shell(self, status: int) -> None:
        """Raises CannotRun when a child that ended so was still the shell, in the profile or the prologue."""
        kind = self.shell.end_kind() if self.shell else ""
        if kind:
            what = "/etc/profile" if kind == PROFILE_ENDED else "The site's prologue"
            text = f"{what} ended the job's shell ({how_ended(status)}), so the server could not start."
            raise CannotRun(kind, text, node=node_name(), status=how_ended(status))

    def kept_variables(self) -> list[str]:
        """The `forgotten` variables that the site or the hub sets, so that the server gets them anyway."""
        given = {**self.config["environment"], **self.answer["environment"]}
        return [name for name in self.config["forgotten"] if name in given]

    def remember(self) -> list[str]:
        """Shell lines that save the values of `kept_variables` before a module changes them."""
        return [f'flatirons_{name}="${name}"' for name in self.kept_variables()]

    def forget(self) -> list[str]:
        """Shell lines that unset what modules set for the node's own software, and restore what was saved."""
        forgotten = [f"unset -v {name}" for name in self.config["forgotten"]]
        return [*forgotten, *(f'export {name}="$flatirons_{name}"' for name in self.kept_variables())]

    def listen(self) -> int | None:
        """Starts the server, again if a stranger takes its port; returns the port once the server listens.

        Returns None when the server ended before that. Raises CannotRun when it can't be started.
        """
        address = own_address(self.answer.get("addresses") or [])
        taken: set[int] = set()
        for _ in range(PORT_ATTEMPTS):
            if self.signals:
                return None
            port = free_port(address, self.config["ports"], taken)
            taken.add(port)
            held = hold(address, port)
            if held is None:  # somebody was faster
                continue
            child = self.child = self.start(address, port)
            if self.signals:  # a signal came before there was a child to pass it on to
                self.on_signal(signal.SIGTERM, None)
            pause = 0.005
            while child.poll() is None:
                if is_answered(address, port) and listens(child.pid, port):
                    lock(held)
                    self.held = held
                    return port
                time.sleep(pause)  # the kernel has no event for "a process listens"
                pause = min(pause * 1.2, 0.05)
            held.close()
            if self.signals:
                return None
            self.check_shell(child.wait())
            if is_free(address, port):
                return None
            say(f"Port {port} was taken in the meantime; trying another one.")
        raise CannotRun(PORTS_TAKEN, "Other programs took all ports that were tried.", attempts=PORT_ATTEMPTS)

    def wait(self, usage: UsageReports | None) -> None:
        """Returns when the server has ended; looks at the job's memory meanwhile, unless `usage` is None.

        Signals are blocked where they are waited for. Otherwise one that comes just before the wait would not
        end it. The server has been started before, so it doesn't inherit this.
        """
        child, pause = self.child, usage.pause if usage else LONGEST_WAIT
        awaited = (*PASSED_ON, signal.SIGCHLD)
        signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        while child and child.poll() is None:
            came = signal.sigtimedwait(awaited, pause)
            if came is None and usage:  # a look may take long
                signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)
                pause = usage.look()
                signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
            elif came and came.si_signo in PASSED_ON:
                self.on_signal(came.si_signo, None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, awaited)


class EndCall:
    """The call `end`: exit code or signal, and the kind where the starter knows more (kinds.py)."""

    def __init__(
        self,
        exit_code: int | None,
        number: int | None = None,
        kind: str = "",
        text: str = "",
        **values: str,
    ) -> None:
        self.exit_code = exit_code
        self.number = number
        self.kind = kind
        self.text = text
        self.values = values

    def body(self, log: list[str]) -> dict[str, Any]:
        """The body of the call `end`."""
        values = {name: value[:LONGEST_VALUE] for name, value in self.values.items()}
        said = {"kind": self.kind, "values": values, "message": self.text[:LONGEST_VALUE], "log": log}
        return {"exit_code": self.exit_code, "signal": self.number, **said}


def disable_core_files() -> None:
    """Sets the soft limit of core files to 0: they fill the home when Slurm ends a job."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def node_name() -> str:
    """Slurm's name of this node."""
    return os.environ.get("SLURMD_NODENAME", "this node")


def enter_home() -> None:
    """Changes to the user's home; raises CannotRun when the node doesn't have it."""
    home = os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    node = node_name()
    try:
        os.chdir(home)
    except OSError as error:
        text = f"Your home directory {home} can't be entered on {node}: {error.strerror}."
        raise CannotRun(HOME_UNREACHABLE, text, home=home, node=node, error=error.strerror) from None


def check_image(config: Config) -> None:
    """Raises CannotRun when the image is missing or unreadable: Apptainer's own messages are for experts."""
    image, node = config["image"], node_name()
    if image and not os.path.exists(image):
        raise CannotRun(IMAGE_MISSING, f"The image {image} doesn't exist on {node}.", image=image, node=node)
    if image and not os.access(image, os.R_OK):
        text = f"You can't read the image {image} on {node}."
        raise CannotRun(IMAGE_UNREADABLE, text, image=image, node=node)


def report_ready(hub: CallTarget, server: Server, port: int, deadline: float) -> EndCall | None:
    """Makes the call `ready`; stops the server when it fails. Returns its end if the hub wasn't reached."""
    try:
        hub.post("ready", {"port": port}, deadline)
        return None
    except (Refused, Unreachable) as error:
        server.on_signal(signal.SIGTERM, None)
        say(error)
        if isinstance(error, Refused):  # the hub doesn't want this server any more
            return None
        return EndCall(0, None, NOT_REPORTED, str(error), to=hub.address)


def usage_reports(text: str, hub: CallTarget, job_id: int) -> UsageReports | None:
    """What looks at the job's memory for the hub; None without a hub. `text` is that of usage.py.

    To compile it takes a quarter as long as the rest, and the start of a server needn't wait for that.
    """
    if not isinstance(hub, HubApi):
        return None
    exec(text, globals())
    found: UsageReports = globals()["UsageReports"](hub, job_id)
    return found


def run(config: Config, hub: CallTarget, job_id: int) -> EndCall:
    """Boots, and runs the server to its end."""
    body = {"job_id": job_id, "code": config["code"], "key": hub.key}
    server = Server(config, hub.post("boot", body, config["hub_deadline"]))
    for number in PASSED_ON:
        signal.signal(number, server.on_signal)
    disable_core_files()
    enter_home()
    check_image(config)
    port = server.listen()
    unreported = None
    if port is not None:
        unreported = report_ready(hub, server, port, config["hub_deadline"])
        try:
            forget_old_logs(folder_of_logs())
        except OSError:  # the next server removes them
            pass
        server.wait(usage_reports(config["usage"], hub, job_id))
    status = server.child.wait() if server.child else 0
    if server.signals:
        return unreported or EndCall(0, None, STOPPED, "The notebook server was stopped.")
    return EndCall(status) if status >= 0 else EndCall(None, -status)


def run_or_explain(config: Config, hub: CallTarget, job_id: int) -> EndCall:
    """Like `run`, but returns the end of a server that couldn't be run. Raises Refused or Unreachable."""
    try:
        return run(config, hub, job_id)
    except CannotRun as error:
        say(error)
        return EndCall(1, None, error.kind, str(error), **error.values)
    except OSError as error:
        say(error)
        return EndCall(1, None, "", str(error))


def main(config: Config) -> int:
    """Runs the whole job; returns its exit code."""
    job_id = int(os.environ["SLURM_JOB_ID"])
    log = open_log(job_id)
    key = os.urandom(32).hex()
    hub: CallTarget = RecordFile(config["record"], key) if config["record"] else HubApi(config["hub"], key)
    try:
        end = run_or_explain(config, hub, job_id)
    except (Refused, Unreachable) as error:
        say(error)
        return NOT_WANTED if isinstance(error, Refused) else 1
    if log == os.devnull and end.exit_code != 0 and not end.text:
        end.kind = NO_ROOM_FOR_LOG
        end.text = "Neither the home directory nor /tmp of the node has room for a log."
    try:
        hub.post("end", end.body(last_lines(log)), END_SECONDS)
    except (Refused, Unreachable) as error:
        say(error)
    return end.exit_code if end.exit_code is not None else 128 + (end.number or 0)


if __name__ == "__main__":
    sys.exit(main(globals()["CONFIG"]))  # job/script.py puts its definition above this text
