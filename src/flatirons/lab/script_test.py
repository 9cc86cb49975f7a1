"""POST test: what Slurm says of a job script, by `sbatch --test-only`. Its answer is schema/test.json.

Nothing is submitted, and nothing else is run. Slurm reads the script's own options.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tornado.web import HTTPError, authenticated

from flatirons.errors import SubmitRefused
from flatirons.lab.handlers import PanelHandler
from flatirons.slurm import explain

LONGEST_SCRIPT = 1024 * 1024
"""Bytes."""

UNREADABLE = {
    "\0": "Slurm refuses a script with NUL characters.",
    "\r\n": "Slurm refuses a script with line ends of Windows.",
}


class TestHandler(PanelHandler):
    """POST test: asks Slurm about the script in the body, as this user."""

    __test__ = False  # not a test of pytest

    @authenticated
    async def post(self) -> None:
        """Answers 200 for a script that Slurm refuses, too; 400 or 413 for a body that holds no script."""
        script = self._script()
        for sign, sentence in UNREADABLE.items():
            if sign in script:
                line = script[: script.index(sign)].count("\n") + 1
                self.finish(refusal(sentence, line=line))
                return
        try:
            start, sentence = await self.slurm.test(script)
        except SubmitRefused as refused:
            self.finish(refusal(refused.user, options=explain.options_named(refused.user)))
            return
        from flatirons.slurm.estimate import describe_start  # here, so that no server's start waits for it

        said = describe_start(start, datetime.now(UTC)).sentence if start else f"Slurm says: {sentence}"
        self.finish(_answer(True, said, start_at=start.timestamp() if start else None))

    def _script(self) -> str:
        script = self.body().get("script")
        if not isinstance(script, str):
            raise HTTPError(400, "The request has no script.")
        try:
            size = len(script.encode())
        except UnicodeEncodeError:
            raise HTTPError(400, "The script holds characters that no file can hold.") from None
        if size > LONGEST_SCRIPT:
            raise HTTPError(413, "The script is too large: Slurm takes no script above one MiB.")
        return script


def refusal(sentence: str, *, options: tuple[str, ...] = (), line: int | None = None) -> dict[str, Any]:
    """The answer for a script that Slurm refuses."""
    return _answer(False, sentence, options=options, line=line)


def _answer(
    is_accepted: bool,
    sentence: str,
    *,
    options: tuple[str, ...] = (),
    line: int | None = None,
    start_at: float | None = None,
) -> dict[str, Any]:
    return {
        "is_accepted": is_accepted,
        "sentence": sentence,
        "options": list(options),
        "line": line,
        "start_at": start_at,
    }


routes = [("test", TestHandler)]
