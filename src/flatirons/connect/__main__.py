"""`python -m flatirons.connect`, and the single file that the hub serves."""

import sys

from flatirons.connect.command import main

if __name__ == "__main__":
    sys.exit(main())
