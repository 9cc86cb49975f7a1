"""Tests one environment on a machine from outside its container, then runs `probe` inside.

check.py sends this text, with a CONFIG above it, to that machine's own Python (>= 3.6, standard library
only). It prints its observations as JSON on a line that begins with MARK. Other lines come from the site's
prologue.
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
from typing import Any, Dict, List, Tuple

MARK = "FLATIRONS-SURVEY "
LINES = 40
NO_PYTHON = "there is no Python here"
# Runs the Python in the first line of the server's program, $1; else the one next to it, or one on PATH.
OWN_PYTHON = """\
server=$(command -v "$1")
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


def inner_argv(config: Dict[str, Any]) -> List[str]:
    """The command that starts the probe as the starter would start the server: prologue, container."""
    argv = [*config["prefix"], "sh", "-c", OWN_PYTHON, "sh", config["server"]]
    if not config["prologue"]:
        return argv
    lines = ["[ ! -r /etc/profile ] || . /etc/profile", config["prologue"]]
    lines += [f"unset -v {name}" for name in config["forgotten"] if name not in config["environment"]]
    lines += ['exec "$@"']
    return ["bash", "-c", "\n".join(lines), "flatirons", *argv]


def look_inside(config: Dict[str, Any]) -> Dict[str, Any]:
    """The probe's observations; `exit` is None if it didn't end in time or couldn't start, see `errors`."""
    try:
        child = subprocess.Popen(
            inner_argv(config),
            env=environment(config),
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        errors = [f"{error.filename} can't be run on this node: {error.strerror}"]
        # As in the starter's job/node/kinds.py.
        program_errno = errno.errorcode.get(error.errno or 0, "")
        values = {"program": error.filename, "errno": program_errno, "error": error.strerror}
        end = {"kind": "program_not_started", "values": values}
        return {"exit": None, "late": False, "errors": errors, "inside": None, **end}
    out, err, is_late = communicate(child, config["probe"].encode(), config["seconds"])
    inside = None
    for line in out.splitlines():
        if line.startswith(MARK):
            inside = json.loads(line[len(MARK) :])
    errors = [line[:500] for line in err.splitlines()[-LINES:]]
    status = None if is_late else child.returncode
    return {"exit": status, "late": is_late, "errors": errors, "inside": inside}


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


def survey(config: Dict[str, Any]) -> Dict[str, Any]:
    """All observations; the probe isn't started if the image or a bind is missing."""
    is_file = bool(config["image"])
    facts = {
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
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
