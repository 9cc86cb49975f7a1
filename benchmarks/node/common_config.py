"""What every hub of these benchmarks has besides its spawner: answers wait for a server to be ready."""

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 600}
