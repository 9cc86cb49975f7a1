"""What a server says of itself in its first answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import ClientError
from jupyterhub import __version__ as hub_version
from jupyterhub.utils import fetch, make_ssl_context

from flatirons.spawners.diagnosis import Cause
from flatirons.spawners.versions import too_old

SECONDS = 5.0
HEADER = "X-JupyterHub-Version"


async def misfit(url: str, settings: Mapping[str, Any]) -> Cause | None:
    """Why people can't log in to the server at `url`, None where they may.

    A server that doesn't answer says nothing: JupyterHub, which asks next, waits for it.
    """
    keys = (settings.get(f"internal_ssl_{name}") for name in ("key", "cert", "ca"))
    context = make_ssl_context(*keys)
    options = {"ssl": context} if context else {}
    try:
        async with asyncio.timeout(SECONDS):
            answer = await fetch(url, raise_for_status=False, allow_redirects=False, **options)
            answer.release()
    except (ClientError, OSError):  # a TimeoutError is an OSError
        return None
    return too_old(answer.headers.get(HEADER, ""), hub_version)
