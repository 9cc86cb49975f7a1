"""The catalogue of environments, and how a command runs in one. Pure: opens no file and starts no process.

An `Image` is a container file plus how to run it; an `Environment` is what the user sees of it. Without a
container (`kind="none"`), commands run in the job itself, for sites that keep Python in modules or conda.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Any

from flatirons.errors import ImageError

IMAGE_KINDS = ("apptainer", "none")
MODES = ("ro", "rw")

URI_SCHEMES = ("docker://", "oras://", "library://", "shub://")
NODES_OWN = (
    *("CLASSPATH", "CONDA_PREFIX", "JAVA_HOME", "PERL5LIB", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"),
    *("R_ENVIRON", "R_HOME", "R_LIBS", "R_LIBS_SITE", "R_LIBS_USER", "R_PROFILE"),
    *("SPARK_CONF_DIR", "SPARK_DIST_CLASSPATH", "SPARK_HOME"),
)
"""Variables with which a node's modules point to the node's own Python, R, Java or Spark."""

_ESCAPES = {"\\\\": "\0", "\\:": "\1", "\\,": "\2"}  # in the text of a bind -> a mark that no path contains
_PLAIN = re.compile(r'[^:,"\\]*[^:,"\\\s]')  # a path that --bind takes as it is


@dataclass(frozen=True, slots=True)
class Bind:
    """A path of the node that the container sees: `source` appears as `target`.

    As a text, it is written as for Apptainer's --bind: a colon, a comma or a backslash in a path has a
    backslash before it.
    """

    source: str
    target: str = ""
    mode: str = ""

    def __post_init__(self) -> None:
        target = self.target or self.source
        for path in (self.source, target):
            _refuse_control_characters("A bind's path", path)
            if not path.startswith("/"):
                raise ImageError(f"A bind's path must be absolute, such as /scratch; got {path!r}.")
        if self.mode and self.mode not in MODES:
            raise ImageError(f"A bind's mode must be ro or rw; got {self.mode!r}.")

    @classmethod
    def parse(cls, text: str) -> Bind:
        """The bind written as `source`, `source:target` or `source:target:ro`. Raises ImageError."""
        _refuse_control_characters("A bind", text)
        marked = text
        for written, mark in _ESCAPES.items():
            marked = marked.replace(written, mark)
        parts = marked.split(":")
        if len(parts) > 3 or not parts[0]:
            raise ImageError(f"A bind must be source, source:target or source:target:ro; got {text!r}.")
        if "," in marked:
            raise ImageError(f"A bind is one path, and a comma in it needs a backslash before it: {text!r}.")
        return cls(*map(_unmarked, parts))

    def __str__(self) -> str:
        return ":".join(re.sub(r"([\\:,])", r"\\\1", part) for part in self._parts())

    def _parts(self) -> list[str]:
        """Source, target and mode without what is left out."""
        parts = [self.source, self.target or self.source, self.mode]
        if not self.mode:
            parts.pop()
            if parts[0] == parts[1]:
                parts.pop()
        return parts

    def words(self) -> list[str]:
        """Apptainer's option for it.

        `--bind` splits its value at colons and commas, and reads backslashes in its own way. `--mount` (since
        Apptainer 1.0) has fields as in CSV, in which a path may hold any of them.
        """
        parts = self._parts()
        if all(map(_PLAIN.fullmatch, parts)):
            return ["--bind", ":".join(parts)]
        cells = ["type=bind", f"source={self.source}", f"destination={self.target or self.source}"]
        if self.mode == "ro":
            cells.append("ro")
        quoted = ['"{}"'.format(cell.replace('"', '""')) for cell in cells]
        return ["--mount", ",".join(quoted)]


@dataclass(frozen=True, slots=True)
class Image:
    """A container file (or none) and how a command runs in it.

    `cmd` starts a notebook server; () means the spawner's own command.
    """

    path: str = ""
    kind: str = "apptainer"
    binds: tuple[Bind, ...] = ()
    options: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    nv: bool = False
    apptainer: str = "apptainer"

    def __post_init__(self) -> None:
        if self.kind not in IMAGE_KINDS:
            raise ImageError(f"An image's kind must be one of {', '.join(IMAGE_KINDS)}; got {self.kind!r}.")
        for text in (self.path, self.apptainer, *self.options, *self.cmd):
            _refuse_control_characters("An image's setting", text)
        if not all(self.cmd):
            raise ImageError("An image's cmd, the command that starts a notebook server, has an empty word.")
        if self.kind == "none":
            self._refuse_container_settings()
        elif not self.path.startswith(("/", *URI_SCHEMES)):
            raise ImageError(
                f"An image must be an absolute path or a docker:// or oras:// URI; got {self.path!r}."
            )

    def _refuse_container_settings(self) -> None:
        if self.path:
            raise ImageError(f'Kind "none" runs no container, so it can\'t have the image {self.path!r}.')
        if self.options or self.nv:
            raise ImageError('Kind "none" runs no container, so it can\'t have container options.')


@dataclass(frozen=True, slots=True)
class Environment:
    """What a user picks: an image or software of the node, under a name.

    `prologue` is the site's shell text that runs before it. `clusters` and `partitions` say where it is
    offered; () means everywhere.
    """

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
        """The command that starts a notebook server here; () means the spawner's own command."""
        return self.image.cmd

    @property
    def forgotten(self) -> tuple[str, ...]:
        """Variables of the node that must be unset, because Apptainer would pass them into the container."""
        return NODES_OWN if self.image.kind != "none" else ()

    def argv(self, command: Sequence[str]) -> list[str]:
        """`command` as it runs in this environment; for (), the words that go before any command."""
        return container_argv(self.image, command)

    @classmethod
    def from_dict(cls, name: str, given: Mapping[str, Any]) -> Environment:
        """The environment described by plain data, as in a site file or a jupyterhub_config.py.

        Keys: title, description, prologue, image (path or URI; without one the kind is "none"), kind, binds,
        options, cmd, nv, apptainer, clusters, partitions, needs_gpu. Raises ImageError, which names the
        environment.
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


SOFTWARE_OF_NODE: Mapping[str, Mapping[str, Any]] = {"default": {"title": "Software of the node"}}
"""What servers run in where a site names no environments."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every environment of a site, in the operator's order; the first is the default."""

    environments: tuple[Environment, ...] = ()

    @classmethod
    def from_dict(cls, given: Mapping[str, Mapping[str, Any]]) -> Catalogue:
        """The catalogue of `{name: settings}`; see `Environment.from_dict`."""
        return cls(tuple(Environment.from_dict(name, settings) for name, settings in given.items()))

    def __iter__(self) -> Iterator[Environment]:
        return iter(self.environments)

    def __len__(self) -> int:
        return len(self.environments)

    @property
    def names(self) -> tuple[str, ...]:
        """The environments' names, in order."""
        return tuple(environment.name for environment in self.environments)

    def get(self, name: str) -> Environment:
        """The environment with this name, the first for "". Raises ImageError if there is none."""
        for environment in self.environments:
            if name in ("", environment.name):
                return environment
        if not self.names:
            raise ImageError("The site has no environments.")
        raise ImageError(f"There is no environment {name!r}. Known: {', '.join(self.names)}.")

    def with_image(self, path: str, settings: Mapping[str, Any]) -> Environment:
        """The first environment with this image; else one of these settings, under the file's name.

        Raises ImageError.
        """
        alone = Environment.from_dict(PurePosixPath(path).stem, {**settings, "image": path})
        return next((each for each in self if each.image.path == path), alone)


def container_prefix(image: Image) -> list[str]:
    """The words that go before any command so that it runs inside `image`; [] without a container.

    $FLATIRONS_CONTAINER holds them as JSON, so that engines run in the same container. By default Apptainer
    mounts the home directory, the working directory, /tmp and /dev (with /dev/shm). It also passes the
    environment on, because the server needs the variables that the starter got.
    """
    if image.kind == "none":
        return []
    argv = [image.apptainer, "exec"]
    for bind in image.binds:
        argv += bind.words()
    if image.nv:
        argv.append("--nv")
    return [*argv, *image.options, image.path]


def container_argv(image: Image, command: Sequence[str]) -> list[str]:
    """`command` as it runs inside `image`."""
    return [*container_prefix(image), *command]


def _unmarked(part: str) -> str:
    """A part of a bind's text without escapes."""
    for written, mark in _ESCAPES.items():
        part = part.replace(mark, written[1])
    return part


def _known_settings() -> set[str]:
    """The keys that `Environment.from_dict` accepts: `image` is the path of the image."""
    of_image = {each.name for each in fields(Image)} - {"path"}
    of_environment = {each.name for each in fields(Environment)} - {"name"}
    return of_image | of_environment


def _image(given: Mapping[str, Any]) -> Image:
    known = _known_settings()
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
        raise ImageError(f"{key} must be a list of texts; got {value!r}.")
    return tuple(value)


def _refuse_control_characters(what: str, text: str) -> None:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ImageError(f"{what} can't contain a control character: {text!r}.")
