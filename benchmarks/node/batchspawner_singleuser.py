#!/opt/jupyter/bin/python3
"""The peers' wrapper of the server, for an image without batchspawner, whose package is bound into it."""

import sys

sys.path.insert(0, "/opt/batchspawner")
from batchspawner.singleuser import main

sys.path.pop(0)
main()
