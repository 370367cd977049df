"""Processes that decode and draw frames, so that the server's own goes on with other requests meanwhile.

They know nothing of the archive: each is given the header and the stored bytes of one frame, and returns a picture.
The decoders' input is foreign, so the kernel refuses them sockets.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

from pydicom import Dataset

from carina.dicom.enclosure import close_network
from carina.dicom.rendering import Drawing
from carina.errors import Busy
from carina.node.pictures import draw_here

log = logging.getLogger(__name__)

LARGEST = 64 << 20  # bytes of a frame without compression that is sent; a larger one is drawn in the server's process
WAITING = 64  # frames that are sent or drawn at once; others are refused until there is room
NICE = 5


class Drawers:
    """So many processes; one that dies is replaced, and what it was drawing is drawn once more."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._room = threading.BoundedSemaphore(WAITING)
        self._lock = threading.Lock()
        self._pool = self._started()

    def draw(self, header: Dataset, stored: bytes, number: int, how: Drawing) -> bytes:
        """`node.pictures.Draw`. Raises `Busy` when too many wait, or processes die again and again."""
        if _size(header) > LARGEST or len(stored) > LARGEST:
            return draw_here(header, stored, number, how)
        if not self._room.acquire(blocking=False):
            raise _busy()
        slim = one_frame(header, number)
        try:
            for _ in range(2):
                pool = self._pool
                try:
                    return pool.submit(draw_here, slim, stored, 1, how).result()
                except BrokenProcessPool:
                    log.error("drawer-died")
                    self._replace(pool)
            raise _busy()
        finally:
            self._room.release()

    def close(self) -> None:
        """End them."""
        with self._lock:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _replace(self, broken: ProcessPoolExecutor) -> None:
        with self._lock:
            if self._pool is broken:
                broken.shutdown(wait=False)
                self._pool = self._started()

    def _started(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["carina.node.pictures"])
        pool = ProcessPoolExecutor(self._count, context, initializer=_begin)
        pool.submit(int)  # the first starts now, and not with the first picture
        return pool


def one_frame(header: Dataset, number: int) -> Dataset:
    """What drawing needs of a header, as if frame `number` were the only one."""
    slim = header.group_dataset(0x0028)
    slim.file_meta = header.file_meta
    for keyword in ("SOPClassUID", "SharedFunctionalGroupsSequence"):
        if keyword in header:
            slim[keyword] = header[keyword]
    own = header.get("PerFrameFunctionalGroupsSequence")
    if own is not None and number <= len(own):
        slim.PerFrameFunctionalGroupsSequence = [own[number - 1]]
    slim.NumberOfFrames = 1
    return slim


def _begin() -> None:
    """In each process: no network, the server decides when it ends, and other work comes first."""
    close_network()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICE)
    threading.Thread(target=_end_with_server, daemon=True).start()


def _end_with_server() -> None:
    server = multiprocessing.parent_process()
    if server is not None:
        wait([server.sentinel])
        os._exit(0)


def _size(header: Dataset) -> int:
    """Bytes of a frame without compression; more than any limit where the header does not say."""
    try:
        sides = int(header.Rows) * int(header.Columns) * int(header.get("SamplesPerPixel") or 1)
        return sides * int(header.get("BitsAllocated") or 16) // 8
    except (AttributeError, TypeError, ValueError):
        return LARGEST + 1


def _busy() -> Busy:
    return Busy("The node is drawing too many pictures at the moment.", "Try again in a few seconds.")
