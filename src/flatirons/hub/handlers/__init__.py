"""All that Flatirons adds to a hub's URLs: `handlers`, for `c.JupyterHub.extra_handlers`."""

from flatirons.hub.handlers import form, reports, starter

handlers = [*starter.handlers, *form.handlers, *reports.handlers]
