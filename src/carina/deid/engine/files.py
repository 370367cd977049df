"""Files in and out. Of large ones the head is read and the pixels are copied by the kernel: memory stays small."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path
from typing import BinaryIO

from carina.deid.engine.encode import Written
from carina.deid.engine.walker import Pieces, pieces, without_pixels
from carina.dicom.parse import looks_like_dicom
from carina.errors import NotDicom

LARGE = 1 << 24
"""Bytes; smaller files are read as a whole."""

_CHUNKS = (1 << 20, 1 << 22, 1 << 24, 1 << 26)
_LARGEST_TAIL = 1 << 24
_ENOUGH = 132  # bytes by which a Part 10 file is known


@dataclass(frozen=True)
class Opened:
    """A file that was read once.

    data    its bytes; of a large one without the values of its native Pixel Data, which stand behind the header
    pieces  None for what only pydicom reads
    whole   whether `data` is all of it
    """

    path: Path = field(repr=False)
    data: bytes = field(repr=False)
    pieces: Pieces | None
    whole: bool = True

    def all_of_it(self) -> Opened:
        """With all bytes."""
        return self if self.whole else _read_whole(self.path)


def opened(path: Path) -> Opened:
    """Read a file. Raises `NotDicom` for a large one that is none, without reading it."""
    with path.open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= LARGE:
            data = file.read()
            return Opened(path, data, pieces(data))
        split = split_large(file, size)
        if split is not None:
            return Opened(path, *split, whole=False)
    return _read_whole(path)


def split_large(file: BinaryIO | RawIOBase, size: int) -> tuple[bytes, Pieces] | None:
    """A large file of `size` bytes without the values of its native Pixel Data, and its pieces; see `without_pixels`.

    None for what only pydicom reads, all of it. Raises `NotDicom` for what is none, without reading it.
    """
    head = b""
    for chunk in _CHUNKS:
        head += file.read(chunk - len(head)) or b""
        if len(head) >= _ENOUGH and not looks_like_dicom(head):
            raise NotDicom("The bytes are no DICOM file.")
        found = pieces(head, head_only=True)
        if found is None or found.pixels is None:
            continue
        end = found.pixels[3]
        if len(head) < end <= size and size - end <= _LARGEST_TAIL:
            file.seek(end)
            return without_pixels(head, file.read() or b"")
        return None
    return None


def _read_whole(path: Path) -> Opened:
    data = path.read_bytes()
    return Opened(path, data, pieces(data))


def write(place: Path, written: Written, source: Opened, *, new_only: bool = False) -> None:
    """Write a clean instance to a file; it is there when all is written, and not at all if that fails.

    new_only   raise `FileExistsError` where there is a file already, even one that came meanwhile
    """
    part = f"{place.parent}/.{place.name}.{os.getpid()}.part"
    file = _create(part, place.parent)
    try:
        try:
            first, last = written.pixels
            if source.whole:
                _write_all(file, [written.before, memoryview(source.data)[first:last], written.after])
            else:
                _write_all(file, [written.before])
                with source.path.open("rb", buffering=0) as pixels:
                    _copy(pixels.fileno(), file, first, last)
                _write_all(file, [written.after])
        finally:
            os.close(file)
        _name(Path(part), place, new_only)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _name(part: Path, place: Path, new_only: bool) -> None:
    """Give what was written its name."""
    if new_only:
        try:
            place.hardlink_to(part)
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if place.exists():
                raise FileExistsError from None
        else:
            part.unlink()
            return
    part.replace(place)


def _create(part: str, folder: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    try:
        return os.open(part, flags, 0o666)
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(part, flags, 0o666)


def _write_all(file: int, parts: list[bytes | memoryview]) -> None:
    """Write all parts, however few bytes the kernel takes at once."""
    left = [memoryview(part) for part in parts if len(part)]
    while left:
        count = os.writev(file, left)
        while left and count >= len(left[0]):
            count -= len(left.pop(0))
        if left:
            left[0] = left[0][count:]


def _copy(source: int, target: int, first: int, last: int) -> None:
    """Copy a range of bytes to the end of another file."""
    while first < last:
        count = os.sendfile(target, source, first, last - first)
        if not count:
            raise OSError("The source became shorter while it was copied.")
        first += count
