"""The image catalogue, and how a command is run inside an image. Pure: no path is looked at, nothing started.

An `Image` is a container file plus how to run it; an `Environment` is what the user sees of it. Without a
container (`kind="none"`) commands run in the job itself, for sites that keep Python in modules or conda.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flatirons.errors import ImageError

KINDS = ("apptainer", "none")
MODES = ("ro", "rw")
SETTINGS = ["title", "description", "image", "kind", "binds", "options", "cmd", "nv", "apptainer", "prologue"]
URI_SCHEMES = ("docker://", "oras://", "library://", "shub://")
NODES_OWN = (
    *("CLASSPATH", "CONDA_PREFIX", "JAVA_HOME", "PERL5LIB", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"),
    *("R_ENVIRON", "R_HOME", "R_LIBS", "R_LIBS_SITE", "R_LIBS_USER", "R_PROFILE"),
    *("SPARK_CONF_DIR", "SPARK_DIST_CLASSPATH", "SPARK_HOME"),
)
"""Variables by which a node's modules say where the node's own Python, R, Java or Spark has its parts."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A path of the node that the container sees, `source` as `target`."""

    source: str
    target: str = ""
    mode: str = ""

    def __post_init__(self) -> None:
        target = self.target or self.source
        for path in (self.source, target):
            _refuse_odd_text("A bind's path", path)
            if not path.startswith("/"):
                raise ImageError(f"A bind's path must be absolute, such as /scratch; got {path!r}.")
            if ":" in path or "," in path:
                raise ImageError(f"Apptainer can't bind a path with a colon or a comma: {path!r}.")
        if self.mode and self.mode not in MODES:
            raise ImageError(f"A bind ends in :ro, :rw or nothing; got {self.mode!r}.")

    @classmethod
    def parse(cls, text: str) -> Bind:
        """The bind that `source`, `source:target` or `source:target:ro` says. Raises ImageError."""
        parts = text.split(":")
        if len(parts) > 3 or not parts[0]:
            raise ImageError(f"A bind is source, source:target or source:target:ro; got {text!r}.")
        return cls(*parts)

    def __str__(self) -> str:
        parts = [self.source, self.target or self.source, self.mode]
        if not self.mode:
            parts.pop()
            if parts[0] == parts[1]:
                parts.pop()
        return ":".join(parts)


@dataclass(frozen=True, slots=True)
class Image:
    """A container file (or none) and how a command is run in it; `cmd` starts a notebook server, () is the
    spawner's own."""

    path: str = ""
    kind: str = "apptainer"
    binds: tuple[Bind, ...] = ()
    options: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    nv: bool = False
    apptainer: str = "apptainer"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ImageError(f"An image's kind is one of {', '.join(KINDS)}; got {self.kind!r}.")
        for text in (self.path, self.apptainer, *self.options, *self.cmd):
            _refuse_odd_text("An image's settings", text)
        if not all(self.cmd):
            raise ImageError("An image's cmd is the command that starts a notebook server; a word is empty.")
        if self.kind == "none":
            self._refuse_container_settings()
        elif not self.path.startswith(("/", *URI_SCHEMES)):
            raise ImageError(
                f"An image is an absolute path or a docker:// or oras:// URI; got {self.path!r}."
            )

    def _refuse_container_settings(self) -> None:
        if self.path:
            raise ImageError(f'Kind "none" runs no container, so it can\'t have the image {self.path!r}.')
        if self.options or self.nv:
            raise ImageError('Kind "none" runs no container, so it can\'t have container options.')


@dataclass(frozen=True, slots=True)
class Environment:
    """What a user picks: an image, or software of the node, under a name; `prologue` is shell text of the
    site that runs before it. It is offered on these clusters and partitions only, or everywhere."""

    name: str
    image: Image
    title: str = ""
    description: str = ""
    prologue: str = ""
    clusters: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    needs_gpu: bool = False

    @property
    def cmd(self) -> tuple[str, ...]:
        """The command that starts a notebook server here; () is the spawner's own."""
        return self.image.cmd

    @property
    def forgotten(self) -> tuple[str, ...]:
        """Variables that what runs here isn't to have from the node; Apptainer would hand them on."""
        return NODES_OWN if self.image.kind != "none" else ()

    def argv(self, command: Sequence[str]) -> list[str]:
        """`command` as it is run in this environment; for () the words that go before any command."""
        return container_argv(self.image, command)

    @classmethod
    def from_dict(cls, name: str, given: Mapping[str, Any]) -> Environment:
        """The environment that plain data describes, as in a site file or a jupyterhub_config.py.

        Keys: title, description, prologue, image (path or URI; none: kind "none"), kind, binds (texts),
        options, cmd, nv, apptainer, clusters, partitions (texts), needs_gpu. Raises ImageError, which names
        the environment.
        """
        try:
            return cls(
                name=name,
                image=_image(given),
                clusters=_texts("clusters", given),
                partitions=_texts("partitions", given),
                needs_gpu=bool(given.get("needs_gpu", False)),
                **{key: str(given[key]) for key in ("title", "description", "prologue") if key in given},
            )
        except ImageError as error:
            raise ImageError(f"Environment {name!r}: {error.user}") from error


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every environment of a site, in the operator's order; the first is the default."""

    environments: tuple[Environment, ...] = ()

    @classmethod
    def from_dict(cls, given: Mapping[str, Mapping[str, Any]]) -> Catalogue:
        """The catalogue that `{name: settings}` describes; see `Environment.from_dict`."""
        return cls(tuple(Environment.from_dict(name, settings) for name, settings in given.items()))

    def __iter__(self) -> Iterator[Environment]:
        return iter(self.environments)

    def __len__(self) -> int:
        return len(self.environments)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(environment.name for environment in self.environments)

    def get(self, name: str) -> Environment:
        """The environment of that name, the first for "". Raises ImageError when there is none."""
        for environment in self.environments:
            if name in ("", environment.name):
                return environment
        known = ", ".join(self.names) or "none is set up"
        raise ImageError(f"There is no environment {name!r}. Known: {known}.")


def container_prefix(image: Image) -> list[str]:
    """The words that go before any command so that it runs inside `image`; [] without a container.

    As JSON they are in $FLATIRONS_CONTAINER, so that engines run in just the same container. Apptainer mounts
    the home directory, the working directory, /tmp and /dev (with /dev/shm) by its own defaults. The
    environment passes through, for the server needs what the starter was given.
    """
    if image.kind == "none":
        return []
    argv = [image.apptainer, "exec"]
    for bind in image.binds:
        argv += ["--bind", str(bind)]
    if image.nv:
        argv.append("--nv")
    return [*argv, *image.options, image.path]


def container_argv(image: Image, command: Sequence[str]) -> list[str]:
    """`command` as it is run inside `image`."""
    return [*container_prefix(image), *command]


def _image(given: Mapping[str, Any]) -> Image:
    known = {
        "title",
        "description",
        "prologue",
        "image",
        "kind",
        "binds",
        "options",
        "cmd",
        "nv",
        "apptainer",
        "clusters",
        "partitions",
        "needs_gpu",
    }
    if unknown := sorted(set(given) - known):
        raise ImageError(f"unknown setting {unknown[0]!r}; known: {', '.join(sorted(known))}.")
    path = str(given.get("image", ""))
    settings: dict[str, Any] = {"path": path, "kind": given.get("kind") or ("apptainer" if path else "none")}
    settings["binds"] = tuple(Bind.parse(text) for text in _texts("binds", given))
    settings["options"] = _texts("options", given)
    settings["nv"] = bool(given.get("nv", False))
    if given.get("cmd"):
        settings["cmd"] = _texts("cmd", given)
    if given.get("apptainer"):
        settings["apptainer"] = str(given["apptainer"])
    return Image(**settings)


def _texts(key: str, given: Mapping[str, Any]) -> tuple[str, ...]:
    value = given.get(key, ())
    if isinstance(value, str) or not all(isinstance(item, str) for item in value):
        raise ImageError(f"{key} is a list of texts; got {value!r}.")
    return tuple(value)


def _refuse_odd_text(what: str, text: str) -> None:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ImageError(f"{what} can't hold a control character: {text!r}.")
