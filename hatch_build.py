"""Puts the compiled JupyterLab panel into the wheel. `scripts/build panel` compiles it.

Without a compiled panel, as in `pip install .` in a checkout, the wheel has no panel, and a warning says so.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = "share/jupyter/labextensions/flatirons"
WITHOUT = (
    "This wheel has no JupyterLab panel. `scripts/build panel` compiles it and prints its directory; set "
    "FLATIRONS_PANEL to that."
)


class PanelHook(BuildHookInterface):  # type: ignore[misc,type-arg]
    """Adds the directory in FLATIRONS_PANEL, or else labextension/built, to the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Raises SystemExit with a sentence if FLATIRONS_PANEL names no compiled panel."""
        given = os.environ.get("FLATIRONS_PANEL", "")
        panel = Path(given or Path(self.root, "labextension", "built"))
        if given == "none" or version == "editable" or self.target_name != "wheel":
            return
        if (panel / "package.json").is_file():
            build_data.setdefault("shared_data", {})[str(panel)] = PLACE
        elif given:
            raise SystemExit(f"FLATIRONS_PANEL={given} isn't a compiled JupyterLab panel.")
        else:
            self.app.display_warning(WITHOUT)
