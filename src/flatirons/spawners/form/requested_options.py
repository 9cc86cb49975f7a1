"""What the current request asks for, and how it is refused.

Both are kept for the request only, in a context variable. JupyterHub answers a refused POST for a *named*
server with the form of the *default* server's spawner (handlers/pages.py, 6.1), so a spawner can't keep them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from jupyterhub.spawner import Spawner, SpawnException

from flatirons.errors import OptionsRefused
from flatirons.spawners.jupyterhub import compat


@dataclass(slots=True)
class RequestedOptions:
    """The options of this request as they came in, for which server, and what is wrong with them.

    `is_whole`: they come from the page with the form, where what isn't given was left empty. `spawner` is
    None for a link: there JupyterHub asks the right spawner for its form.
    """

    values: Mapping[str, object]
    is_link: bool
    is_whole: bool = True
    spawner: Spawner | None = None
    messages: Mapping[str, str] = field(default_factory=dict)


requested: ContextVar[RequestedOptions | None] = ContextVar("flatirons_requested_options", default=None)

stored_before: ContextVar[Mapping[str, Any] | None] = ContextVar("flatirons_stored_before", default=None)
"""The options that were stored before this request: those of a start that is refused aren't kept."""


class RefusedOptions(SpawnException):
    """Options that can't be taken; the text names each with its sentence.

    The text is empty for JupyterHub where the answer is a page with the form: the form shows the sentences.
    """

    def __init__(self, refused: OptionsRefused) -> None:
        super().__init__(refused.user, reason="options")

    @property
    def jupyterhub_message(self) -> str:
        """The text for JupyterHub's pages and REST answers."""
        return "" if requested.get() is not None else str(self.message)


class FilledIn(Exception):
    """Not an error: by it `options_from_query` makes JupyterHub show the form instead of starting a server.

    JupyterHub shows these two texts in a red box unless they are empty. The form has its own notice.
    """

    jupyterhub_message = ""
    jupyterhub_html_message = ""


class RefusalsAtInfo(logging.Filter):
    """Reduces JupyterHub's tracebacks of refused options and links to one line at level INFO.

    They are not errors of the hub.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """True: every record is logged."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, SpawnException | FilledIn):
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg, record.args = "No server is started: %s", (getattr(error, "message", error),)
            record.exc_info = None
        return True


_refusals_at_info = RefusalsAtInfo()


def log_refusals_at_info() -> None:
    """Installs the filter on JupyterHub's logger, once."""
    compat.add_log_filter(_refusals_at_info)
