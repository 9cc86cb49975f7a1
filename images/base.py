"""Where an image may begin other than in a Debian tree made here: by name in a registry, or in a file."""

import argparse
import re
from pathlib import Path

# By name; what a name means is the registry's to say. One that ends in @sha256:... is the same for ever.
REGISTRIES = ("docker", "oras")
FILES = ("oci-archive", "docker-archive", "localimage")


def parse(text: str) -> str:
    """The base in its one spelling: `docker://NAME` or `oci-archive:/FILE`.

    Raises ArgumentTypeError, which says what it may be.
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
    raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(known)}")


def agent(base: str) -> str:
    """What Apptainer calls the way to get it (`Bootstrap:`)."""
    return base.partition(":")[0]


def files(base: str) -> dict[str, Path]:
    """The file that the base is, if it is one, as an input of a stage."""
    return {"base": Path(base.partition(":")[2])} if agent(base) in FILES else {}


def place(base: str, inputs: Path) -> str:
    """Where it is for the build, which sees copies of the inputs in `inputs` (`From:`)."""
    return str(inputs / "base") if agent(base) in FILES else base.partition("//")[2]
