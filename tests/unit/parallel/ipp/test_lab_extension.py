"""The dialog of ipyparallel's extension of JupyterLab, which must not be what reports a dead server."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from flatirons.parallel.ipp.lab_extension import FILES, quieten

TITLE = "IPP Extension Server Error"


def installed() -> list[Path]:
    return sorted(Path(sys.prefix).glob(FILES))


def test_the_extension_of_the_installed_version_shows_no_dialog_afterwards(tmp_path: Path) -> None:
    for file in installed():
        copy = tmp_path / file.relative_to(sys.prefix)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    quieten(tmp_path)
    texts = [file.read_text() for file in sorted(tmp_path.glob(FILES))]
    [changed] = [text for text in texts if TITLE in text]
    assert f'console.warn("{TITLE}",' in changed
    assert f'showErrorMessage)("{TITLE}"' not in changed
    assert sum(map(len, texts)) > sum(file.stat().st_size for file in installed()) - 100, "the rest stays"
    assert "showErrorMessage" in changed, "what a click causes still has a dialog"
    with pytest.raises(LookupError, match="0 files"):
        quieten(tmp_path)


@pytest.mark.parametrize("places", [0, 2])
def test_an_extension_that_has_changed_fails_the_build(places: int, tmp_path: Path) -> None:
    file = tmp_path / FILES.replace("*", "1")
    file.parent.mkdir(parents=True)
    text = f'(0,p.showErrorMessage)("{TITLE}",e);' * places
    file.write_text(text)
    with pytest.raises(LookupError):
        quieten(tmp_path)
    assert file.read_text() == text
