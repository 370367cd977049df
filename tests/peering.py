"""DICOM applications beside a node, for tests: a listener that keeps what it is sent, and certificates."""

from __future__ import annotations

import io
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt

from carina.interfaces.dimse.commitment import COMMITMENT

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
PLAIN = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


@dataclass
class Station:
    """What has come to a workstation: data sets, their transfer syntaxes, who sent them and had them sent, and reports
    with their kinds."""

    port: int = 0
    files: list[Dataset] = field(default_factory=list)
    syntaxes: list[str] = field(default_factory=list)
    reports: list[tuple[int, Dataset]] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    originators: list[str | None] = field(default_factory=list)
    told: threading.Event = field(default_factory=threading.Event)


@contextmanager
def station(
    title: str = "WORKSTATION",
    *,
    syntaxes: tuple[str, ...] = PLAIN,
    answer: Callable[[int], int] = lambda _: 0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Station]:
    """A workstation that takes CT; `answer`: the status of its n-th C-STORE response, from 1."""
    kept = Station()

    def store(event: Any) -> int:
        status = answer(len(kept.files) + 1)
        kept.files.append(pydicom.dcmread(io.BytesIO(event.encoded_dataset())))
        kept.syntaxes.append(event.context.transfer_syntax)
        kept.originators.append(event.request.MoveOriginatorApplicationEntityTitle)
        kept.callers.append(str(event.assoc.requestor.ae_title).strip())
        return status

    def hear(event: Any) -> tuple[int, None]:
        information = event.event_information
        information.decode()
        kept.reports.append((event.event_type, information))
        kept.told.set()
        return 0, None

    entity = AE(ae_title=title)
    entity.add_supported_context(CT_CLASS, list(syntaxes))
    entity.add_supported_context(COMMITMENT, scu_role=False, scp_role=True)
    handlers: list[Any] = [(evt.EVT_C_STORE, store), (evt.EVT_N_EVENT_REPORT, hear)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls)
    assert server is not None
    kept.port = server.server_address[1]
    try:
        yield kept
    finally:
        server.shutdown()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


@dataclass(frozen=True)
class Certificates:
    """Of 127.0.0.1, which is its own authority."""

    certificate: Path
    key: Path

    def listening(self) -> ssl.SSLContext:
        """Of a listener that asks for a certificate, too."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.certificate, self.key)
        made.load_verify_locations(self.certificate)
        made.verify_mode = ssl.CERT_REQUIRED
        return made


def certificates(folder: Path) -> Certificates:
    """New ones, by `openssl`."""
    made = Certificates(folder / "own.pem", folder / "own.key")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-keyout", str(made.key), "-out", str(made.certificate), "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return made
