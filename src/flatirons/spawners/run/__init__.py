"""One run of a server for a hub: what is stored of it, whose calls it accepts, why it ended."""
