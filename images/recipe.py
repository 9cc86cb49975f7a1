"""What each image is built from, stage by stage, and the key of each stage. Reads files; builds nothing."""

import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from . import base as bases
from .errors import BuildError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SUITES = ("trixie", "bookworm", "unstable")
DEFAULT_SUITE = "trixie"
# Image -> the image it is built on.
PARENTS = {"base": "debian", "scientific": "base", "r": "base", "pyspark": "base"}
IMAGES = tuple(PARENTS)
KEY_LENGTH = 12
# What installs the packages of every image.
COMMON = {"image.def": HERE / "packages.def", "install.sh": HERE / "install.sh"}


@dataclass(frozen=True)
class Stage:
    """One step of an image: its parent, changed by its inputs (name in the build -> file)."""

    name: str
    suite: str
    inputs: dict[str, Path] = field(hash=False)
    parent: "Stage | None" = None
    suffix: str = ""
    base: str = ""  # of a stage without a parent, see base.py; "" means a Debian tree

    @property
    def origin(self) -> str:
        """The base of its first parent."""
        return self.parent.origin if self.parent else self.base or f"mmdebstrap:{self.suite}"

    @cached_property
    def key(self) -> str:
        """A short hash of everything that the stage is built from, with its parent."""
        before = self.parent.key if self.parent else self.base
        digest = hashlib.sha256(f"{self.name} {self.suite} {before}".encode())
        for name, file in sorted(self.inputs.items()):
            content = file.read_bytes()
            digest.update(f"\n{name} {os.access(file, os.X_OK)} {len(content)}\n".encode() + content)
        return digest.hexdigest()[:KEY_LENGTH]

    @property
    def family(self) -> str:
        """The name that all builds of this stage share: the file name without the key."""
        return f"{self.name}-{self.suite}"

    @property
    def file_name(self) -> str:
        """The name in the cache for exactly this content."""
        return f"{self.family}-{self.key}{self.suffix}"


def files_under(directory: Path, prefix: str = "") -> dict[str, Path]:
    """Relative name -> file, for every file below a directory except Python's caches."""
    found = (file for file in directory.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {f"{prefix}{file.relative_to(directory)}": file for file in found}


def flatirons_sources(root: Path = ROOT, panel: Path | None = None) -> dict[str, Path]:
    """The files that Flatirons' wheel is built from; `panel` is the compiled JupyterLab panel."""
    names = ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE")
    found = {f"source/{name}": root / name for name in names}
    found |= files_under(root / "src/flatirons", "source/src/flatirons/")
    return found | (files_under(panel, "source/labextension/built/") if panel else {})


def debian(suite: str, base: str = "") -> Stage:
    """The stage of Debian packages below every image; on `base` if one is given."""
    if base:
        inputs = COMMON | {"debian.txt": HERE / "debian.txt", "finish.sh": HERE / "debian-finish.sh"}
        return Stage("debian", suite, inputs | bases.files(base), base=base)
    return Stage("debian", suite, {"debian.txt": HERE / "debian.txt", "debian.py": HERE / "debian.py"})


def sandbox(name: str, suite: str, base: str = "") -> Stage:
    """The stage of an image as a directory, complete except for Flatirons."""
    if name not in PARENTS:
        raise BuildError(f"there is no image {name}; there are {', '.join(IMAGES)}")
    parent = debian(suite, base) if PARENTS[name] == "debian" else sandbox(PARENTS[name], suite, base)
    return Stage(name, suite, COMMON | files_under(HERE / name), parent)


def image(name: str, suite: str, base: str = "", panel: Path | None = None) -> Stage:
    """The last stage: the image file, with the compiled JupyterLab panel."""
    inputs = {"image.def": HERE / "flatirons.def", "run_tests.py": HERE / "run_tests.py"}
    inputs |= flatirons_sources(panel=panel)
    return Stage(name, suite, inputs, sandbox(name, suite, base), ".sif")


def definition_arguments(stage: Stage, parent: str, revision: str, created: str) -> dict[str, str]:
    """The values of each `{{ NAME }}` in a stage's definition, and no others, as Apptainer refuses those."""
    values = {"PARENT": parent, "IMAGE": stage.name, "SUITE": stage.suite}
    values |= {"REVISION": revision, "CREATED": created, "ORIGIN": stage.origin}
    values["BOOTSTRAP"] = bases.agent(stage.base) if stage.base else "localimage"
    text = stage.inputs["image.def"].read_text()
    return {name: value for name, value in values.items() if "{{ " + name + " }}" in text}
