"""Short words for the kinds of ends, for tables and headings: a report has a whole sentence. Pure."""

from __future__ import annotations

WISHED = ("completed", "stopped")
"""The kinds of ends that are no failures."""

WORDS = {
    "stopped": "stopped",
    "completed": "ended by itself, without an error",
    "time_limit": "time limit reached",
    "out_of_memory": "out of memory",
    "node_failure": "the node failed",
    "preempted": "preempted by another job",
    "deadline": "the job's deadline passed",
    "cancelled": "cancelled by its user",
    "cancelled_by_operator": "cancelled by an operator",
    "revoked": "started on another cluster of the federation",
    "vanished": "the job vanished from Slurm",
    "refused": "refused by Slurm",
    "prolog": "the node's prolog failed",
    "launch": "the job's script could not be started",
    "requeued": "put back into the queue",
    "image_missing": "image missing or unreadable",
    "no_apptainer": "Apptainer missing or not allowed",
    "home_missing": "home directory missing on the node",
    "port": "no free port on the node",
    "address_in_use": "the server's port was in use",
    "profile": "the node's profile ended the shell",
    "prologue": "the site's prologue ended the shell",
    "no_singleuser": "JupyterHub missing in the environment",
    "no_jupyterlab": "JupyterLab missing in the environment",
    "wrong_architecture": "made for another kind of processor",
    "tmp_full": "no space in the node's /tmp",
    "home_full": "no space in the home directory",
    "quota": "disk quota exceeded",
    "module_missing": "environment module missing",
    "import_error": "Python package broken or missing",
    "container": "the container could not be set up",
    "bind_missing": "bound directory missing on the node",
    "old_jupyterhub": "JupyterHub in the environment too old",
    "hub_unreachable": "the node could not reach the hub",
    "silent": "the starter did not report",
    "not_answering": "the server did not answer",
    "not_expected": "the hub did not expect the starter",
    "call_refused": "the hub refused the starter's calls",
    "too_long_in_queue": "too long in the queue",
    "not_submitted": "not submitted",
    "signal": "ended by a signal",
    "failed": "ended with an error",
}


def kind_in_words(kind: str) -> str:
    """What this kind of end is, in a few words; the kind itself for one of a later release."""
    return WORDS.get(kind, kind.replace("_", " "))
