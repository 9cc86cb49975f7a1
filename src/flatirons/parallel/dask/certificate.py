"""A user's certificate, by which Dask's processes recognise each other: they refuse everybody else.

Without it anybody on the network could send code to a scheduler or to a worker. One file of mode 0600 holds
key and certificate. It is kept: it proves no more than access to the home directory does.
"""

from __future__ import annotations

import contextlib
import datetime
from pathlib import Path

from flatirons.files import write_atomically

YEARS = 20  # as long as the home directory may live


def create(file: Path) -> None:
    """Makes the file if it doesn't exist. Of two processes that do so at once, the first wins.

    Raises OSError.
    """
    if file.exists():
        return
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        write_atomically(file, _make(), 0o600, replace=False)


def _make() -> str:
    """A new key and a certificate that it signs itself, both as PEM."""
    # Imported here, because a server that finds the file doesn't need them.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "flatirons-dask")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # the clocks of nodes may differ
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return (private + certificate.public_bytes(serialization.Encoding.PEM)).decode()
