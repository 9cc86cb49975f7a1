# ipyparallel reads this file before those of a profile, so the profile `slurm` exists whenever it is used.
import contextlib

from flatirons.parallel.ipp import profile

with contextlib.suppress(OSError):  # the home directory may be full or read-only; other engines still start
    profile.create()
