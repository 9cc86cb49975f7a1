"""Read as part of a hub's configuration: notes how late the hub's event loop is, every 10 ms.

JupyterHub reads its configuration on the loop that it then runs on. Each second the latest the loop was, in
milliseconds, is added to the file in LAG_FILE as a line.
"""

import asyncio
import os


class Lag:
    """How late the loop was at worst since the last line."""

    def __init__(self, loop, file):
        self.loop, self.file, self.worst, self.ticks = loop, file, 0.0, 0
        self.tick(loop.time())

    def tick(self, due):
        """Is called every 10 ms, or as soon after that as the loop can."""
        now = self.loop.time()
        self.worst, self.ticks = max(self.worst, now - due), self.ticks + 1
        if self.ticks == 100:
            self.file.write(f"{1000 * self.worst:.1f}\n")
            self.file.flush()
            self.worst, self.ticks = 0.0, 0
        due = now + 0.01
        self.loop.call_at(due, self.tick, due)


Lag(asyncio.get_running_loop(), open(os.environ.get("LAG_FILE", "/var/lib/flatirons/lag"), "a"))  # noqa: SIM115
