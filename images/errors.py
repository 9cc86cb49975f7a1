"""The error that ends the image builder with a sentence."""


class BuildError(Exception):
    """One sentence for the user; the command ends with exit code 1."""
