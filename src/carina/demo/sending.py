"""One site's scanners and archives: hand its images over by the door of its node. Each runs in a process of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.queues import Queue
from pathlib import Path
from types import FrameType

import httpx2
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE, _config
from pynetdicom.association import Association

from carina.app.http import http_client
from carina.app.processes import end_with_parent
from carina.app.site import open_node
from carina.demo.folder import Place
from carina.demo.outgoing import Item, Part, batches, expected
from carina.errors import CarinaError, InvalidInstance, Unreachable
from carina.model.instance import Source
from carina.node.ingest import receive
from carina.node.site import Node

SENDER_AE = "DEMOSCANNER"
TOKEN_NAME = "demo-archive"  # noqa: S105 - its name, not its secret
_PATIENCE = 90.0  # s that a sender waits for a node that is away
_TRY_AGAIN = (0xA700, 0x0110)  # out of resources, processing failure (PS3.7 annex C)


@dataclass(frozen=True)
class Report:
    """What a sender says of itself: how many it means to send, has sent, had to leave out, or why it stopped."""

    node: str
    what: str  # expected, sent, left-out, done, failed
    count: int = 0
    why: str = ""


def send(place: Place, part: Part, queue: Queue[Report]) -> None:
    """Send this site's part by the node's door; what it writes aside is gone when it ends, however politely."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    end_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM), parent=os.getppid())
    os.nice(5)  # what receives comes before what sends
    aside = aside_of(place)
    shutil.rmtree(aside, ignore_errors=True)  # what a sender that was killed has left
    aside.mkdir(mode=0o700)
    try:
        queue.put(Report(place.key, "expected", expected(place.key, part)))
        sent = left_out = 0
        with _door(place, aside) as deliver:
            for batch in batches(place.key, part):
                gone = deliver(batch)
                sent, left_out = sent + gone, left_out + len(batch) - gone
                queue.put(Report(place.key, "sent", sent))
        queue.put(Report(place.key, "left-out", left_out))
        queue.put(Report(place.key, "done", sent))
    except CarinaError as error:
        queue.put(Report(place.key, "failed", why=f"{error.message} {error.hint}"))
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(1)  # unwinds


def aside_of(place: Place) -> Path:
    """The folder that a site's files pass through; for the node that takes files from a folder, its source."""
    return Path(place.folder).parent / f"{place.key}-outbox"


@contextlib.contextmanager
def _on_disk(item: Item, aside: Path) -> Iterator[Path]:
    """The item as a file: where it lies, or written aside for as long as it is needed."""
    if item.path is not None:
        yield item.path
        return
    path = aside / item.name
    path.write_bytes(item.data)
    try:
        yield path
    finally:
        path.unlink()


def _by_dimse(place: Place, batch: list[Item], aside: Path) -> int:
    """C-STORE, one association for each batch, as a scanner does; how many. The bytes go as they are, from a file."""
    _config.STORE_SEND_CHUNKED_DATASET = True
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_on_disk(item, aside)) for item in batch]
        kinds = {path: kind for path in files if (kind := _kind(path)) is not None}
        count = len(kinds)
        if kinds:
            _insist(partial(_store_all, place, kinds))
    return count


def _store_all(place: Place, kinds: dict[Path, tuple[str, str]]) -> None:
    """Send each file; what is left in `kinds` after `Unreachable` has not been acknowledged."""
    association = _associate(place, set(kinds.values()))
    try:
        with _listening_alone(association):
            for path in list(kinds):
                status = association.send_c_store(path)
                if not status or status.Status in _TRY_AGAIN:
                    raise Unreachable("The node's DICOM listener went away amid a transfer.")
                del kinds[path]
    finally:
        association.release() if association.is_established else association.abort()


@contextlib.contextmanager
def _listening_alone(association: Association) -> Iterator[None]:
    """Keep the association's own thread asleep, so that it cannot take an answer that `send_c_store` waits for.

    pynetdicom 3.0 pauses that thread before each message, but trusts a flag that is true for a moment before the thread
    really waits; on a busy machine it then swallows an answer now and then, and the sender waits for nothing.
    """
    checkpoint = association._reactor_checkpoint
    checkpoint.clear()
    while not checkpoint._cond._waiters and association.is_established:  # type: ignore[attr-defined]
        time.sleep(0.001)
    association._reactor_checkpoint = threading.Event()  # what `send_c_store` sets and clears from now on
    try:
        yield
    finally:
        association._reactor_checkpoint = checkpoint
        checkpoint.set()


def _insist(action: Callable[[], None]) -> None:
    """Do it, again and again while the node is away, as a scanner's queue does."""
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


def _by_stow(place: Place, batch: list[Item]) -> int:
    """STOW-RS (PS3.18 section 10.5), one request for each batch, as an archive does; how many."""
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(b"".join((head, item.data, b"\r\n")) for item in batch) + f"--{boundary}--\r\n".encode()
    _insist(partial(_post, place, boundary, body))
    return len(batch)


def _post(place: Place, boundary: str, body: bytes) -> None:
    headers = {
        "Authorization": f"Bearer {place.token}",
        "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
        "Accept": "application/dicom+json",
    }
    try:
        with http_client(place.url, timeout=60) as client:
            answer = client.post(f"{place.url}/dicom-web/studies", content=body, headers=headers)
    except httpx2.HTTPError:
        raise Unreachable("The node's DICOMweb listener went away amid a transfer.") from None
    if answer.status_code == 503:
        raise Unreachable("The node has no room at the moment.")
    if answer.status_code not in (200, 202, 409):
        raise InvalidInstance(f"The node answered STOW-RS with {answer.status_code}.")


def _from_folder(node: Node, batch: list[Item], aside: Path) -> int:
    """Files in the folder that the node knows as a source, and what `carina node ingest` does with them; how many."""
    for item in batch:
        with _on_disk(item, aside) as path:
            receive(node, path.read_bytes(), Source("folder", str(aside)))
    return len(batch)


@contextlib.contextmanager
def _door(place: Place, aside: Path) -> Iterator[Callable[[list[Item]], int]]:
    """How a batch comes to this node: a function that delivers it and says how many were delivered."""
    if place.door == "folder":
        with open_node(Path(place.folder)) as node:
            yield lambda batch: _from_folder(node, batch, aside)
    elif place.door == "dimse":
        yield lambda batch: _by_dimse(place, batch, aside)
    else:
        yield lambda batch: _by_stow(place, batch)
