"""The client over TLS, by a name under `.localhost`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import carina
from carina.interfaces.listener import bind
from carina.model.clock import now


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for hub.localhost, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hub.localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - timedelta(hours=1))
        .not_valid_after(now() + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hub.localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *plain)
    )
    return path


@pytest.fixture
def port(certificate: Path) -> Iterator[int]:
    async def info(request: Request) -> Response:
        return JSONResponse({"type": {"artifact": "carina-hub"}, "host": request.headers["host"]})

    app = Starlette(routes=[Route("/api", info)])
    running = uvicorn.Server(uvicorn.Config(app, ssl_certfile=certificate, ws="none", lifespan="off", log_config=None))
    socket = bind("127.0.0.1", 0, "test")
    thread = threading.Thread(target=lambda: asyncio.run(running.serve([socket])))
    thread.start()
    yield socket.getsockname()[1]
    running.should_exit = True
    thread.join(10)


def test_the_certificate_is_checked_for_the_name_and_not_for_the_address(
    port: int, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with carina.connect(f"https://hub.localhost:{port}") as client:
        assert client.info()["host"] == f"hub.localhost:{port}"
    with pytest.raises(carina.Unreachable, match="certificate"):
        carina.connect(f"https://other.localhost:{port}")


def test_a_certificate_that_nobody_vouches_for_is_refused(port: int) -> None:
    with pytest.raises(carina.Unreachable, match="certificate"):
        carina.connect(f"https://hub.localhost:{port}")
