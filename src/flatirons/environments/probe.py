"""Tests an environment from inside: the server, the kernels, Slurm's commands, GPUs.

survey.py sends this text, with a CONFIG above it, to the environment's own Python (>= 3.6). It uses the
standard library and, because it tests it, the environment's jupyter_client. It leaves no files behind. It
prints its observations as JSON on a line that begins with MARK.
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
from typing import IO, Any, Dict, List, Tuple

MARK = "FLATIRONS-SURVEY "
COMMAND_SECONDS = 60
SLURM_COMMANDS = ("squeue", "sbatch", "srun", "scancel")
# Languages in which "1+1" can be run. Other kernels only have to start and answer.
RUNS_ADDITION = ("python", "R", "julia", "scala")


def run(argv: List[str], extra: Dict[str, str]) -> Tuple[int, str, str]:
    """(exit code, stdout, last lines of stderr) of a command; 127 if it can't be run, 124 if it hangs."""
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
    """The path of the server's program (for `-m`, of its Python), and the version that it prints.

    `off_path`: where survey.py found the program, which isn't on the PATH.
    """
    if not argv:
        return {"path": "", "version": "", "error": "", "off_path": ""}
    path = shutil.which(argv[argv.index("-m") - 1 if "-m" in argv else -1]) or ""
    status, out, err = run([*argv, "--version"], {})
    lines = out.split()
    return {
        "path": path,
        "version": lines[-1] if lines and not status else "",
        "error": err if status else "",
        "off_path": os.environ.pop("FLATIRONS_OFF_PATH", ""),
    }


def slurm(environment: Dict[str, str]) -> Dict[str, Any]:
    """Slurm commands that are missing, and whether squeue reaches the controller."""
    missing = [name for name in SLURM_COMMANDS if not shutil.which(name)]
    if "squeue" in missing:
        return {"missing": missing, "version": "", "error": ""}
    _, version, _ = run(["squeue", "--version"], environment)
    status, _, err = run(["squeue", "--me", "--noheader"], environment)
    error = (err or f"squeue ended with exit code {status}") if status else ""
    return {"missing": missing, "version": version.strip(), "error": error}


def kernels(seconds: float) -> Dict[str, Any]:
    """The result of starting each kernel, by its name; `error` if there is no jupyter_client."""
    try:
        from jupyter_client.kernelspec import KernelSpecManager
    except ImportError as missing:
        return {"error": str(missing), "found": {}}
    found = {}
    for name, known in sorted(KernelSpecManager().get_all_specs().items()):
        began = time.monotonic()
        error = try_kernel(name, known["spec"].get("language", ""), seconds)
        found[name] = {"error": error, "seconds": time.monotonic() - began}
    return {"error": "", "found": found}


def try_kernel(name: str, language: str, seconds: float) -> str:
    """Starts a kernel and runs an addition in it; returns why that failed, "" if it didn't."""
    from jupyter_client.manager import start_new_kernel

    with tempfile.TemporaryFile() as log:
        try:
            manager, client = start_new_kernel(
                startup_timeout=seconds, kernel_name=name, stdout=log, stderr=log
            )
        except (RuntimeError, OSError, ValueError) as error:  # jupyter_client's errors for a failed kernel
            return "; ".join([str(error), *last_line(log)])[:400]
        try:
            return run_addition(client, seconds) if language in RUNS_ADDITION else ""
        except TimeoutError as error:
            return str(error)
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


def last_line(log: IO[bytes]) -> List[str]:
    """The last line of the file that isn't empty, if there is one."""
    log.seek(0)
    lines = log.read().decode("utf-8", "replace").split("\n")
    return [line.strip() for line in lines if line.strip()][-1:]


def run_addition(client: Any, seconds: float) -> str:
    """Runs "1+1" in a kernel; returns why that failed, "" if it didn't."""
    reply = client.execute_interactive("1+1", timeout=seconds, output_hook=lambda message: None)
    content = reply["content"]
    return "" if content["status"] == "ok" else content.get("evalue", "") or "1+1 failed"


def gpus() -> Dict[str, Any]:
    """The visible devices, and whether NVIDIA's driver can be loaded."""
    try:
        ctypes.CDLL("libcuda.so.1")
        has_driver = True
    except OSError:
        has_driver = False
    return {"devices": sorted(glob("/dev/nvidia[0-9]*") + glob("/dev/kfd")), "has_driver": has_driver}


def probe(config: Dict[str, Any]) -> Dict[str, Any]:
    """All observations."""
    return {
        "python": platform.python_version(),
        "server": server(config["version_of"]),
        "slurm": {name: slurm(environment) for name, environment in config["clusters"].items()},
        "gpus": gpus(),
        "kernels": kernels(config["kernel_seconds"]),
    }


def main(config: Dict[str, Any]) -> None:
    """Prints the observations; Jupyter writes to a directory that is removed at the end."""
    directory = tempfile.mkdtemp(prefix="flatirons-check-")
    for variable in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        os.environ[variable] = os.path.join(directory, variable.lower())
    try:
        print("\n" + MARK + json.dumps(probe(config)))
        sys.stdout.flush()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(globals()["CONFIG"])  # check.py puts it above this text
