# A Jupyter server reads this when it starts: sbatch and srun in its notebooks and terminals are to behave
# as on a log-in node.
import os

from flatirons.parallel import environment

environment.scrub(os.environ)
