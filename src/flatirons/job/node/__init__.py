"""What runs on the compute node, sent there as the text of a job script: standard library, Python >= 3.6.

`starter` is the program. job/script.py puts the other modules before it, in one text, without their imports
from each other. So these have the form `from flatirons.job.node.NAME import ...`, and no two modules may
define the same name. environments/survey.py, which is sent as well, uses `profile` in the same way.

`kernel_transport` isn't part of that text: the starter writes it into a file, for Jupyter in the container.
"""
