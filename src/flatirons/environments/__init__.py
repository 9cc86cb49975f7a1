"""The site's environments: their catalogue, and whether each can run a notebook server (`flatirons images`).

catalogue          environments and images, and how a command runs in one;
survey             sent to a node's Python: image, binds, free space; starts `probe` inside the environment;
probe              sent to the environment's own Python: server, kernels, Slurm's commands, GPUs;
findings           what the two observed, as sentences with advice;
check              from an environment of the site to its findings, here or on a node through srun;
listing            the site's environments with the labels of their image files;
arguments, command the command line and its output.

`survey` and `probe` need nothing but the standard library where they run.
"""
