"""Runs the code that an image's kernels must be able to run, each in its kernel; in the image, by %test.

Code lies beside this file as IMAGE/KERNEL.SUFFIX. A kernel passes when it runs that without an error and
draws at least one picture.
"""

import sys
from pathlib import Path

from jupyter_client.manager import run_kernel

SECONDS = 120


def pictures(kernel: str, code: str) -> int:
    """How many pictures the code draws; raises RuntimeError with the kernel's own words if it fails."""
    shown = []

    def see(message: dict) -> None:
        content = message["content"]
        if message["msg_type"] in ("display_data", "execute_result"):
            shown.extend(kind for kind in content["data"] if kind.startswith("image/"))
        elif message["msg_type"] == "stream":
            print(content["text"], end="", flush=True)

    with run_kernel(kernel_name=kernel, startup_timeout=SECONDS) as client:
        reply = client.execute_interactive(code, timeout=SECONDS, output_hook=see)["content"]
    if reply["status"] != "ok":
        raise RuntimeError("\n".join([reply.get("ename", ""), *reply.get("traceback", [])]))
    return len(shown)


def main() -> int:
    """The exit code: 1 if a kernel fails."""
    failed = 0
    for file in sorted(Path(__file__).parent.glob("*/*")):
        what = f"kernel {file.stem}, {file.parent.name}/{file.name}"
        try:
            drawn = pictures(file.stem, file.read_text())
        except RuntimeError as error:
            print(f"{what}: failed: {error}", flush=True)
            failed = 1
            continue
        print(f"{what}: {drawn} picture(s)", flush=True)
        failed |= not drawn
    return failed


if __name__ == "__main__":
    sys.exit(main())
