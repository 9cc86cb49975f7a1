"""Looks at one environment on a machine, from outside its container, then has `probe` look inside.

Its text is sent to that machine's own Python (>= 3.6, nothing else needed) behind a CONFIG, by check.py. It
prints what it found as JSON in one line that begins with MARK; other lines are what a site's prologue says.
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
# Runs the Python that the first line of the server, $1, names; else the one beside it, or the first on PATH.
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
    { echo "there is no Python here" >&2; exit 127; }
exec "$python" -
"""


def image_facts(path: str) -> Dict[str, Any]:
    """Whether we can read the image, and may others; `bytes` of a file, None of a directory."""
    try:
        known = os.stat(path)
    except FileNotFoundError:
        return {"state": "missing"}
    except OSError as error:
        return {"state": "unreadable", "why": error.strerror}
    if not os.access(path, os.R_OK):
        return {"state": "unreadable", "why": "Permission denied"}
    size = known.st_size if stat.S_ISREG(known.st_mode) else None
    return {"state": "ok", "bytes": size, "closed": closed(path), "shut": closed(path, to_group=True)}


def closed(path: str, to_group: bool = False) -> str:
    """The first of the image and the directories above it that not everybody may read or enter; "" for none.

    `to_group`: that not even its group may.
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
    """The GPUs that this machine shows: NVIDIA's and AMD's."""
    return sorted(glob("/dev/nvidia[0-9]*") + glob("/dev/kfd"))


def free_mib(place: str) -> int:
    """What an ordinary user may still write there, in MiB."""
    room = os.statvfs(place)
    return room.f_bavail * room.f_frsize // (1 << 20)


def environment(config: Dict[str, Any]) -> Dict[str, str]:
    """What a job would have here: little of ours, and what Slurm and the site say."""
    account = pwd.getpwuid(os.getuid())
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": account.pw_dir, "SHELL": account.pw_shell}
    env.update({"USER": account.pw_name, "LOGNAME": account.pw_name, "LANG": "C.UTF-8"})
    kept = ("SLURM_", "CUDA_VISIBLE_", "ROCR_VISIBLE_", "GPU_DEVICE_")
    env.update({name: value for name, value in os.environ.items() if name.startswith(kept)})
    env.pop("SLURM_EXPORT_ENV", None)
    env.update(config["environment"])
    return env


def inner_argv(config: Dict[str, Any]) -> List[str]:
    """The words that start the probe inside, as the starter would start the server: prologue, container."""
    argv = [*config["prefix"], "sh", "-c", OWN_PYTHON, "sh", config["server"]]
    if not config["prologue"]:
        return argv
    lines = ["[ ! -r /etc/profile ] || . /etc/profile", config["prologue"]]
    lines += [f"unset -v {name}" for name in config["forgotten"] if name not in config["environment"]]
    lines += ['exec "$@"']
    return ["bash", "-c", "\n".join(lines), "flatirons", *argv]


def look_inside(config: Dict[str, Any]) -> Dict[str, Any]:
    """What the probe found; `exit` is None when it didn't end in time, or couldn't begin: see `errors`."""
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
        values = {
            "program": error.filename,
            "errno": errno.errorcode.get(error.errno or 0, ""),
            "error": error.strerror,
        }
        words = [f"{error.filename} can't be run on this node: {error.strerror}"]
        end = {"kind": "program_not_started", "values": values}  # as in the starter's job/node/kinds.py
        return {"exit": None, "late": False, "errors": words, "inside": None, **end}
    out, err, is_late = converse(child, config["probe"].encode(), config["seconds"])
    inside = None
    for line in out.splitlines():
        if line.startswith(MARK):
            inside = json.loads(line[len(MARK) :])
    errors = [line[:500] for line in err.splitlines()[-LINES:]]
    status = None if is_late else child.returncode
    return {"exit": status, "late": is_late, "errors": errors, "inside": inside}


def converse(child: "subprocess.Popen[bytes]", text: bytes, seconds: float) -> Tuple[str, str, bool]:
    """Both outputs, and whether the child had to be killed after `seconds`."""
    try:
        out, err = child.communicate(text, timeout=seconds)
        is_late = False
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        out, err = child.communicate()
        is_late = True
    return out.decode("utf-8", "replace"), err.decode("utf-8", "replace"), is_late


def survey(config: Dict[str, Any]) -> Dict[str, Any]:
    """All that was seen; nothing is started where the image or a bind is missing."""
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
    print("\n" + MARK + json.dumps(survey(globals()["CONFIG"])))  # put above this text by check.py
    sys.stdout.flush()
