"""The story of a start, as the user is told it: each change once, in the order in which it happened."""

from __future__ import annotations

import asyncio
import html
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from jupyterhub.spawner import SpawnException

from flatirons.errors import FlatironsError, OptionsRefused, ServerEnded, SlurmUnreachable, SubmitRefused

Event = dict[str, Any]
"""As JupyterHub's progress API sends it: {"progress": percent, "message": sentence, "at": time}; times are in
seconds since 1970."""

REASONS = {
    SubmitRefused: ("slurm_refused", 400),
    OptionsRefused: ("options_refused", 400),
    SlurmUnreachable: ("slurm_unreachable", 503),
    ServerEnded: ("server_ended", 400),
}


class StartProgress:
    """What happened so far. `ring` wakes everyone who waits for a change."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.waited: float | None = None  # seconds in the queue, once that is over
        self._bell = asyncio.Event()

    def tell(self, progress: int, message: str) -> None:
        """Adds a sentence, unless it is the last one again; `progress` is in percent."""
        if not self.events or self.events[-1]["message"] != message:
            self.events.append({"progress": progress, "message": message, "at": time.time()})
            self.ring()

    def ring(self) -> None:
        """Wakes everyone who waits for a change."""
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()

    def changed(self) -> Coroutine[Any, Any, bool]:
        """Awaited, returns at the next change from this call on, even if the awaiting begins later."""
        return self._bell.wait()

    async def follow(self) -> AsyncIterator[Event]:
        """All events, from the first on; the caller stops when the start is over."""
        told = 0
        while True:
            for event in self.events[told:]:
                told += 1
                yield event
            if told == len(self.events):
                await self.changed()


class StartFailed(SpawnException):
    """An error as JupyterHub shows it: the user's text on the page, the operator's in the log.

    The first line of the user's text is the sentence, what follows is the end of the server's log.
    """

    def __init__(self, error: FlatironsError) -> None:
        reason, status = next(
            (known for kind, known in REASONS.items() if isinstance(error, kind)), ("slurm_error", 500)
        )
        sentence, _, log = error.user.partition("\n")
        super().__init__(
            error.user,
            reason=reason,
            status_code=status,
            log_message=(error.detail or error.user).replace("%", "%%"),
            message_html=as_html(sentence, log.splitlines()),
        )

    @property
    def jupyterhub_message(self) -> str:
        """The text for JupyterHub's pages and REST answers."""
        return str(self.message)

    @property
    def jupyterhub_html_message(self) -> str:
        """The same as HTML, with everything escaped."""
        return str(self.message_html)


def as_html(sentence: str, log: Sequence[str] = ()) -> str:
    """The sentence, and the log's lines below it, with everything escaped."""
    text = f"<p>{html.escape(sentence)}</p>"
    if log:
        lines = html.escape("\n".join(log))
        text += f'<pre class="text-start border rounded p-2 small">{lines}</pre>'
    return text
