"""What `survey` and `probe` saw, as findings: a sentence each, and what to do about it; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flatirons.environments.catalogue import Environment
from flatirons.environments.versions import Fit, fit
from flatirons.servers.causes import StarterEnd
from flatirons.servers.diagnosis import diagnose

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"
LEAST_TMP_MIB = 64
NOISE = re.compile(r"WARNING:|INFO:|DEBUG:")  # of Apptainer

BY_HAND = "Try it by hand on that machine, as its words may say more there."
# What an operator does about causes that people are told, too: see servers/log_patterns.py.
START_ADVICE = {
    "wrong_architecture": "Build it for this processor, or offer it only in `partitions` that have its own.",
    "bind_missing": "Make or mount it there, or take it out of the binds in the site file.",
    "tmp_full": "Make room there. Where nodes have squashfuse, Apptainer needn't unpack image files into it.",
    "home_full": "Make room there.",
    "quota": "Remove files of whoever checks.",
    "module_missing": "Correct the module's name in `prologue`.",
    "no_apptainer": "Install it, or say in `containers.apptainer` where it is. On a node: --partition.",
}

# What Slurm's commands say inside, and what an operator does about it.
SLURM_ADVICE = (
    (r"munge|authentic", "Bind munge's socket, /run/munge, in containers.binds, and see that munged runs."),
    (
        r"slurm\.conf|conf(ig)? file|resolve_ctls|configuration source|DNS SRV|read_config",
        "Bind the directory of slurm.conf in containers.binds.",
    ),
    (
        r"[Ii]ncompatible|version",
        "Give the image Slurm commands of the cluster's release, or of one of the two before it.",
    ),
    (r"Invalid user|user", "Bind /etc/passwd and /etc/group, or the sockets of SSSD, in containers.binds."),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `level` is one of OK, WARNING, FAILED, SKIPPED."""

    subject: str
    level: str
    sentence: str
    advice: str = ""

    @property
    def text(self) -> str:
        """The sentence and what to do."""
        return f"{self.sentence} {self.advice}".strip()


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an environment is held against: the hub's jupyterhub, and whether a GPU was asked of Slurm."""

    hub_version: str
    on_node: bool = False


def judge(environment: Environment, seen: Mapping[str, Any], expected: Expectation) -> list[Finding]:
    """Every finding of an environment, in the order in which a server would stumble over them."""
    node = str(seen["node"])
    found = [*_image(environment, seen, node, expected.on_node), *_binds(seen, node), *_tmp(seen, node)]
    run = seen["run"]
    if run is None:
        return [*found, Finding("start", SKIPPED, "Not tried, for what was found above.")]
    inside = run["inside"]
    if inside is None:
        return [*found, _broken_start(run)]
    what = "Its container" if environment.image.kind != "none" else "It"
    found.append(Finding("start", OK, f"{what} runs, with Python {inside['python']}."))
    found.append(_server(environment, inside["server"], expected.hub_version))
    found += _kernels(inside["kernels"])
    found += (_slurm(name, said, len(inside["slurm"])) for name, said in inside["slurm"].items())
    return [*found, *_gpu(environment, seen, inside["gpus"], expected.on_node)]


def is_bad(findings: Sequence[Finding]) -> bool:
    """Does something fail?"""
    return any(finding.level == FAILED for finding in findings)


def _image(environment: Environment, seen: Mapping[str, Any], node: str, on_node: bool) -> Iterator[Finding]:
    path, said = environment.image.path, seen["image"]
    if said is None:
        return
    if said["state"] == "missing":
        advice = "Put it there, or correct `image`."
        advice += "" if on_node else " If only nodes have it, check on one: --partition NAME."
        yield Finding("image", FAILED, f"The image {path} doesn't exist on {node}.", advice)
    elif said["state"] == "unreadable":
        advice = f"Every user must be able to read it: chmod a+r {path}, and a+x the directories above."
        yield Finding("image", FAILED, f"The image {path} can't be read on {node}: {said['why']}.", advice)
    elif said["closed"]:
        advice = f"Unless that is meant so: chmod a+rX {said['closed']}"
        sentence = f"The image {path} can't be read by everybody: {said['closed']} is closed to others."
        yield Finding("image", FAILED if seen["is_root"] and said["shut"] else WARNING, sentence, advice)
    else:
        size = "a directory" if said["bytes"] is None else f"{said['bytes'] / 1e6:.0f} MB"
        yield Finding("image", OK, f"{path} is there and can be read by everybody: {size}.")


def _binds(seen: Mapping[str, Any], node: str) -> Iterator[Finding]:
    for source in seen["missing_binds"]:
        sentence = f"The bind source {source} doesn't exist on {node}."
        yield Finding(
            "binds", FAILED, sentence, "Make or mount it there, or take it out of the binds in the site file."
        )


def _tmp(seen: Mapping[str, Any], node: str) -> Iterator[Finding]:
    if seen["tmp_mib"] < LEAST_TMP_MIB:
        sentence = f"/tmp of {node} has {seen['tmp_mib']} MiB free."
        yield Finding(
            "/tmp",
            FAILED,
            sentence,
            f"Containers and servers need room there, {LEAST_TMP_MIB} MiB at least: make some.",
        )


def _broken_start(run: Mapping[str, Any]) -> Finding:
    if run.get("late"):
        return Finding(
            "start",
            FAILED,
            "It didn't end within the time for a check.",
            "Try again with a longer --timeout.",
        )
    words = [line for line in run["errors"] if line.strip() and not NOISE.match(line)]
    if "there is no Python here" in words:
        advice = "Install Python and jupyterhub-singleuser in it."
        return Finding("start", FAILED, "It has no Python, and so no jupyterhub-singleuser.", advice)
    kind, values = run.get("kind", ""), run.get("values", {})
    cause = diagnose(None, None, StarterEnd(run["exit"], None, "", tuple(words), kind, values), was_up=False)
    if cause.kind in ("failed", "signal"):
        last = words[-1] if words else "none"
        return Finding("start", FAILED, _stopped(f"It can't be run; its last words were: {last}"), BY_HAND)
    return Finding("start", FAILED, cause.sentence, START_ADVICE.get(cause.kind, BY_HAND))


def _server(environment: Environment, said: Mapping[str, Any], hub: str) -> Finding:
    ours = hub.partition(".")[0] or "*"
    advice = (
        f"Install it there: pip install 'jupyterhub=={ours}.*', or jupyterhub-base={ours} of conda-forge."
    )
    if not version_command(environment.cmd):
        cmd = " ".join(environment.cmd)
        return Finding(
            "server", SKIPPED, f"Its cmd is the site's own ({cmd}): no version can be asked of it."
        )
    if not said["version"] and not said["path"]:
        return Finding("server", FAILED, "The environment has no jupyterhub-singleuser.", advice)
    if said["error"] or not said["version"]:
        words = said["error"] or "it said nothing"
        cause = diagnose(None, None, StarterEnd(1, None, "", (words,)), was_up=False)
        fails = _stopped(f"{said['path']} --version fails: {words}")
        return Finding("server", FAILED, cause.sentence if cause.kind == "old_jupyterhub" else fails, advice)
    level, sentence = compare(said["version"], hub)
    return Finding("server", level, sentence, "" if level == OK else advice)


def compare(version: str, hub: str) -> tuple[str, str]:
    """How a server's jupyterhub goes with the hub's: a level and a sentence."""
    if not hub:
        return WARNING, f"It has jupyterhub {version}; this machine has no hub's to compare it with."
    match fit(version, hub):
        case Fit.SAME:
            return OK, f"Its jupyterhub {version} goes with the hub's, {hub}."
        case Fit.UNKNOWN:
            return WARNING, f"Its jupyterhub, {version!r}, can't be compared with the hub's, {hub!r}."
        case other:
            age = "an older" if other is Fit.OLDER else "a newer"
            sentence = f"Its jupyterhub {version} is of {age} major version than the hub's, {hub}"
            return WARNING, f"{sentence}: logging in to its servers may fail."


def _kernels(said: Mapping[str, Any]) -> Iterator[Finding]:
    if said["error"]:
        sentence = f"Its kernels can't be tried: {said['error']}."
        yield Finding(
            "kernels", FAILED, sentence, "Install jupyterlab, and a kernel, beside jupyterhub-singleuser."
        )
    elif not said["found"]:
        yield Finding("kernels", FAILED, "It has no kernel.", "Install one: pip install ipykernel")
    for name, each in said["found"].items():
        if each["error"]:
            advice = (
                f"Try it there: jupyter run --kernel {name}; or remove it: jupyter kernelspec remove {name}"
            )
            yield Finding(f"kernel {name}", FAILED, _stopped(f"It doesn't start: {each['error']}"), advice)
        else:
            yield Finding(f"kernel {name}", OK, f"It starts and answers within {each['seconds']:.1f} s.")


def _slurm(cluster: str, said: Mapping[str, Any], clusters: int) -> Finding:
    subject = f"slurm {cluster}" if clusters > 1 else "slurm"
    if "squeue" in said["missing"]:
        advice = "Servers work, engines and sbatch from a notebook don't: install a Slurm client in it."
        return Finding(subject, WARNING, "It has no Slurm commands.", advice)
    if said["error"]:
        fitting = (advice for pattern, advice in SLURM_ADVICE if re.search(pattern, said["error"]))
        advice = next(fitting, "See that slurmctld runs and can be reached from here.")
        return Finding(
            subject, FAILED, _stopped(f"squeue inside doesn't reach {cluster}: {said['error']}"), advice
        )
    return Finding(subject, OK, f"squeue inside ({said['version']}) reaches {cluster}.")


def _gpu(
    environment: Environment, seen: Mapping[str, Any], inside: Mapping[str, Any], on_node: bool
) -> Iterator[Finding]:
    if not (environment.needs_gpu or environment.image.nv):
        return
    if not seen["devices"]:
        if on_node and environment.needs_gpu:
            sentence = f"{seen['node']} shows no GPU, although Slurm gave one."
            yield Finding(
                "gpu", FAILED, sentence, "See that the node's driver is loaded, and File= in its gres.conf."
            )
        else:
            yield Finding(
                "gpu",
                SKIPPED,
                f"{seen['node']} has no GPU.",
                "Check it on a node that has: --partition NAME.",
            )
    elif not inside["devices"]:
        yield Finding(
            "gpu", FAILED, "The node's GPUs aren't seen inside.", "Take options such as --contain off it."
        )
    elif any("nvidia" in path for path in seen["devices"]) and not inside["has_driver"]:
        advice = (
            "Set `nv = true`."
            if not environment.image.nv
            else "See that the node has NVIDIA's libraries (libcuda.so.1)."
        )
        yield Finding("gpu", FAILED, "NVIDIA's driver can't be loaded inside.", advice)
    else:
        yield Finding("gpu", OK, f"GPUs are seen inside: {', '.join(inside['devices'])}.")


def version_command(cmd: Sequence[str]) -> list[str]:
    """The beginning of a server's command up to the server's name, [] when it has none that we know.

    With --version behind it that says the version of jupyterhub.
    """
    words = list(cmd) or ["jupyterhub-singleuser"]
    for place, word in enumerate(words):
        if word.rpartition("/")[2] in ("jupyterhub-singleuser", "jupyter-labhub", "jupyterhub.singleuser"):
            return words[: place + 1]
    return []


def _stopped(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
