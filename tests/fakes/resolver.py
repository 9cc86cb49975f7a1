"""A resolver of host names with the answers that a test sets."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from flatirons.spawners.shared.host_names import parse_address


class Resolver:
    """Replaces host_names._look_up: names with their address or addresses, or with an error."""

    def __init__(self, **names: Any) -> None:
        self.names = names
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Any:
        self.asked.append(name)
        await asyncio.sleep(0)
        found = self.names.get(name, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        if isinstance(found, Exception):
            raise found
        return frozenset(parse_address(each) for each in ([found] if isinstance(found, str) else found))
