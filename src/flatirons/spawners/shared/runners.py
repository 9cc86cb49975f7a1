"""Which runner carries out Slurm's commands for the hub."""

from __future__ import annotations

from flatirons.runner import AsRoot, AsSelf, AsSudo, OverSsh, Runner


def runner_for(run_as: str, ssh_host: str = "") -> Runner:
    """The runner that `run_as` names: "root", "sudo", "ssh" (to `ssh_host`) or "self"."""
    if run_as == "ssh":
        return OverSsh(ssh_host)
    kinds: dict[str, type[Runner]] = {"root": AsRoot, "sudo": AsSudo, "self": AsSelf}
    return kinds[run_as]()
