"""The URL that somebody pasted: of a hub, of one of its pages, or of a server. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from flatirons.errors import ConnectError, quoted


@dataclass(frozen=True, slots=True)
class Address:
    """`base` is the URL below which the hub serves everything. A server that is named has an `owner`."""

    base: str
    owner: str = ""
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads `https://HUB`, `https://HUB/PREFIX/hub/home` or `https://HUB/user/OWNER/NAME/lab`.

        Raises ConnectError for what isn't an address. Without a scheme, it is https.
        """
        url = text if "://" in text else f"https://{text}"
        try:
            parts = urlsplit(url)
            has_host = bool(parts.hostname) and parts.port != 0
        except ValueError:
            has_host = False
        if not has_host or parts.scheme not in ("http", "https") or not url.isascii() or " " in url:
            raise ConnectError(f"The URL of a hub or a server is expected, not {quoted(text)}.")
        origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        prefix, is_server, rest = f"{parts.path.rstrip('/')}/".partition("/user/")
        if not is_server:
            return cls(f"{origin}{prefix.partition('/hub/')[0].rstrip('/')}/")
        owner, _, name = rest.partition("/")
        return cls(f"{origin}{prefix.removesuffix('/hub')}/", unquote(owner), unquote(name.partition("/")[0]))

    @property
    def is_insecure(self) -> bool:
        """Would a token go over a network unencrypted?"""
        parts = urlsplit(self.base)
        return parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1")


def server_path(owner: str, name: str) -> str:
    """The path of a server below the hub's base, as JupyterHub writes it."""
    return "/".join(("user", quote(owner, safe="@~"), *([quote(name, safe="@~")] if name else []), ""))
