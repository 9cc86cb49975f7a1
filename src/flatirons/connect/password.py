"""What a request to the local port must show.

Everybody on this machine can reach the port, and so can each web page that is open in a browser here. So a
request must show a password that only this command knows: as a token, as Jupyter's clients do, or by a
cookie, which counts only for requests of pages that came from this port.
"""

from __future__ import annotations

import hmac
import secrets
from urllib.parse import unquote_plus

from flatirons.connect.http_message import Head

LOOPBACK = "127.0.0.1"


class NotForwarded(Exception):
    """A local request that isn't forwarded: the status and a sentence for whoever sent it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Password:
    """A new password; `port` is the local port that it protects, 0 until it is known."""

    def __init__(self) -> None:
        self.text = secrets.token_urlsafe(24)
        self.port = 0

    @property
    def cookie(self) -> str:
        """The name of the cookie. Browsers send cookies to all ports of a host."""
        return f"flatirons-connect-{self.port}"

    @property
    def set_cookie(self) -> str:
        """The value of the field Set-Cookie, for pages that were opened by the URL with the password."""
        return f"{self.cookie}={self.text}; Path=/; HttpOnly; SameSite=Strict"

    def check(self, head: Head) -> bool:
        """Was the password in the request's URL? Raises NotForwarded for a request without it."""
        scheme, _, given = head.one("authorization").partition(" ")
        if scheme.lower() in ("token", "bearer") and self._is_text(given.strip()):
            return False
        if any(map(self.is_in, head.query)):
            return True
        pairs = (pair.strip().partition("=") for text in head.all("cookie") for pair in text.split(";"))
        if any(name == self.cookie and self._is_text(value) for name, _, value in pairs):
            self._check_page(head)
            return False
        raise NotForwarded(
            403, "Use the whole URL that `flatirons connect` printed: its token is the password."
        )

    def is_in(self, pair: str) -> bool:
        """Is this pair of a URL's query the password?"""
        name, _, value = pair.partition("=")
        return unquote_plus(name) == "token" and self._is_text(unquote_plus(value))

    def _check_page(self, head: Head) -> None:
        """Refuses what a page from elsewhere sends: browsers add the cookie to that, too."""
        origins = {"", *(f"http://{name}:{self.port}" for name in (LOOPBACK, "localhost"))}
        is_own = head.one("origin") in origins
        if not is_own or head.one("sec-fetch-site") not in ("", "none", "same-origin"):
            raise NotForwarded(403, "This request comes from a page of another address.")

    def _is_text(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.text.encode())
