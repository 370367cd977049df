"""TLS with other DICOM applications, PS3.15 annex B.12 (BCP 195): 1.2 and above, their certificates checked."""

from __future__ import annotations

import ssl
from pathlib import Path

from carina.errors import BadSettings


def client_context(
    certificate: Path | None = None, key: Path | None = None, authorities: Path | None = None
) -> ssl.SSLContext:
    """What an association that is asked for over TLS needs.

    certificate  PEM file that shows who asks, and `key` its private key; None: nothing is shown
    authorities  PEM file with those whose certificates are trusted; None: the system's

    The name or address that is called must be in the certificate. Raises `BadSettings` for a file that cannot be used.
    """
    try:
        made = ssl.create_default_context(cafile=None if authorities is None else str(authorities))
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            made.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError):
        raise BadSettings(
            "A certificate or key for TLS cannot be used.", "They are PEM files; the key has no password."
        ) from None
    return made


def listener_context(certificate: Path, key: Path, clients: Path | None = None) -> ssl.SSLContext:
    """What the listener needs.

    certificate  PEM file with the node's certificate and those above it, and `key` its private key
    clients      PEM file with the authorities of callers' certificates, who must then show one; None: they need not

    Raises `BadSettings` for a file that cannot be used.
    """
    try:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.load_cert_chain(certificate, key)
        if clients is not None:
            made.load_verify_locations(clients)
            made.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError):
        raise BadSettings(
            "A certificate or key for TLS cannot be used.", "They are PEM files; the key has no password."
        ) from None
    return made
