"""The broker's CA and server certificate. Nodes trust this CA alone; its fingerprint is in each invitation."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from carina.errors import BadSettings
from carina.model.clock import now

_CA_DAYS = 3650
_SERVER_DAYS = 397
_RENEW_DAYS = 60


def certify(folder: Path, names: Sequence[str]) -> str:
    """The CA's certificate (PEM), kept in the folder as `ca.pem` and `ca.key` (0600).

    Also there: `server.pem` and `server.key` (0600) for these names, made anew when the names differ or fewer than 60
    days are left. `BadSettings` when the CA's files cannot be read.
    """
    if not (folder / "ca.pem").exists():
        _make_ca(folder)
    try:
        ca = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        key = load_pem_private_key((folder / "ca.key").read_bytes(), None)
    except (OSError, ValueError) as error:
        raise BadSettings(
            "The broker's CA cannot be read.", "Restore the hub's folder 'broker' from a back-up."
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise BadSettings("The broker's CA has a key of another kind.", "Restore the folder 'broker' from a back-up.")
    wanted = [_general(name) for name in dict.fromkeys(names)]
    if not _still_good(folder / "server.pem", wanted):
        _make_server(folder, ca, key, wanted)
    return ca.public_bytes(Encoding.PEM).decode()


def _make_ca(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Carina broker CA")])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _begun(name, name, key.public_key(), _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    _write_key(folder / "ca.key", key)
    (folder / "ca.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


def _make_server(
    folder: Path, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Carina broker")])
    certificate = (
        _begun(name, ca.subject, key.public_key(), _SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
        .sign(ca_key, SHA256())
    )
    _write_key(folder / "server.key", key)
    (folder / "server.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(hours=1))
        .not_valid_after(now() + timedelta(days=days))
    )


def _still_good(file: Path, names: list[x509.GeneralName]) -> bool:
    if not file.exists() or not file.with_suffix(".key").exists():
        return False
    certificate = x509.load_pem_x509_certificate(file.read_bytes())
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return list(held) == names and certificate.not_valid_after_utc - now() > timedelta(days=_RENEW_DAYS)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        return x509.DNSName(name)


def _write_key(file: Path, key: ec.EllipticCurvePrivateKey) -> None:
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(text)
