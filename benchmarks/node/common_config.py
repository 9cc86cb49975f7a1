"""Common to all hubs of the benchmarks: a request for a server is answered when the server is ready."""

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 600}
