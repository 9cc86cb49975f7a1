"""Part of a hub's configuration: measures every 10 ms how late the hub's event loop is.

JupyterHub reads its configuration on the event loop that it runs on. Each second a line is added to the file
that LAG_FILE names: the greatest delay of the last 100 measurements, in milliseconds.
"""

import asyncio
import os


class LoopLag:
    """The greatest delay of the loop since the last line."""

    def __init__(self, loop, file):
        self.loop, self.file, self.worst, self.ticks = loop, file, 0.0, 0
        self.tick(loop.time())

    def tick(self, due):
        """Runs every 10 ms, or as soon after that as the loop can."""
        now = self.loop.time()
        self.worst, self.ticks = max(self.worst, now - due), self.ticks + 1
        if self.ticks == 100:
            self.file.write(f"{1000 * self.worst:.1f}\n")
            self.file.flush()
            self.worst, self.ticks = 0.0, 0
        due = now + 0.01
        self.loop.call_at(due, self.tick, due)


LoopLag(asyncio.get_running_loop(), open(os.environ.get("LAG_FILE", "/var/lib/flatirons/lag"), "a"))  # noqa: SIM115
