"""How a server and a kernel of this image start sooner; see images/README.md, "Cold start"."""
