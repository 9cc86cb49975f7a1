"""What the driver says when it can't do what was asked."""


class BuildError(Exception):
    """One sentence for the person at the keyboard; ends the driver with exit code 1."""
