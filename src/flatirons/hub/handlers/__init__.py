"""The URLs that Flatirons adds to a hub: `handlers`, for `c.JupyterHub.extra_handlers`."""

from flatirons.hub.handlers import (
    announcements,
    beside,
    connect,
    form,
    home,
    operations,
    reports,
    server_events,
    start,
    starter,
)

handlers = [
    *starter.handlers,
    *form.handlers,
    *beside.handlers,
    *reports.handlers,
    *start.handlers,
    *operations.handlers,
    *announcements.handlers,
    *connect.handlers,
    *home.handlers,
    *server_events.handlers,
]
