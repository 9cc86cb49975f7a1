"""Keeps ipyparallel's extension of JupyterLab from being the first to speak of a dead server.

The extension asks the server for its clusters every few seconds. When nothing answers, it shows the dialog
"IPP Extension Server Error", which asks whether the extension is installed. That was the first thing that
users read when their server had ended; JupyterHub's own dialog, which says so and offers a new start, came
later.

`python -m flatirons.parallel.ipp.lab_extension PREFIX` turns the dialog into a message of the browser's
console, when an image is built. Needless if the extension left that to JupyterLab.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

FILES = "share/jupyter/labextensions/ipyparallel-labextension/static/*.js"
_DIALOG = re.compile(r'\(0,\w+\.showErrorMessage\)(\("IPP Extension Server Error",\w+\))')


def quieten(prefix: Path) -> None:
    """Changes the extension that is installed below a prefix. Raises LookupError if it isn't as known."""
    found = [file for file in prefix.glob(FILES) if _DIALOG.search(file.read_text())]
    if len(found) != 1:
        raise LookupError(f"{len(found)} files of {prefix / FILES} show ipyparallel's dialog, not one")
    text, count = _DIALOG.subn(r"console.warn\1", found[0].read_text())
    if count != 1:
        raise LookupError(f"{found[0]} shows ipyparallel's dialog in {count} places, not in one")
    found[0].write_text(text)


if __name__ == "__main__":
    quieten(Path(sys.argv[1]))
