"""Which runner carries out Slurm's commands for the hub."""

from __future__ import annotations

from flatirons.files import umask_before
from flatirons.runner import AsRoot, AsSelf, AsSudo, OverSsh, Runner


def runner_for(run_as: str, ssh_host: str = "") -> Runner:
    """The runner that `run_as` names: "root", "sudo", "ssh" (to `ssh_host`) or "self".

    Jobs get the umask with which the hub was started, not the one that keeps the hub's own files private.
    """
    kinds: dict[str, type[Runner]] = {"root": AsRoot, "sudo": AsSudo, "self": AsSelf}
    runner = OverSsh(ssh_host) if run_as == "ssh" else kinds[run_as]()
    runner.umask = umask_before()
    return runner
