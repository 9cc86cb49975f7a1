# A Jupyter server reads this when it starts: sbatch and srun in its notebooks and terminals are to behave
# as on a log-in node, and Dask is to know the cluster.
import os

from flatirons.parallel import dask, environment

environment.scrub(os.environ)
dask.offer_or_say(os.environ)
