"""The error of a failed start as JupyterHub shows it."""

from __future__ import annotations

import html
from collections.abc import Sequence

from jupyterhub.spawner import SpawnException

from flatirons.errors import FlatironsError, OptionsRefused, ServerEnded, SlurmUnreachable, SubmitRefused

REASONS = {
    SubmitRefused: ("slurm_refused", 400),
    OptionsRefused: ("options_refused", 400),
    SlurmUnreachable: ("slurm_unreachable", 503),
    ServerEnded: ("server_ended", 400),
}
"""The reason and the HTTP status that JupyterHub gives for each error."""


class StartFailed(SpawnException):
    """An error with the user's text for the page and the operator's for the log.

    The first line of the user's text is the sentence; the other lines are the end of the server's log.
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
    """The sentence with the lines of the log below it, everything escaped."""
    text = f"<p>{html.escape(sentence)}</p>"
    if log:
        lines = html.escape("\n".join(log))
        text += f'<pre class="text-start border rounded p-2 small">{lines}</pre>'
    return text
