"""Looks at an environment from inside: the server, the kernels, Slurm's commands, GPUs.

Its text is sent to the environment's own Python (>= 3.6) behind a CONFIG, by survey.py. Besides the standard
library it uses only what it is there to try: the environment's jupyter_client. It leaves nothing behind. It
prints what it found as JSON in one line that begins with MARK.
"""

import ctypes
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from glob import glob
from typing import Any, Dict, List, Tuple

MARK = "FLATIRONS-SURVEY "
COMMAND_SECONDS = 60
SLURM_COMMANDS = ("squeue", "sbatch", "srun", "scancel")
# Languages in which this is a computation; of other kernels it is asked that they answer.
COUNTS = ("python", "R", "julia", "scala")


def say(argv: List[str], extra: Dict[str, str]) -> Tuple[int, str, str]:
    """(exit code, stdout, last lines of stderr) of a command; 127 when it can't be run, 124 when it hangs."""
    try:
        child = subprocess.Popen(
            argv,
            env=dict(os.environ, **extra),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        return 127, "", f"{argv[0]}: {error.strerror}"
    try:
        out, err = child.communicate(timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return 124, "", f"no answer within {COMMAND_SECONDS} s"
    lines = [line.strip() for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    return child.returncode, out.decode("utf-8", "replace"), " ".join(lines[-2:])[-300:]


def server(argv: List[str]) -> Dict[str, Any]:
    """Where the server's program is (of `-m` its Python), and the version of jupyterhub that it says."""
    if not argv:
        return {"path": "", "version": "", "error": ""}
    path = shutil.which(argv[argv.index("-m") - 1 if "-m" in argv else -1]) or ""
    status, out, err = say([*argv, "--version"], {})
    lines = out.split()
    return {
        "path": path,
        "version": lines[-1] if lines and not status else "",
        "error": err if status else "",
    }


def slurm(environment: Dict[str, str]) -> Dict[str, Any]:
    """Which of Slurm's commands are missing, and what squeue says when it asks the controller."""
    missing = [name for name in SLURM_COMMANDS if not shutil.which(name)]
    if "squeue" in missing:
        return {"missing": missing, "version": "", "error": ""}
    _, version, _ = say(["squeue", "--version"], environment)
    status, _, err = say(["squeue", "--me", "--noheader"], environment)
    error = (err or f"squeue ended with exit code {status}") if status else ""
    return {"missing": missing, "version": version.strip(), "error": error}


def kernels(seconds: float) -> Dict[str, Any]:
    """Name -> what became of its start; `error` when there is no jupyter_client to ask."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager
    except ImportError as missing:
        return {"error": str(missing), "found": {}}
    found = {}
    for name, known in sorted(KernelSpecManager().get_all_specs().items()):
        began = time.monotonic()
        error = start_kernel(name, known["spec"].get("language", ""), seconds)
        found[name] = {"error": error, "seconds": time.monotonic() - began}
    return {"error": "", "found": found}


def start_kernel(name: str, language: str, seconds: float) -> str:
    """Starts a kernel and has it add one and one; the reason why that failed, "" when it didn't."""
    from jupyter_client.manager import start_new_kernel

    with tempfile.TemporaryFile() as words:
        try:
            manager, client = start_new_kernel(
                startup_timeout=seconds, kernel_name=name, stdout=words, stderr=words
            )
        except (
            RuntimeError,
            OSError,
            ValueError,
        ) as error:  # what jupyter_client raises for a kernel that fails
            words.seek(0)
            lines = words.read().decode("utf-8", "replace").split("\n")
            said = [line.strip() for line in lines if line.strip()]
            return "; ".join([str(error), *said[-1:]])[:400]
        try:
            if language not in COUNTS:
                return ""
            reply = client.execute_interactive("1+1", timeout=seconds, output_hook=lambda message: None)
            content = reply["content"]
            return "" if content["status"] == "ok" else content.get("evalue", "") or "1+1 failed"
        except TimeoutError as error:
            return str(error)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def gpus() -> Dict[str, Any]:
    """The devices that are seen, and whether NVIDIA's driver can be loaded."""
    try:
        ctypes.CDLL("libcuda.so.1")
        has_driver = True
    except OSError:
        has_driver = False
    return {"devices": sorted(glob("/dev/nvidia[0-9]*") + glob("/dev/kfd")), "has_driver": has_driver}


def probe(config: Dict[str, Any]) -> Dict[str, Any]:
    """All that was seen."""
    return {
        "python": platform.python_version(),
        "server": server(config["version_of"]),
        "slurm": {name: slurm(environment) for name, environment in config["clusters"].items()},
        "gpus": gpus(),
        "kernels": kernels(config["kernel_seconds"]),
    }


def main(config: Dict[str, Any]) -> None:
    """Prints what was seen; what Jupyter writes meanwhile goes to a directory that is removed."""
    place = tempfile.mkdtemp(prefix="flatirons-check-")
    for variable in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        os.environ[variable] = os.path.join(place, variable.lower())
    try:
        print("\n" + MARK + json.dumps(probe(config)))
        sys.stdout.flush()
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main(globals()["CONFIG"])  # put above this text by check.py
