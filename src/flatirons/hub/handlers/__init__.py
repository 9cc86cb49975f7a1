"""The URLs that Flatirons adds to a hub: `handlers`, for `c.JupyterHub.extra_handlers`."""

from flatirons.hub.handlers import form, operations, reports, starter

handlers = [*starter.handlers, *form.handlers, *reports.handlers, *operations.handlers]
