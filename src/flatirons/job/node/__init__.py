"""What runs on the compute node, sent there as the text of a job script: standard library, Python >= 3.6.

`starter` is the program. job/script.py puts the other modules before it, in one text, without their imports
from each other (job/program.py). So no two modules may define the same name. environments/survey.py, which is
sent as well, uses `profile` in the same way.

A start should cost a node little, because hundreds may come at once. So the starter imports nothing that
takes long, such as `json`, `re`, `socket`, `subprocess` or `typing`, before it is needed.

For the same reason `usage` and `memory` are texts within that text, compiled when the server is up.

`kernel_transport` isn't part of that text: the starter writes it into a file, for Jupyter in the container.
"""
