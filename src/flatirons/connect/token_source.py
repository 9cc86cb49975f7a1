"""Where the token comes from: a variable, a file that nobody else can read, or a prompt; never an argument.

All users of a machine can read the arguments of its processes, and a shell keeps them in its history.
"""

from __future__ import annotations

import getpass
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from flatirons.errors import ConnectError

VARIABLE = "FLATIRONS_TOKEN"


def find_token(file: str | None, environment: Mapping[str, str]) -> str:
    """The token from the file, else from the variable, else from a prompt; raises ConnectError."""
    if file is not None:
        return _checked(_from_file(Path(file)), file)
    if given := environment.get(VARIABLE):
        return _checked(given, f"${VARIABLE}")
    if not sys.stdin.isatty():
        raise ConnectError(f"No token: set {VARIABLE}, or name a file with --token-file.")
    return _checked(getpass.getpass("Token (it isn't shown): "), "what you typed")


def _from_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise ConnectError(f"Others can read {path}: run chmod 600 {path}, and make a new token.")
            return file.read(10_000)
    except OSError as error:
        raise ConnectError(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConnectError(f"There is no token in {path}.") from None


def _checked(text: str, source: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConnectError(f"There is no token in {source}.")
    return token
