# A Jupyter server reads this when it starts: sbatch and srun in its notebooks and terminals are to behave
# as on a log-in node, Dask is to know the cluster, and the Clusters tab is to list the profile `slurm`.
import contextlib
import os

from flatirons.parallel import login_environment
from flatirons.parallel.dask import configuration
from flatirons.parallel.ipp import profile

login_environment.scrub(os.environ)
configuration.offer_or_say(os.environ)
with contextlib.suppress(OSError):  # a home that is full or read-only: the tab has other profiles
    profile.ensure(os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython"))
