"""The command as a single file, which the hub serves: `python3 flatirons-connect.pyz URL`."""

from __future__ import annotations

import functools
import io
import zipfile
from pathlib import Path

NAME = "flatirons-connect.pyz"
ROOM = Path(__file__).parent
FIRST_LINE = b"#!/usr/bin/env python3\n"
MAIN = "import sys\nfrom flatirons.connect.command import main\nsys.exit(main())\n"


@functools.cache
def archive() -> bytes:
    """The bytes of the file, the same for the same sources; it needs Python 3.11 or newer."""
    buffer = io.BytesIO(FIRST_LINE)
    buffer.seek(0, io.SEEK_END)
    sources = (ROOM.parent / "__init__.py", ROOM.parent / "errors.py", *sorted(ROOM.glob("*.py")))
    with zipfile.ZipFile(buffer, "a") as made:
        made.writestr(zipfile.ZipInfo("__main__.py"), MAIN)
        for source in sources:
            name = source.relative_to(ROOM.parent.parent).as_posix()
            made.writestr(zipfile.ZipInfo(name), source.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
