"""Named choices to begin with: the site's, and those that each user saved on the server."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flatirons.errors import printable
from flatirons.files import write_atomically
from flatirons.forms import Value

log = logging.getLogger(__name__)

MOST_SAVED = 20
LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class Preset:
    """Options under a name. Options that it doesn't name stay as they are."""

    title: str
    options: Mapping[str, Any]
    description: str = ""


@dataclass
class Presets:
    """The site's presets, and a folder (mode 0700) with a file for each user who saved some.

    Without a folder nothing can be saved. Only one hub process writes, so it reads each file once.
    """

    site: Mapping[str, Preset] = field(default_factory=dict)
    folder: Path | None = None
    _read: dict[str, dict[str, Preset]] = field(default_factory=dict)
    _damaged: set[str] = field(default_factory=set)

    @property
    def option_names(self) -> frozenset[str]:
        """The options that any preset of the site sets."""
        return frozenset(name for preset in self.site.values() for name in preset.options)

    def saved(self, user: str) -> Mapping[str, Preset]:
        """The user's own presets by name, in the order in which they were saved."""
        if self.folder is None:
            return {}
        if user not in self._read:
            self._read[user] = self._load(user)
        return self._read[user]

    def save(self, user: str, name: str, options: Mapping[str, Value | None]) -> str:
        """Saves the options; returns a sentence if they can't be saved, else ""."""
        name = " ".join(name.split())
        if self.folder is None or not name or len(name) > LONGEST_NAME or name != printable(name):
            return f"A name of 1 to {LONGEST_NAME} letters is needed to save these choices."
        own = {**self.saved(user), name: Preset(name, dict(options))}
        if len(own) > MOST_SAVED:
            return f"You have {MOST_SAVED} saved choices already. Forget one first."
        try:
            self._write(user, own)
        except OSError as error:
            log.error("Choices of %s can't be saved in %s: %s", user, self.folder, error)
            return "Your choices can't be saved at the moment."
        return ""

    def forget(self, user: str, name: str) -> str:
        """Removes a preset of the user; returns a sentence if that isn't possible, else ""."""
        if name not in self.saved(user):
            return ""
        try:
            self._write(user, {key: preset for key, preset in self.saved(user).items() if key != name})
        except OSError as error:
            log.error("Choices of %s can't be forgotten in %s: %s", user, self.folder, error)
            return "Your choices can't be changed at the moment."
        return ""

    def _write(self, user: str, own: dict[str, Preset]) -> None:
        assert self.folder is not None
        self.folder.mkdir(mode=0o700, exist_ok=True)
        content = {"user": user, "presets": {name: dict(preset.options) for name, preset in own.items()}}
        if user in self._damaged:
            os.replace(self._file(user), self._file(user).with_suffix(".damaged"))
            self._damaged.discard(user)
        write_atomically(self._file(user), json.dumps(content))
        self._read[user] = own

    def _file(self, user: str) -> Path:
        """The user's file. It has a hash for its name, because a user's name can have any characters."""
        assert self.folder is not None
        return self.folder / f"{hashlib.sha256(user.encode()).hexdigest()[:32]}.json"

    def _load(self, user: str) -> dict[str, Preset]:
        file = self._file(user)
        try:
            presets = json.loads(file.read_text(encoding="utf-8"))["presets"]
            return {name: Preset(name, dict(options)) for name, options in presets.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("Saved choices in %s can't be read; the file is kept: %s", file, error)
            self._damaged.add(user)
            return {}
