"""What a test reads in the job script of a server."""

import ast
from typing import Any


def starter_config(script: str) -> dict[str, Any]:
    """The configuration of the starter, which has a line of its own."""
    [line] = [line for line in script.splitlines() if line.startswith("CONFIG = ")]
    found: dict[str, Any] = ast.literal_eval(line.removeprefix("CONFIG = "))
    return found
