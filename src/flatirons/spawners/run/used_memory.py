"""What a job was seen to use of its memory while it ran."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class UsedMemory:
    """On the job's first node, in MiB: the last amount, and the highest; None before there is one.

    The starter looks every ten seconds, so a short peak may be missed. It isn't stored: a restarted hub
    hears of it again after ten minutes, or when it changes.
    """

    now_mib: int | None = None
    peak_mib: int | None = None

    def note(self, used_mib: int) -> None:
        """The job uses this much now."""
        self.now_mib = used_mib
        self.peak_mib = max(self.peak_mib or 0, used_mib)
