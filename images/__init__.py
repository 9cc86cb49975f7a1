"""Container images: from Debian packages to a SIF that a compute node runs."""
