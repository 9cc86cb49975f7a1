"""Where this checkout is."""

from pathlib import Path

REPO = Path(__file__).parent.parent
