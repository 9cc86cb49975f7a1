"""The error that ends the commands of the virtual cluster with a sentence."""


class ClusterError(Exception):
    """One sentence for the user; the command ends with exit code 1."""
