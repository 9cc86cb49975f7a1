# ipyparallel reads this before a profile's own file, so the profile `slurm` is there when first asked for.
import contextlib

from flatirons.parallel.ipp import profile

with contextlib.suppress(OSError):  # a home that is full or read-only: engines of other kinds still start
    profile.ensure()
