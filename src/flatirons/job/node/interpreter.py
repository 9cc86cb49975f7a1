"""The modules `signal` and `socket` of the node's Python, without what makes their import slow.

Every start of a server imports them. In CPython they add a layer in Python to a module in C, which does all
that the starter needs; importing the two layers takes half as much CPU as starting Python itself. Other
Pythons have the public modules only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    import socket
else:
    try:
        import _signal as signal
        import _socket as socket
    except ImportError:
        import signal
        import socket

__all__ = ["signal", "socket"]
