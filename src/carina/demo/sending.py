"""One site's scanners and archives: hand its images over by the door of its node. Each runs in a process of its own."""

from __future__ import annotations

import os
import secrets
import signal
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from multiprocessing.queues import Queue
from pathlib import Path

import httpx2
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config
from pynetdicom.association import Association

from carina.app.http import http_client
from carina.app.processes import end_with_parent
from carina.app.site import open_node
from carina.demo.folder import Place
from carina.errors import CarinaError, InvalidInstance, Unreachable
from carina.model.instance import Source
from carina.node.ingest import receive
from carina.sample.cohort import patients, studies
from carina.sample.sites import site
from carina.sample.writing import stream

Batch = list[tuple[str, bytes]]
SENDER_AE = "DEMOSCANNER"
TOKEN_NAME = "demo-archive"  # noqa: S105 - its name, not its secret
_BATCH = 12
_PATIENCE = 60.0  # s that a sender waits for a node that is away
_TRY_AGAIN = (0xA700, 0x0110)  # out of resources, processing failure (PS3.7 annex C)


@dataclass(frozen=True)
class Report:
    """What a sender says of itself: how many it means to send, has sent, or why it stopped."""

    node: str
    what: str  # expected, sent, done, failed
    count: int = 0
    why: str = ""


def send(place: Place, part: tuple[int, int], seed: int, data: str, queue: Queue[Report]) -> None:
    """Send part (number, of how many) by the node's door; `data`: a folder of one's own files instead of the sample."""
    number, count = part
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(lambda: os._exit(1), parent=os.getppid())
    os.nice(5)  # what receives comes before what sends
    try:
        own = _own_files(Path(data), number, count) if data else []
        queue.put(Report(place.key, "expected", len(own) if data else _expected(place.key, seed, number, count)))
        batches = _read(own) if data else _sample(place.key, seed, number, count)
        sent = 0
        for size in DOORS[place.door](place, batches):
            sent += size
            queue.put(Report(place.key, "sent", sent))
        queue.put(Report(place.key, "done", sent))
    except CarinaError as error:
        queue.put(Report(place.key, "failed", why=f"{error.message} {error.hint}"))


def _expected(key: str, seed: int, number: int, count: int) -> int:
    made = sum(study.instances for person in patients(site(key), seed) for study in studies(person))
    return made + len(_carried(number, count))


def _sample(key: str, seed: int, number: int, count: int) -> Iterator[Batch]:
    """The made-up cohort study by study; after twelve patients the real files that pydicom carries."""
    for place, person in enumerate(patients(site(key), seed)):
        for study in studies(person):
            yield [(f"{study.index}-{index:03}.dcm", item) for index, item in enumerate(stream(study))]
        if place == 11:
            yield from _read(_carried(number, count))


def _carried(number: int, count: int) -> list[Path]:
    """This site's part of the files inside the package pydicom."""
    with resources.as_file(resources.files("pydicom") / "data" / "test_files") as folder:
        return [path for path in sorted(folder.glob("*.dcm")) if zlib.crc32(path.name.encode()) % count == number]


def _own_files(folder: Path, number: int, count: int) -> list[Path]:
    """This site's part of one's own files: a folder's files stay together, so that a patient does."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if zlib.crc32(str(path.parent.relative_to(folder)).encode()) % count == number]


def _read(files: Sequence[Path]) -> Iterator[Batch]:
    for start in range(0, len(files), _BATCH):
        yield [(path.name, path.read_bytes()) for path in files[start : start + _BATCH]]


def _by_dimse(place: Place, batches: Iterator[Batch]) -> Iterator[int]:
    """C-STORE, one association for each batch, as a scanner does. The bytes go as they are, from a file."""
    _config.STORE_SEND_CHUNKED_DATASET = True
    with tempfile.TemporaryDirectory(prefix="carina-scanner-") as aside:
        for batch in batches:
            kinds: dict[Path, tuple[str, str]] = {}
            for name, data in batch:
                path = Path(aside) / name
                path.write_bytes(data)
                kind = _kind(path)
                if kind is not None:
                    kinds[path] = kind
            _insist(partial(_store_all, place, kinds))
            yield len(batch)


def _store_all(place: Place, kinds: dict[Path, tuple[str, str]]) -> None:
    """Send and forget each file; what is left in `kinds` after `Unreachable` has not been acknowledged."""
    association = _associate(place, set(kinds.values()))
    try:
        for path in list(kinds):
            status = association.send_c_store(path)
            if not status or status.Status in _TRY_AGAIN:
                raise Unreachable("The node's DICOM listener went away amid a transfer.")
            del kinds[path]
            path.unlink()
    finally:
        association.release() if association.is_established else association.abort()


def _insist(action: Callable[[], None]) -> None:
    """Do it, again and again for a minute while the node is away, as a scanner's queue does."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return action()
        except Unreachable:
            if time.monotonic() > end:
                raise
            time.sleep(1)


def _kind(path: Path) -> tuple[str, str] | None:
    """SOP class and transfer syntax of a Part 10 file; None for what DICOM's network cannot carry."""
    try:
        meta = read_file_meta_info(path)
    except InvalidDicomError:
        return None
    needed = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
    if not all(meta.get(keyword) for keyword in needed):
        return None
    return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)


def _associate(place: Place, kinds: set[tuple[str, str]]) -> Association:
    sender = AE(SENDER_AE)
    for sop_class, syntax in sorted(kinds)[:128]:
        sender.add_requested_context(sop_class, syntax)
    association = sender.associate("127.0.0.1", place.ports["dimse"], ae_title="CARINA")
    if not association.is_established:
        raise Unreachable("The node's DICOM listener does not accept an association.")
    return association


def _by_stow(place: Place, batches: Iterator[Batch]) -> Iterator[int]:
    """STOW-RS (PS3.18 section 10.5), one request for each batch, as an archive does."""
    boundary = secrets.token_hex(16)
    headers = {
        "Authorization": f"Bearer {place.token}",
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
    }
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    with http_client(place.url, timeout=60) as client:
        for batch in batches:
            body = b"".join(b"".join((head, data, b"\r\n")) for _, data in batch) + f"--{boundary}--\r\n".encode()
            _insist(partial(_post, client, f"{place.url}/dicom-web/studies", body, headers))
            yield len(batch)


def _post(client: httpx2.Client, url: str, body: bytes, headers: dict[str, str]) -> None:
    try:
        answer = client.post(url, content=body, headers=headers)
    except httpx2.HTTPError:
        raise Unreachable("The node's DICOMweb listener went away amid a transfer.") from None
    if answer.status_code == 503:
        raise Unreachable("The node has no room at the moment.")
    if answer.status_code not in (200, 202, 409):
        raise InvalidInstance(f"The node answered STOW-RS with {answer.status_code}.")


def _from_folder(place: Place, batches: Iterator[Batch]) -> Iterator[int]:
    """Write into the folder that the node knows as a source, then do what `carina node ingest` does."""
    outbox = Path(place.folder).parent / f"{place.key}-outbox"
    outbox.mkdir(exist_ok=True, mode=0o700)
    with open_node(Path(place.folder)) as node:
        for batch in batches:
            for name, data in batch:
                path = outbox / name
                path.write_bytes(data)
                receive(node, path.read_bytes(), Source("folder", str(outbox)))
                path.unlink()
            yield len(batch)


DOORS: dict[str, Callable[[Place, Iterator[Batch]], Iterator[int]]] = {
    "dimse": _by_dimse,
    "stow": _by_stow,
    "folder": _from_folder,
}
