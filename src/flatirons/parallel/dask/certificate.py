"""A user's own certificate, by which Dask's processes know each other: whoever hasn't its key is turned away.

Without it anybody on the network could hand a scheduler or a worker code to run. Kept for good, in one file
of mode 0600 that holds key and certificate: it proves what access to the home directory proves.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
from pathlib import Path

YEARS = 20  # as long as the home directory it lies in


def ensure(file: Path) -> None:
    """Makes the file if it isn't there; of two that do so at once the first wins. Raises OSError."""
    if file.exists():
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "wb") as out:
            out.write(_made())
        with contextlib.suppress(FileExistsError):
            os.link(draft, file)
    finally:
        draft.unlink()


def _made() -> bytes:
    """A new key and a certificate that it signs itself, both as PEM."""
    # here, because a server that finds the file need not wait for them
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "flatirons-dask")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # nodes' clocks may differ
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return private + certificate.public_bytes(serialization.Encoding.PEM)
