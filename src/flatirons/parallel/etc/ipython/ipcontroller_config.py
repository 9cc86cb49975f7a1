# ipyparallel reads this file before those of a profile: every controller encrypts, also for other launchers
# than ours, unless $IPP_ENABLE_CURVE is 0.
import os
import secrets

import zmq

if zmq.has("curve") and os.environ.get("IPP_ENABLE_CURVE", "1") == "1":
    c = get_config()  # type: ignore[name-defined]  # noqa: F821
    c.IPController.enable_curve = True
    c.Session.key = secrets.token_hex(32).encode()  # without a key, clients print a warning into cells
