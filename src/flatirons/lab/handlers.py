"""What all routes of the panel share: they demand the server's authentication, and answer errors as JSON.

XSRF is checked by Jupyter Server. An error body is `{"message": a sentence for the user}`.
"""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, cast

from jupyter_server.base.handlers import APIHandler
from tornado.web import HTTPError

from flatirons.errors import FlatironsError
from flatirons.lab.slurm import UserSlurm

SLURM_KEY = "flatirons_slurm"
LONGEST_BODY = 2 * 1024 * 1024
"""Bytes; a job script may have one MiB."""


class PanelHandler(APIHandler):
    """A route of the panel."""

    @property
    def slurm(self) -> UserSlurm:
        """The user's Slurm."""
        return cast(UserSlurm, self.settings[SLURM_KEY])

    def body(self) -> dict[str, Any]:
        """The JSON object in the body; 400 for anything else, 413 for one that is too large."""
        if len(self.request.body) > LONGEST_BODY:
            raise HTTPError(413, "The request is too large.")
        try:
            found = json.loads(self.request.body)
        except ValueError:
            raise HTTPError(400, "The request isn't JSON.") from None
        if not isinstance(found, dict):
            raise HTTPError(400, "The request isn't a JSON object.")
        return found

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answers with the sentence for the user."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        if isinstance(error, FlatironsError):
            self.set_status(502)
            message = error.user
        elif isinstance(error, HTTPError):
            message = error.log_message or error.reason or "This isn't possible."
        else:
            message = "The panel failed. The log of your server says why."
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"message": message}))

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Logs one line for an error of Slurm, with its detail."""
        if isinstance(value, FlatironsError):
            self.log.warning("%s: %s", self.request.path, value.detail or value)
        else:
            super().log_exception(typ, value, tb)
