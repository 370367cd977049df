"""A stretch of a file as a stream of its own, so that frames of a large file are read one at a time."""

from __future__ import annotations

import os
from io import BufferedIOBase
from pathlib import Path


class Stretch(BufferedIOBase):
    """The bytes of a file from `start` to `end`, read when asked for. pydicom takes it for Pixel Data's value."""

    def __init__(self, path: Path, start: int, end: int) -> None:
        self._file = path.open("rb", buffering=0)
        self._start, self._size = start, end - start
        self._place = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where it stands, from the start of the stretch."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; never beyond the ends."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = min(max(0, origin + offset), self._size)
        return self._place

    def read(self, size: int | None = -1, /) -> bytes:
        """So many bytes, fewer at the end."""
        left = self._size - self._place
        wanted = left if size is None or size < 0 else min(size, left)
        data = os.pread(self._file.fileno(), wanted, self._start + self._place)
        self._place += len(data)
        return data

    def close(self) -> None:
        """Close the file, too."""
        self._file.close()
        super().close()
