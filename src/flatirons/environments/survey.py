"""Tests one environment on a machine from outside its container, then runs `probe` inside.

check.py sends this text, with a CONFIG above it, to that machine's own Python (>= 3.6, standard library
only), together with job/node/profile.py. It prints its observations as JSON on a line that begins with MARK.
Other lines come from the site's prologue.
"""

import errno
import json
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
from glob import glob
from typing import Any, Dict, List, Optional, Tuple

from flatirons.job.node.kinds import PROGRAM_NOT_STARTED
from flatirons.job.node.profile import ProfileShell, how_ended

MARK = "FLATIRONS-SURVEY "
LINES = 40
NO_PYTHON = "there is no Python here"
# Runs the Python in the first line of the server's program, $1; else the one next to it, or one on PATH. A
# program that isn't on the PATH is searched for where people install Python environments.
OWN_PYTHON = """\
server=$(command -v "$1")
if [ -z "$server" ]; then
    for place in /opt/*/bin /opt/*/*/bin /opt/*/envs/*/bin /srv/*/bin /usr/local/*/bin /*venv/bin; do
        [ -x "$place/$1" ] && server=$place/$1 && export FLATIRONS_OFF_PATH="$server" && break
    done
fi
python=
if [ -f "$server" ]; then
    read -r first second <"$server" 2>/dev/null
    case $first:$second in
    '#!/usr/bin/env:python'*) python=$(command -v "$second") ;;
    '#!/'*/python*) python=${first#'#!'} ;;
    esac
    [ -x "$python" ] || python=${server%/*}/python3
fi
[ -x "$python" ] || python=$(command -v python3) || python=$(command -v python) ||
    { echo "@NO_PYTHON@" >&2; exit 127; }
exec "$python" -
""".replace("@NO_PYTHON@", NO_PYTHON)


def image_facts(path: str) -> Dict[str, Any]:
    """Whether this user and others can read the image; `bytes` is None for a directory."""
    try:
        known = os.stat(path)
    except FileNotFoundError:
        return {"state": "missing"}
    except OSError as error:
        return {"state": "unreadable", "why": error.strerror}
    if not os.access(path, os.R_OK):
        return {"state": "unreadable", "why": "Permission denied"}
    size = known.st_size if stat.S_ISREG(known.st_mode) else None
    closed, shut = find_closed(path), find_closed(path, to_group=True)
    return {"state": "ok", "bytes": size, "closed": closed, "shut": shut}


def find_closed(path: str, to_group: bool = False) -> str:
    """The image, or the first directory above it, that others can't read or enter; "" if there is none.

    With `to_group`, only those that their group can't read or enter either.
    """
    path = os.path.realpath(path)
    group = (stat.S_IRGRP, stat.S_IXGRP) if to_group else (0, 0)
    if not os.stat(path).st_mode & (stat.S_IROTH | group[0]):
        return path
    while path != "/":
        path = os.path.dirname(path)
        if not os.stat(path).st_mode & (stat.S_IXOTH | group[1]):
            return path
    return ""


def devices() -> List[str]:
    """The visible GPUs of this machine: NVIDIA's and AMD's."""
    return sorted(glob("/dev/nvidia[0-9]*") + glob("/dev/kfd"))


def free_mib(path: str) -> int:
    """The free space for ordinary users on this file system, in MiB."""
    space = os.statvfs(path)
    return space.f_bavail * space.f_frsize // (1 << 20)


def environment(config: Dict[str, Any]) -> Dict[str, str]:
    """The environment that a job would have here: a minimum, and what Slurm and the site set."""
    account = pwd.getpwuid(os.getuid())
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": account.pw_dir, "SHELL": account.pw_shell}
    env.update({"USER": account.pw_name, "LOGNAME": account.pw_name, "LANG": "C.UTF-8"})
    kept = ("SLURM_", "CUDA_VISIBLE_", "ROCR_VISIBLE_", "GPU_DEVICE_")
    env.update({name: value for name, value in os.environ.items() if name.startswith(kept)})
    env.pop("SLURM_EXPORT_ENV", None)
    env.update(config["environment"])
    return env


def profile_shell(config: Dict[str, Any]) -> Optional[ProfileShell]:
    """The shell that runs the prologue, as in the starter; None without a prologue."""
    if not config["prologue"]:
        return None
    forget = [f"unset -v {name}" for name in config["forgotten"] if name not in config["environment"]]
    return ProfileShell(config["prologue"], after=forget)


def look_inside(config: Dict[str, Any]) -> Dict[str, Any]:
    """The probe's observations; `exit` is None if it didn't end in time or couldn't start, see `errors`.

    The probe starts as the starter would start the server: profile, prologue, container. `kind` is one of
    job/node/kinds.py where the start failed for such a reason.
    """
    shell = profile_shell(config)
    argv = [*config["prefix"], "sh", "-c", OWN_PYTHON, "sh", config["server"]]
    try:
        child = subprocess.Popen(
            shell.argv(argv) if shell else argv,
            env=environment(config),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=[shell.writer] if shell else [],
        )
    except OSError as error:
        errors = [f"{error.filename} can't be run on this node: {error.strerror}"]
        program_errno = errno.errorcode.get(error.errno or 0, "")
        values = {"program": error.filename, "errno": program_errno, "error": error.strerror}
        end = {"kind": PROGRAM_NOT_STARTED, "values": values}
        return {"exit": None, "late": False, "errors": errors, "inside": None, **end}
    finally:
        if shell:
            shell.close_writer()
    out, err, is_late = communicate(child, config["probe"].encode(), config["seconds"])
    inside = None
    for line in out.splitlines():
        if line.startswith(MARK):
            inside = json.loads(line[len(MARK) :])
    errors = [line[:500] for line in err.splitlines()[-LINES:]]
    status = None if is_late else child.returncode
    kind = shell.end_kind() if shell and not is_late else ""
    values = {"node": node_name(), "status": how_ended(child.returncode)}
    return {
        **{"exit": status, "late": is_late, "errors": errors, "inside": inside},
        **({"kind": kind, "values": values} if kind else {}),
    }


def communicate(child: "subprocess.Popen[bytes]", text: bytes, seconds: float) -> Tuple[str, str, bool]:
    """(stdout, stderr, whether the child was killed after `seconds`)."""
    try:
        out, err = child.communicate(text, timeout=seconds)
        is_late = False
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        is_late = True
    return out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), is_late


def node_name() -> str:
    """Slurm's name of this machine, or its own."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def survey(config: Dict[str, Any]) -> Dict[str, Any]:
    """All observations; the probe isn't started if the image or a bind is missing."""
    is_file = bool(config["image"])
    facts = {
        "node": node_name(),
        "is_root": os.getuid() == 0,
        "image": image_facts(config["image"]) if is_file else None,
        "missing_binds": [source for source in config["binds"] if not os.path.exists(source)],
        "tmp_mib": free_mib("/tmp"),
        "devices": devices(),
    }  # type: Dict[str, Any]
    can_start = not is_file or facts["image"]["state"] == "ok"
    facts["run"] = look_inside(config) if can_start and not facts["missing_binds"] else None
    return facts


if __name__ == "__main__":
    print("\n" + MARK + json.dumps(survey(globals()["CONFIG"])))  # check.py puts it above this text
    sys.stdout.flush()
