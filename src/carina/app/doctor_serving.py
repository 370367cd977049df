"""What ails a node's doors: its server and its ports, the addresses others use, the certificate for DICOM."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit

import httpx2
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from carina.app import surroundings
from carina.app.http import http_client
from carina.app.processes import LOCK
from carina.interfaces.client.connection import is_loopback
from carina.model.clock import now
from carina.node.part import Part
from carina.settings import NodeSettings

SOON = timedelta(days=30)  # before a certificate ends


def is_served(folder: Path) -> bool:
    """Whether a server holds the folder."""
    lock = folder / LOCK
    if not lock.exists():
        return False
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def listeners(folder: Path, settings: NodeSettings) -> Iterator[Part]:
    """Whether the server runs, is ready and listens; where none runs, whether its ports are free."""
    served = is_served(folder)
    if served:
        yield _ready(settings)
    else:
        hint = f"Start it: carina node serve {quote(str(folder))}"
        yield Part("server", "warn", "No server runs on this folder.", hint)
    inside, outside, dimse = settings.inside, settings.outside, settings.dimse
    yield surroundings.port("the console", "[inside] port", inside.host, inside.port, served=served)
    yield surroundings.port("the outside listener", "[outside] port", outside.host, outside.port, served=served)
    if dimse is not None:
        yield surroundings.port("the DICOM network", "[dimse] port", dimse.host, dimse.port, served=served)
    ports = [one.port for one in (inside, outside, dimse) if one is not None and one.port]
    if len(set(ports)) < len(ports):
        yield Part("ports", "bad", "Two listeners of node.toml have the same port.", "Give each its own.")


def _ready(settings: NodeSettings) -> Part:
    """What the server itself says at `/health/ready`."""
    if not settings.inside.port:
        return Part("server", "good", "A server runs.")
    host = "127.0.0.1" if settings.inside.host in ("0.0.0.0", "::") else settings.inside.host  # noqa: S104
    url = f"http://{host}:{settings.inside.port}/health/ready"
    try:
        with http_client(url, timeout=10) as client:
            answer = client.get(url, headers={"Accept": "application/json"})
            said = answer.json()
    except (httpx2.HTTPError, ValueError):
        hint = "Look into its log; if it does not end with SIGTERM, kill it and start it again."
        return Part("server", "bad", "A server runs, and does not answer.", hint)
    if answer.status_code == 200:
        return Part("server", "good", "It runs and is ready; so are its workers.")
    detail = str(said.get("detail", "")) if isinstance(said, dict) else ""
    return Part("server", "bad", f"It runs and is not ready. {detail}".strip(), "Look into its log.")


def addresses(settings: NodeSettings) -> Iterator[Part]:
    """Whether listeners, the addresses of browsers and the proxies between them belong together."""
    found = [*_address("console_url", settings.console_url, settings), *_off_loopback(settings)]
    found += _address("public_url", settings.public_url, settings)
    yield from found or [Part("addresses", "good", "Listeners and addresses belong together.")]


def _off_loopback(settings: NodeSettings) -> Iterator[Part]:
    for name, listen in (("inside", settings.inside), ("outside", settings.outside)):
        if not is_loopback(listen.host) and not settings.trusted_proxies:
            hint = "Name the TLS proxy before it in trusted_proxies, or listen on 127.0.0.1."
            yield Part("addresses", "bad", f"[{name}] listens off this machine, and no proxy is named.", hint)


def _address(name: str, url: str | None, settings: NodeSettings) -> Iterator[Part]:
    if url is None:
        return
    host = urlsplit(url).hostname or ""
    if url.startswith("http://") and not is_loopback(host):
        hint = "Put a TLS proxy before the listener, and write https://."
        yield Part("addresses", "bad", f"{name} is without TLS: browsers send no sign-in there.", hint)
    if url.startswith("https://") and not settings.trusted_proxies:
        hint = "Write the proxy's address into trusted_proxies; else each request looks as if it came without TLS."
        yield Part("addresses", "bad", f"{name} has https, and no proxy is named that ends TLS.", hint)
    if not surroundings.resolves(host):
        hint = "Add it to the DNS, or correct it."
        yield Part("addresses", "warn", f"The name in {name} ({host}) cannot be resolved here.", hint)


def certificates(folder: Path, settings: NodeSettings) -> Iterator[Part]:
    """The certificate of the DICOM listener: there, of its key, and good for a while."""
    tls = settings.dimse.tls if settings.dimse is not None else None
    if tls is None:
        return
    try:
        made = x509.load_pem_x509_certificates((folder / tls.certificate).read_bytes())[0]
        key = load_pem_private_key((folder / tls.key).read_bytes(), None)
        if tls.clients is not None:
            x509.load_pem_x509_certificates((folder / tls.clients).read_bytes())
    except (OSError, ValueError, TypeError, IndexError):
        hint = "They are PEM files that this user may read; the key has no password. See [dimse.tls]."
        yield Part("certificate", "bad", "A certificate or key of the DICOM listener cannot be read.", hint)
        return
    if _spki(made.public_key()) != _spki(key.public_key()):
        hint = "Put the key of this certificate in its place, or have a new one made."
        yield Part("certificate", "bad", "The certificate of the DICOM listener is of another key.", hint)
        return
    left = made.not_valid_after_utc - now()
    told = f"{made.not_valid_after_utc:%Y-%m-%d}"
    hint = "Have a new one made, put it in place and start the node again."
    if left < timedelta(0):
        yield Part("certificate", "bad", f"The certificate of the DICOM listener ended on {told}.", hint)
    elif left < SOON:
        yield Part("certificate", "warn", f"The certificate of the DICOM listener ends on {told}.", hint)
    else:
        yield Part("certificate", "good", f"That of the DICOM listener is good until {told}.")


def _spki(key: object) -> bytes:
    made: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    return made
