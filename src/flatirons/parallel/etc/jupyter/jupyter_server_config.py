# A Jupyter server reads this file when it starts. In its notebooks and terminals, sbatch and srun then behave
# as on a log-in node, Dask knows the cluster, and the Clusters tab lists the profile `slurm`.
import contextlib
import os

from flatirons.parallel import login_environment
from flatirons.parallel.dask import configuration
from flatirons.parallel.ipp import profile

login_environment.hide_job(os.environ)
configuration.configure_or_log(os.environ)
with contextlib.suppress(OSError):  # the home directory may be full or read-only; other profiles still work
    profile.create(os.environ.get("IPYTHONDIR") or os.path.expanduser("~/.ipython"))
