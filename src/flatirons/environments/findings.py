"""Turns what `survey` and `probe` observed into findings, each a sentence with advice; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flatirons.environments.catalogue import Environment
from flatirons.environments.survey import NO_PYTHON
from flatirons.environments.versions import Fit, fit
from flatirons.job.script import quote
from flatirons.servers.causes import StarterEnd
from flatirons.servers.diagnosis import diagnose

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"
LEAST_TMP_MIB = 64
NOISE = re.compile(r"WARNING:|INFO:|DEBUG:")  # of Apptainer

TRY_BY_HAND = "Start it by hand on that machine; it may print more there."
BIND_ADVICE = "Create or mount it there, or remove it from the binds in the site file."
TIMEOUT_ADVICE = "Try again with a longer --timeout."
# Advice for the operator by kind of cause; users read other advice, see servers/log_patterns.py.
START_ADVICE = {
    "wrong_architecture": "Build it for this processor, or offer it only in `partitions` with its processor.",
    "bind_missing": BIND_ADVICE,
    "tmp_full": "Free some space there. If nodes have squashfuse, Apptainer doesn't unpack images into it.",
    "home_full": "Free some space there.",
    "quota": "Remove files of the user who runs the check.",
    "module_missing": "Correct the module's name in `prologue`.",
    "profile": "Keep that file, and those in /etc/profile.d, from ending a shell that isn't interactive.",
    "prologue": "Correct `prologue`, in the environment or in [servers].",
    "no_apptainer": "Install it, or set `containers.apptainer` to its path. To check on a node: --partition.",
}

# A pattern in the error of squeue inside the environment, and advice for the operator.
SLURM_ADVICE = (
    (r"munge|authentic", "Bind munge's socket, /run/munge, in containers.binds, and check that munged runs."),
    (
        r"slurm\.conf|conf(ig)? file|resolve_ctls|configuration source|DNS SRV|read_config",
        "Bind the directory of slurm.conf in containers.binds.",
    ),
    (
        r"[Ii]ncompatible|version",
        "Install Slurm commands of the cluster's release, or of one of the two before it, in the image.",
    ),
    (r"Invalid user|user", "Bind /etc/passwd and /etc/group, or the sockets of SSSD, in containers.binds."),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one test. `level` is one of OK, WARNING, FAILED, SKIPPED."""

    subject: str
    level: str
    sentence: str
    advice: str = ""

    @property
    def text(self) -> str:
        """The sentence and the advice."""
        return f"{self.sentence} {self.advice}".strip()


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an environment is compared with: the hub's version, and whether Slurm was asked for a node."""

    hub_version: str
    on_node: bool = False


def judge(environment: Environment, observed: Mapping[str, Any], expected: Expectation) -> list[Finding]:
    """Every finding of an environment, in the order in which a server's start would meet them."""
    run = observed["run"]
    found = [*_image(environment, observed, expected.on_node), *_binds(observed), *_tmp(observed)]
    if run is None:
        return [*found, Finding("start", SKIPPED, "Not tested, because of the failures above.")]
    inside = run["inside"]
    if inside is None:
        return [*found, _failed_start(run)]
    what = "The container" if environment.image.kind != "none" else "It"
    found.append(Finding("start", OK, f"{what} runs, with Python {inside['python']}."))
    found.append(_server(environment, inside["server"], expected.hub_version))
    found += _kernels(inside["kernels"])
    found += (_slurm(name, result, len(inside["slurm"])) for name, result in inside["slurm"].items())
    if environment.needs_gpu or environment.image.nv:
        found.append(_gpu(environment, observed, inside["gpus"], expected.on_node))
    return found


def has_failure(findings: Sequence[Finding]) -> bool:
    """Whether one of the findings is a failure."""
    return any(finding.level == FAILED for finding in findings)


def _image(environment: Environment, observed: Mapping[str, Any], on_node: bool) -> Iterator[Finding]:
    path, node, facts = environment.image.path, observed["node"], observed["image"]
    if facts is None:
        return
    if facts["state"] == "missing":
        advice = "Put it there, or correct `image`."
        advice += "" if on_node else " If only nodes have it, check on one: --partition NAME."
        yield Finding("image", FAILED, f"The image {path} doesn't exist on {node}.", advice)
    elif facts["state"] == "unreadable":
        change = quote(["chmod", "a+r", path])
        advice = f"Let every user read it: {change}, and chmod a+x the directories above it."
        yield Finding("image", FAILED, f"The image {path} can't be read on {node}: {facts['why']}.", advice)
    elif facts["closed"]:
        advice = f"Unless you want it so: {quote(['chmod', 'a+rX', facts['closed']])}"
        sentence = f"Not every user can read the image {path}: {facts['closed']} is closed to others."
        level = FAILED if observed["is_root"] and facts["shut"] else WARNING
        yield Finding("image", level, sentence, advice)
    else:
        size = "a directory" if facts["bytes"] is None else f"{facts['bytes'] / 1e6:.0f} MB"
        yield Finding("image", OK, f"{path} exists and every user can read it: {size}.")


def _binds(observed: Mapping[str, Any]) -> Iterator[Finding]:
    for source in observed["missing_binds"]:
        sentence = f"The bind source {source} doesn't exist on {observed['node']}."
        yield Finding("binds", FAILED, sentence, BIND_ADVICE)


def _tmp(observed: Mapping[str, Any]) -> Iterator[Finding]:
    if observed["tmp_mib"] < LEAST_TMP_MIB:
        sentence = f"/tmp of {observed['node']} has {observed['tmp_mib']} MiB free."
        advice = f"Free some space: containers and servers need at least {LEAST_TMP_MIB} MiB there."
        yield Finding("/tmp", FAILED, sentence, advice)


def _failed_start(run: Mapping[str, Any]) -> Finding:
    if run.get("late"):
        return Finding("start", FAILED, "The check didn't finish within its time limit.", TIMEOUT_ADVICE)
    errors = [line for line in run["errors"] if line.strip() and not NOISE.match(line)]
    if NO_PYTHON in errors:
        advice = "Install Python and jupyterhub-singleuser in it."
        return Finding("start", FAILED, "It has no Python, and so no jupyterhub-singleuser.", advice)
    kind, values = run.get("kind", ""), run.get("values", {})
    end = StarterEnd(run["exit"], None, "", tuple(errors), kind, values)
    cause = diagnose(None, None, end, was_up=False)
    if cause.kind in ("failed", "signal"):
        what = f"It can't be run. Its last message: {errors[-1]}" if errors else "It can't be run."
        return Finding("start", FAILED, _with_full_stop(what), TRY_BY_HAND)
    return Finding("start", FAILED, cause.sentence, START_ADVICE.get(cause.kind, TRY_BY_HAND))


def _server(environment: Environment, result: Mapping[str, Any], hub: str) -> Finding:
    if not version_command(environment.cmd):
        cmd = " ".join(environment.cmd)
        sentence = f"Its cmd is the site's own ({cmd}), so its version can't be checked."
        return Finding("server", SKIPPED, sentence)
    major = hub.partition(".")[0] or "*"
    advice = f"Install it there: pip install 'jupyterhub=={major}.*', or conda's jupyterhub-base={major}."
    if not result["version"] and result["off_path"]:
        sentence = f"jupyterhub-singleuser is {result['off_path']}, which isn't on the PATH."
        return Finding(
            "server", FAILED, sentence, f'Set `cmd = ["{result["off_path"]}"]`, or correct the PATH.'
        )
    if not result["version"] and not result["path"]:
        return Finding("server", FAILED, "The environment has no jupyterhub-singleuser.", advice)
    if result["error"] or not result["version"]:
        error = result["error"] or "no output"
        cause = diagnose(None, None, StarterEnd(1, None, "", (error,)), was_up=False)
        is_old = cause.kind == "old_jupyterhub"
        sentence = cause.sentence if is_old else _with_full_stop(f"{result['path']} --version fails: {error}")
        return Finding("server", FAILED, sentence, advice)
    level, sentence = compare(result["version"], hub)
    return Finding("server", level, sentence, "" if level == OK else advice)


def compare(version: str, hub: str) -> tuple[str, str]:
    """(level, sentence) of how a server's jupyterhub fits the hub's; `hub` is "" where there is no hub."""
    if not hub:
        return WARNING, f"It has jupyterhub {version}; this machine has no hub to compare it with."
    match fit(version, hub):
        case Fit.SAME:
            return OK, f"Its jupyterhub {version} is compatible with the hub's {hub}."
        case Fit.UNKNOWN:
            return WARNING, f"Its jupyterhub {version!r} can't be compared with the hub's {hub!r}."
        case other:
            age = "older" if other is Fit.OLDER else "newer"
            sentence = f"Its jupyterhub {version} is a major version {age} than the hub's {hub}"
            return WARNING, f"{sentence}: users may not be able to log in to its servers."


def _kernels(result: Mapping[str, Any]) -> Iterator[Finding]:
    if result["error"]:
        sentence = f"Its kernels can't be tested: {result['error']}."
        advice = "Install jupyterlab and a kernel in the same environment as jupyterhub-singleuser."
        yield Finding("kernels", FAILED, sentence, advice)
    elif not result["found"]:
        yield Finding("kernels", FAILED, "It has no kernel.", "Install one: pip install ipykernel")
    for name, each in result["found"].items():
        if each["error"]:
            advice = f"Test it: jupyter run --kernel {name}, or remove it: jupyter kernelspec remove {name}"
            sentence = _with_full_stop(f"It doesn't start: {each['error']}")
            yield Finding(f"kernel {name}", FAILED, sentence, advice)
        else:
            yield Finding(f"kernel {name}", OK, f"It starts and answers within {each['seconds']:.1f} s.")


def _slurm(cluster: str, result: Mapping[str, Any], clusters: int) -> Finding:
    subject = f"slurm {cluster}" if clusters > 1 else "slurm"
    if "squeue" in result["missing"]:
        advice = "Install a Slurm client in it. Without one servers work, but engines and sbatch don't."
        return Finding(subject, WARNING, "It has no Slurm commands.", advice)
    if error := result["error"]:
        fitting = (advice for pattern, advice in SLURM_ADVICE if re.search(pattern, error))
        advice = next(fitting, "Check that slurmctld runs and can be reached from here.")
        sentence = _with_full_stop(f"squeue in the environment can't reach {cluster}: {error}")
        return Finding(subject, FAILED, sentence, advice)
    return Finding(subject, OK, f"squeue in the environment ({result['version']}) reaches {cluster}.")


def _gpu(
    environment: Environment, observed: Mapping[str, Any], inside: Mapping[str, Any], on_node: bool
) -> Finding:
    node, nv = observed["node"], environment.image.nv
    if not observed["devices"] and on_node and environment.needs_gpu:
        advice = "Check that the node's driver is loaded, and File= in its gres.conf."
        return Finding("gpu", FAILED, f"{node} shows no GPU, although Slurm allocated one.", advice)
    if not observed["devices"]:
        advice = "Check on a node that has one: --partition NAME."
        return Finding("gpu", SKIPPED, f"{node} has no GPU.", advice)
    if not inside["devices"]:
        advice = "Remove options such as --contain."
        return Finding("gpu", FAILED, "The node's GPUs aren't visible in the environment.", advice)
    has_nvidia = any("nvidia" in path for path in observed["devices"])
    if has_nvidia and not inside["has_driver"]:
        advice = "Check that the node has NVIDIA's libraries (libcuda.so.1)." if nv else "Set `nv = true`."
        return Finding("gpu", FAILED, "NVIDIA's driver can't be loaded in the environment.", advice)
    return Finding("gpu", OK, f"GPUs are visible in the environment: {', '.join(inside['devices'])}.")


def version_command(cmd: Sequence[str]) -> list[str]:
    """The words of a server's command up to the program that prints jupyterhub's version with --version.

    [] if the command has no such program.
    """
    words = list(cmd) or ["jupyterhub-singleuser"]
    for index, word in enumerate(words):
        if word.rpartition("/")[2] in ("jupyterhub-singleuser", "jupyter-labhub", "jupyterhub.singleuser"):
            return words[: index + 1]
    return []


def _with_full_stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
