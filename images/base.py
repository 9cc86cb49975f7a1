"""The bases that an image can have instead of the Debian tree: a name in a registry, or a file."""

import argparse
import re
from pathlib import Path

# A name may mean another image tomorrow, unless it ends in @sha256:...
REGISTRIES = ("docker", "oras")
FILES = ("oci-archive", "docker-archive", "localimage")


def parse(text: str) -> str:
    """The base in a standard spelling: `docker://NAME` or `oci-archive:/FILE`.

    Raises ArgumentTypeError, which names the forms.
    """
    agent, _, rest = text.partition(":")
    if agent in REGISTRIES and re.fullmatch(r"//[\w.:/@+-]+", rest, re.ASCII):
        return text
    if agent in FILES:
        file = Path(rest.removeprefix("//") or ".").absolute()
        if file.is_file():
            return f"{agent}:{file}"
        raise argparse.ArgumentTypeError(f"there is no file {file}")
    known = [f"{agent}://NAME" for agent in REGISTRIES] + [f"{agent}:FILE" for agent in FILES]
    raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(known)}")


def agent(base: str) -> str:
    """Apptainer's word for the type of the base, for `Bootstrap:`."""
    return base.partition(":")[0]


def files(base: str) -> dict[str, Path]:
    """The base as an input of a stage, if it is a file."""
    return {"base": Path(base.partition(":")[2])} if agent(base) in FILES else {}


def source(base: str, inputs: Path) -> str:
    """The name or path of the base for `From:`; `inputs` is where the build sees its inputs."""
    return str(inputs / "base") if agent(base) in FILES else base.partition("//")[2]
