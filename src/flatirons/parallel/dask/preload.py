"""What Dask's processes import first (`preload` in our configuration): a repair for their TLS connections."""

from __future__ import annotations

from flatirons.parallel.dask.compat import repair_tls_reads

repair_tls_reads()
