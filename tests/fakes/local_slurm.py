"""Slurm's commands as one program that runs jobs on this machine; its name says which command it is.

For tests of whole programs without Slurm. `$LOCAL_SLURM` is a folder for its records. For job N they are
`N.script`, `N.json` (argv and environment of sbatch), `N.pid`, and at the end `N.status`. It knows the
options that we use.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(os.environ.get("LOCAL_SLURM", "."))


def option(name: str, default: str = "") -> str:
    """The value of --name=value."""
    return next((word.partition("=")[2] for word in sys.argv if word.startswith(f"--{name}=")), default)


def sbatch() -> None:
    """Starts the script in the background, in a new session, as Slurm would."""
    if option("partition", "shas") != "shas":
        sys.exit(f"sbatch: error: invalid partition specified: {option('partition')}")
    job = 1 + len(list(HERE.glob("*.json")))
    (HERE / f"{job}.json").write_text(json.dumps({"argv": sys.argv, "env": dict(os.environ)}))
    script = HERE / f"{job}.script"
    text = sys.stdin.read()
    for command in ("srun", "scancel"):  # the script sets PATH again
        text = text.replace(f" {command} ", f" {Path(sys.argv[0]).with_name(command)} ")
    script.write_text(text)
    print(job, flush=True)
    if os.fork():
        return
    os.setsid()
    with open(option("output", os.devnull), "ab") as log:
        env = {"LOCAL_SLURM": str(HERE), "SLURM_JOB_ID": str(job), "SLURM_JOB_NUM_NODES": "1"}
        env["SLURM_TASKS_PER_NODE"] = option("ntasks", "1")
        child = subprocess.Popen(
            ["bash", script],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
            start_new_session=True,
        )
    for stream in (0, 1, 2):
        os.close(stream)
    (HERE / f"{job}.pid").write_text(str(child.pid))
    (HERE / f"{job}.status").write_text(str(child.wait()))


def srun() -> None:
    """One step: as many tasks as were requested, until the last has ended."""
    command = sys.argv[next(i for i, word in enumerate(sys.argv) if i and not word.startswith("--")) :]
    count = int(option("ntasks", os.environ.get("SLURM_NTASKS", "1")))
    tasks = [subprocess.Popen(command) for _ in range(count)]
    for name in ("SIGTERM", "SIGINT"):
        signal.signal(getattr(signal, name), lambda *_: None)
    sys.exit(max(abs(task.wait()) for task in tasks))


def scancel() -> None:
    """A signal to every process of the job."""
    pid = HERE / f"{sys.argv[-1]}.pid"
    while not pid.exists():
        time.sleep(0.01)
    with contextlib.suppress(ProcessLookupError):  # it is over
        os.killpg(int(pid.read_text()), int(option("signal", "15")))


def squeue() -> None:
    """One job, in the requested format."""
    job = option("jobs")
    if not (HERE / f"{job}.json").exists():
        sys.exit("slurm_load_jobs error: Invalid job id specified")
    status = HERE / f"{job}.status"
    ended = status.read_text() if status.exists() else ""
    state = {"": "RUNNING", "0": "COMPLETED", "-15": "CANCELLED"}.get(ended, "FAILED")
    facts = {"JobID": job, "State": state, "exit_code": str(max(int(ended or 0), 0) << 8), "NodeList": "here"}
    fields = [item.split(":0", 1) for item in option("Format").split(",")]
    print("".join(name.upper() + mark for name, mark in fields))
    print("".join(facts.get(name, "") + mark for name, mark in fields))


if __name__ == "__main__":
    {"sbatch": sbatch, "srun": srun, "scancel": scancel, "squeue": squeue}[Path(sys.argv[0]).name]()
