"""What was received, opened where it rests, of any size: bytes are decrypted as they are read."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from carina.errors import NotFound
from carina.node.parcel import Label, read_label
from carina.node.site import Node
from carina.storage.sealed import SealedReader


class Received(io.RawIOBase):
    """The bytes received, without the line before them; `seek` goes anywhere."""

    def __init__(self, file: SealedReader, start: int) -> None:
        super().__init__()
        self._file = file
        self._start = start
        self.size = file.size - start
        file.seek(start)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, as in any file."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.size}[whence]
        return self._file.seek(self._start + max(0, start + offset)) - self._start

    def readinto(self, buffer: object, /) -> int:
        """Read up to the end of a sealed segment."""
        return self._file.readinto(buffer)  # type: ignore[arg-type]


@contextmanager
def opened_parcel(node: Node, arrival_id: str) -> Iterator[tuple[Label, BinaryIO, int]]:
    """What its line says, its bytes as a stream, and how many: from the spool, or quarantine when it is tried again.

    Raises `NotFound`, `WrongKey` and `InvalidInstance`.
    """
    try:
        file = node.spool.open(arrival_id)
    except NotFound:
        file = node.quarantine.open(arrival_id)
    with file:
        label, start = read_label(file)  # type: ignore[arg-type]
        received = Received(file, start)
        yield label, io.BufferedReader(received, 1 << 16), received.size
