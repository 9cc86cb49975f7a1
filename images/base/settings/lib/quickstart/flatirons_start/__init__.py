"""How a server of this image starts sooner; see images/README.md, "Cold start"."""
