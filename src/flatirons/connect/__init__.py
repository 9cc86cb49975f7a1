"""`flatirons connect`: a port of one's own machine that leads to a server of a hub.

Runs on laptops: the standard library and `flatirons.errors` are all that it needs, and the hub serves it as a
single file (`archive.py`). The order to read: command, hub, forward, http_message.
"""
