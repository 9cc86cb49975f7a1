"""The start of a server: its end, cancellation and options, by names that JupyterHub doesn't document.

What `compat` says holds here, too; tests/hub/test_start_page.py fails when a name has changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from jupyterhub.handlers.base import BaseHandler
from jupyterhub.spawner import Spawner

from flatirons.spawners.jupyterhub import compat


def start_of(spawner: Spawner) -> asyncio.Future[Any] | None:
    """Done when the start has succeeded or failed; None if none is under way."""
    future: asyncio.Future[Any] | None = spawner._spawn_future
    return None if future is None or future.done() else future


async def cancel_start(handler: BaseHandler, spawner: Spawner) -> bool:
    """Cancels a start, or stops the server if it is up by now; returns when it has stopped.

    False if that is impossible at the moment. Needless once JupyterHub has a method for it: its REST handler
    waits a second for the start to notice.
    """
    start = start_of(spawner)
    if start and not compat.is_stop_pending(spawner):
        start.cancel()
        await compat.settled(spawner)
    if spawner.pending and spawner.pending != "stop":
        return False
    if start or spawner.active:  # JupyterHub doesn't call a cancelled start active, but its job is there
        await compat.stop_server(handler, spawner)
    return True


async def start_again(handler: BaseHandler, spawner: Spawner, options: Mapping[str, Any]) -> None:
    """Starts the server with these options; returns when that has failed, or goes on for some seconds.

    JupyterHub's page for the server shows how it failed.
    """
    user, name = spawner.user, spawner.name
    start = asyncio.ensure_future(handler.spawn_single_user(user, name, spawner.display_name, dict(options)))
    await asyncio.wait([start])
    if start.exception():
        handler.log.info("No new server for %s: %s", compat.log_name(spawner), start.exception())


async def apply_options(spawner: Spawner, options: Mapping[str, Any]) -> None:
    """Lets the site's hook check options and set the spawner's traits, as at a start."""
    await spawner._run_apply_user_options(dict(options))


def store_options(spawner: Spawner) -> None:
    """Stores the spawner's options as those of its start; raises SQLAlchemyError."""
    compat.restore_options(spawner, spawner.user_options)
