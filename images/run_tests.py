"""Tests the kernels of an image: runs the code for each kernel. %test starts this inside the image.

The code is beside this file in IMAGE/KERNEL.SUFFIX. A kernel passes if the code runs without an error and
draws at least one picture.
"""

import sys
from pathlib import Path

from jupyter_client.manager import run_kernel

SECONDS = 120


def pictures(kernel: str, code: str) -> int:
    """The number of pictures that the code draws; RuntimeError with the kernel's message if it fails."""
    shown = []

    def on_output(message: dict) -> None:
        content = message["content"]
        if message["msg_type"] in ("display_data", "execute_result"):
            shown.extend(kind for kind in content["data"] if kind.startswith("image/"))
        elif message["msg_type"] == "stream":
            print(content["text"], end="", flush=True)

    with run_kernel(kernel_name=kernel, startup_timeout=SECONDS) as client:
        reply = client.execute_interactive(code, timeout=SECONDS, output_hook=on_output)["content"]
    if reply["status"] != "ok":
        raise RuntimeError("\n".join([reply.get("ename", ""), *reply.get("traceback", [])]))
    return len(shown)


def main() -> int:
    """The exit code: 1 if a kernel fails."""
    failed = 0
    for file in sorted(Path(__file__).parent.glob("*/*")):
        name = f"kernel {file.stem}, {file.parent.name}/{file.name}"
        try:
            drawn = pictures(file.stem, file.read_text())
        except RuntimeError as error:
            print(f"{name}: failed: {error}", flush=True)
            failed = 1
            continue
        print(f"{name}: {drawn} picture(s)", flush=True)
        failed |= not drawn
    return failed


if __name__ == "__main__":
    sys.exit(main())
