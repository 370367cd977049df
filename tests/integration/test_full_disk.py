"""A disk that is full: the sender is told to come again, and nothing acknowledged is lost."""

from __future__ import annotations

import http.client
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage
from pynetdicom import AE
from tests.archive import SENDER, message, served
from tests.integration.test_kills import check, make_site, uid_of
from tests.support import ct

from carina.interfaces.dimse.server import start_dimse
from carina.node import worker
from carina.node.ingest import RESERVE
from carina.node.site import Node
from carina.storage import arrivals

OUT_OF_RESOURCES = 0xA700
SIZE = RESERVE + 32 * 2**20
"""Bytes of the disk."""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own, which only root may mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    done = subprocess.run(command, check=False, capture_output=True)
    if done.returncode:
        pytest.skip("a disk of its own can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def full(disk: Path, _node: Node) -> Iterator[None]:
    """Nothing may be written: a file takes all the room there is."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        try:
            while True:
                os.write(file.fileno(), b"x" * 65536)
        except OSError:
            pass
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def nearly_full(disk: Path, _node: Node) -> Iterator[None]:
    """There is room for the records, but none for images beside the reserve."""
    ballast = disk / "ballast"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast.write_bytes(bytes(free - RESERVE + 2**20))
    try:
        yield
    finally:
        ballast.unlink()


def store(port: int, data: bytes) -> int:
    """The status of a C-STORE."""
    entity = AE("SCANNER")
    entity.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    association = entity.associate("127.0.0.1", port)
    assert association.is_established
    try:
        return int(association.send_c_store(dcmread(BytesIO(data))).Status)
    finally:
        association.release()


def post(url: str, data: bytes) -> tuple[int, str | None]:
    """Status and Retry-After of a STOW-RS request."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    headers = {
        "Authorization": f"Bearer {SENDER}",
        "Content-Type": 'multipart/related; type="application/dicom"; boundary=edge',
    }
    try:
        connection.request("POST", "/dicom-web/studies", message([data]), headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Retry-After")
    finally:
        connection.close()


@contextmanager
def working(node: Node) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(node, stop, "worker-1"))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)


@pytest.mark.parametrize("no_room", [full, nearly_full])
def test_senders_come_again_and_workers_wait_for_room(
    disk: Path, no_room: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PAUSE", 0.2)
    node = make_site(disk / "node")
    files = [ct("MRN-1", number=number) for number in range(1, 9)]
    dimse = start_dimse(node, "127.0.0.1", 0, "CARINA")
    try:
        with served(node) as url:
            assert store(dimse.port, files[0]) == 0 and post(url, files[1])[0] == 200
            with no_room(disk, node), working(node):  # type: ignore[operator]
                for data in files[2:4]:
                    assert store(dimse.port, data) == OUT_OF_RESOURCES
                    status, again = post(url, data)
                    assert status == 503 and again is not None and int(again) > 0
                time.sleep(1)
            assert store(dimse.port, files[4]) == 0 and post(url, files[5])[0] == 200
            with working(node):
                end = time.monotonic() + 30
                while arrivals.waiting(node.engine, 99) and time.monotonic() < end:
                    time.sleep(0.05)
            check(node, [uid_of(files[number]) for number in (0, 1, 4, 5)])
    finally:
        dimse.stop()
        node.engine.dispose()
