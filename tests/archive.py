"""An archive with something in it, and its DICOMweb service, for tests of the doors and of foreign clients."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from pydicom import dcmread
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.stored import clean
from tests.support import LUNG, SCANNER, make_node

from carina.dicom.describe import described
from carina.interfaces import listener
from carina.interfaces.api.identity import Identity, MemoryAccounts
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.security import Rules, middleware
from carina.interfaces.api.visitors import visitors
from carina.interfaces.dicomweb.opening import by_staff
from carina.interfaces.dicomweb.outside import dataset_dicomweb_routes
from carina.interfaces.dicomweb.routes import dicomweb_routes, store_routes
from carina.model.ids import Uid
from carina.model.instance import Source
from carina.model.principal import Principal
from carina.node import worker
from carina.node.ingest import receive
from carina.node.preparing import _entry
from carina.node.site import Node
from carina.storage.indexing import add_all

PACS = Source("token", "pacs")
SENDER, READER, STRANGER = "sender-secret", "reader-secret", "stranger-secret"
TOKENS = {
    SENDER: Principal("token:pacs", "", frozenset({"sender"})),
    READER: Principal("dora", "", frozenset({"data-manager"})),
    STRANGER: Principal("rosa", "", frozenset({"researcher"})),
}
"""Whom each secret stands for, at whichever node is asked."""


@contextmanager
def archive(folder: Path, files: Iterable[bytes] = ()) -> Iterator[Node]:
    """A node to which SCANNER and the token `pacs` send for project `lung`, and which has taken `files` in."""
    node = make_node(folder, project_of={SCANNER: LUNG, PACS: LUNG})
    try:
        take_in(node, files)
        yield node
    finally:
        node.engine.dispose()


def take_in(node: Node, files: Iterable[bytes] = ()) -> list[str]:
    """Receive the files, and let a worker finish all that waits; the states it ended in."""
    for data in files:
        receive(node, data, SCANNER)
    states: list[str] = []
    while batch := worker.work(node, "test"):
        states += batch
    return states


def application(node: Node, url: str = "http://127.0.0.1") -> Starlette:
    """The node's DICOMweb service at `/dicom-web`, behind what every request passes."""
    tokens = {secret: replace(holder, issuer=node.id) for secret, holder in TOKENS.items()}
    identity = Identity(MemoryAccounts({}, tokens=tokens), node.id, secure=False)
    reading = dicomweb_routes(node, by_staff(node, identity), url)
    rules = Rules(url, body_limits=(("/dicom-web", None),))
    return Starlette(
        routes=[Mount("/dicom-web", routes=[*store_routes(node, identity.identify), *reading])],
        middleware=middleware(rules, identity),
        exception_handlers=exception_handlers(),  # type: ignore[arg-type]
    )


def outside_application(node: Node, url: str = "http://127.0.0.1") -> Starlette:
    """The node's DICOMweb services of its datasets, for visits, behind what every request passes."""
    identity = visitors(node, secure=False)
    return Starlette(
        routes=dataset_dicomweb_routes(node, identity.cookie, url),
        middleware=middleware(Rules(url), identity),
        exception_handlers=exception_handlers(),  # type: ignore[arg-type]
    )


@contextmanager
def served(node: Node, made: Callable[[Node, str], Starlette] = application) -> Iterator[str]:
    """The service on a port of this machine, by the server that nodes use; its address."""
    bound = listener.bind("127.0.0.1", 0, "test")
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    server = listener.server(made(node, url))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])), daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()


def message(parts: Iterable[bytes], boundary: str = "edge", media: str = "application/dicom") -> bytes:
    """A body of several parts, as a sender writes it."""
    pieces = [f"--{boundary}\r\nContent-Type: {media}\r\n\r\n".encode() + part + b"\r\n" for part in parts]
    return b"".join(pieces) + f"--{boundary}--\r\n".encode()


def keep(node: Node, data: bytes) -> tuple[str, str, str]:
    """Put a file as it is into the archive, as if it were de-identified: what ingestion may refuse. Its UIDs: of the
    study, the series, its own.
    """
    header = dcmread(BytesIO(data), stop_before_pixels=True)
    uids = (str(header.StudyInstanceUID), str(header.SeriesInstanceUID), str(header.SOPInstanceUID))
    plain = clean(patient=str(header.PatientID), modality=str(header.Modality), source=uids[2], data=data)
    kept = replace(
        plain,
        study_uid=Uid(uids[0]),
        series_uid=Uid(uids[1]),
        uid=Uid(uids[2]),
        sop_class_uid=str(header.SOPClassUID),
        transfer_syntax_uid=str(header.file_meta.TransferSyntaxUID),
    )
    content = node.instances.put(kept)
    entry = _entry(kept, content, len(data), described(data), None)
    with node.engine.begin() as connection:
        add_all(connection, [entry])
    return uids
