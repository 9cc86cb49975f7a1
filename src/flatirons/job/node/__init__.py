"""What runs on the compute node, sent there as the text of a job script: standard library, Python >= 3.6.

`starter` is the program; `calls`, `log` and `ports` are put before it. They import from each other by whole
lines (`from flatirons.job.node.NAME import ...`), which job/script.py leaves out.
"""
