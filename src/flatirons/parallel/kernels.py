"""How kernels start in our images: out of reach of neighbours on the node, whichever program starts them.

The starter's settings (job/node/kernel_transport.py) reach the programs of Jupyter, but not a library that
starts a kernel by itself, as nbclient and papermill do in a notebook. But jupyter_client always asks the
provisioner that a kernel's own specification names: here `flatirons-private`, an entry point of ours.

`python -m flatirons.parallel.kernels FOLDER` writes that name into the specifications below a folder, when an
image is built.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from flatirons.job.node import kernel_transport

NAME = "flatirons-private"


class PrivateKernel(LocalProvisioner):
    """Starts a kernel as Jupyter itself does, after it has chosen how the kernel listens."""

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """What Jupyter calls before each start and restart of the kernel."""
        if self.parent is not None:
            kernel_transport.protect(self.parent)
        return await super().pre_launch(**kwargs)


def name_provisioner(file: Path) -> None:
    """Names `PrivateKernel` in a kernel's specification, unless that names another provisioner."""
    specification = json.loads(file.read_text())
    metadata = specification.setdefault("metadata", {})
    metadata.setdefault("kernel_provisioner", {"provisioner_name": NAME})
    file.write_text(json.dumps(specification, indent=1) + "\n")


if __name__ == "__main__":
    for each in sorted(Path(sys.argv[1]).glob("*/kernel.json")):
        name_provisioner(each)
