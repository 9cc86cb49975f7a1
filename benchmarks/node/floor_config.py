"""The floor: a spawner that does nothing, in a hub that Flatirons configures. One stub is every server."""

from jupyterhub.spawner import Spawner

STUB = "http://shas0101:9990"


class FloorSpawner(Spawner):
    """Every server is the stub, which runs already."""

    async def start(self) -> str:
        """Returns the stub's URL at once."""
        return STUB

    async def poll(self) -> None:
        """The server always runs."""

    async def stop(self, now: bool = False) -> None:
        """The stub keeps running."""


c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.spawner_class = FloorSpawner
