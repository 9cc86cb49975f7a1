"""What somebody without the certificate gets from Dask's scheduler and workers: real ones, on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from flatirons.parallel.dask import certificate, configuration
from tests.repository import REPO

PROGRAM = """
import asyncio, json, os, socket, ssl, sys
import psutil
from distributed import Client, Nanny, Scheduler
from distributed.security import Security

OTHER = sys.argv[1]

def ports():
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    sockets = [each for process in family for each in process.net_connections("tcp")]
    return sorted({each.laddr for each in sockets if each.status == psutil.CONN_LISTEN})

def speaks(address, certificate=None):
    # What a server of TLS says to somebody who asks for nothing but a connection; "" when it refuses
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate)
    try:
        with socket.create_connection(address, timeout=2) as plain:
            with context.wrap_socket(plain) as stranger:
                return stranger.recv(64).hex()  # Dask's handshake begins with the server
    except OSError:
        return ""

async def join(address, security):
    try:
        async with Client(address, security=security, asynchronous=True, timeout=3) as client:
            return await client.submit(lambda: 42)
    except OSError:  # as all errors of Dask's connections
        return "refused"

async def main():
    async with Scheduler(host="127.0.0.1", dashboard_address="127.0.0.1:0") as scheduler:
        async with Nanny(scheduler.address, nthreads=1, dashboard_address="127.0.0.1:0"):
            pair = {"tls_client_cert": OTHER, "tls_client_key": OTHER}
            tls = Security(tls_ca_file=OTHER, require_encryption=True, **pair)
            plain = scheduler.address.replace("tls://", "tcp://")
            found = {
                "scheme": scheduler.address.partition(":")[0],
                "member": await join(scheduler.address, None),
                "plain": await join(plain, Security(require_encryption=False)),
                "other": await join(scheduler.address, tls),
            }
            loop = asyncio.get_running_loop()
            own = os.environ["OWN"]
            for key, given in (("heard_without", None), ("heard_other", OTHER), ("heard_member", own)):
                heard = [await loop.run_in_executor(None, speaks, address, given) for address in ports()]
                found[key] = len(list(filter(None, heard)))
            print(json.dumps(found), flush=True)
            os._exit(0)

if __name__ == "__main__":
    asyncio.run(main())
"""
JOB = {"SLURM_JOB_ID": "7", "FLATIRONS_JOB_ID": "7", "SLURM_JOB_PARTITION": "shas"}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("dask")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configuration.address, "of_this_node", lambda _: "127.0.0.1")
        place = configuration.write(JOB, folder)
    certificate.create(folder / "other" / "certificate.pem")
    (folder / "program.py").write_text(PROGRAM)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(REPO / "src")}
    env |= {"DASK_ROOT_CONFIG": str(place), "OWN": str(folder / configuration.CERTIFICATE)}
    words = [sys.executable, str(folder / "program.py"), str(folder / "other" / "certificate.pem")]
    done = subprocess.run(words, env=env, cwd=folder, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_user_computes(found: dict[str, Any]) -> None:
    assert (found["scheme"], found["member"]) == ("tls", 42)


@pytest.mark.parametrize("stranger", ["plain", "other"])
def test_a_stranger_cannot_join(found: dict[str, Any], stranger: str) -> None:
    assert found[stranger] == "refused"


def test_no_port_says_anything_to_a_stranger(found: dict[str, Any]) -> None:
    assert found["heard_member"] >= 3  # scheduler, nanny, worker
    assert (found["heard_without"], found["heard_other"]) == (0, 0)
