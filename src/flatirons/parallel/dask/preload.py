"""Keeps a fault of Python's from ending Dask's healthy connections; Dask imports it first (`preload`).

OpenSSL has one queue of errors for each thread. When a peer goes away at the wrong moment an error of its
connection stays there, and Python before the fix of https://github.com/python/cpython/issues/148594 takes it
for one of whichever connection is used next: reading raises BrokenPipeError, which no reading can mean. With
Python 3.13.5 and OpenSSL 3.5 that ended most clusters of two workers within their first second.
"""

from __future__ import annotations

import ssl
from typing import Any

from tornado.iostream import SSLIOStream

_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_CONTEXT.check_hostname = False


def forget_errors() -> None:
    """Empties this thread's queue: to make an SSL object does that, and Python offers nothing plainer."""
    _CONTEXT.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())


def mend(stream: Any) -> None:
    """Makes a read that raises BrokenPipeError look again, once, at its own connection; twice is no error."""
    original = stream.read_from_fd
    if original.__module__ == __name__:
        return

    def read_from_fd(self: Any, buffer: Any) -> Any:
        try:
            return original(self, buffer)
        except BrokenPipeError:
            forget_errors()
            return original(self, buffer)

    stream.read_from_fd = read_from_fd


mend(SSLIOStream)
