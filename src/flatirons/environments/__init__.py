"""`flatirons images`: what the site's environments are, and whether they do what a notebook server needs.

survey    is sent to a machine's Python: the image, its binds, room; starts `probe` inside the environment;
probe     is sent to the environment's own Python: server, kernels, Slurm's commands, GPUs;
findings  what the two saw, as sentences that say what to do;
check     from an environment of the site to its findings, here or on a node through srun;
listing   what the site has, with the labels of its image files;
arguments, command: the command line, and what is printed.

Neither `survey` nor `probe` needs anything of ours where it runs, or anything besides the standard library.
"""
