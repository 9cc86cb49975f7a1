"""What the demo's hub reads last: a service whose token `scripts/demo` and the tests use."""

from pathlib import Path

SCOPES = [
    "admin:users",
    "admin:servers",
    "access:servers",
    "list:users",
    "read:hub",
    "read:metrics",
    "tokens",
]

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.JupyterHub.services = [{"name": "demo", "api_token": Path("/etc/flatirons/token").read_text().strip()}]
c.JupyterHub.load_roles = [{"name": "demo", "services": ["demo"], "scopes": SCOPES}]
