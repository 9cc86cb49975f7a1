"""Makes a server of this image start faster; see images/README.md, "Cold start"."""
