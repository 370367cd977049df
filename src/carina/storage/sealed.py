"""Encrypted files of any size: what identifies a person rests nowhere else.

AES-256-GCM in segments of 1 MiB, each sealed on its own, so that memory stays small (the STREAM construction of Hoang,
Reyhanitabar, Rogaway and Vizár, 2015). A segment's nonce is its number and whether it is the last: none can be left
out, added, cut off or moved. Each sealing has its own key, HMAC-SHA-256 of the folder's key over 16 random bytes, so
that one folder key serves any number of files. The name is part of what is authenticated: a file moved to another name
does not open.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from carina.errors import BadInput, NotFound, WrongKey
from carina.storage.files import ASIDE, Aside, make_folder, place, remove, remove_durably, sweep, synchronise

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

SEGMENT = 1 << 20
"""Bytes of plain text that are sealed together."""
_FORM = b"CSF2"  # names the scheme; a later one begins otherwise
_SALT = 16
_TAG = 16
_HEAD = len(_FORM) + _SALT
_SEALED = SEGMENT + _TAG
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}")


def seal(key: bytes, data: bytes, context: str) -> bytes:
    """`data` encrypted so that only `key` and the same `context` open it."""
    return b"".join(_sealed(key, data, context))


def unseal(key: bytes, sealed: bytes, context: str) -> bytes:
    """What `seal` was given. Raises `WrongKey` for another key or context, and when a single bit was changed."""
    cipher, view = _Cipher.of(key, sealed[:_HEAD], context), memoryview(sealed)
    last = _last_segment(len(sealed))
    parts = [cipher.open(number, view[_place(number) : _place(number + 1)], last) for number in range(last + 1)]
    return parts[0] if last == 0 else b"".join(parts)


def _sealed(key: bytes, data: bytes, context: str) -> list[bytes]:
    """The head and each sealed segment."""
    salt, view = os.urandom(_SALT), memoryview(data)
    cipher, last = _Cipher(key, salt, context), max(0, len(data) - 1) // SEGMENT
    segments = (
        cipher.seal(number, view[number * SEGMENT : (number + 1) * SEGMENT], number == last)
        for number in range(last + 1)
    )
    return [_FORM + salt, *segments]


class _Cipher:
    """What seals and opens the segments of one file."""

    def __init__(self, key: bytes, salt: bytes, context: str) -> None:
        self._cipher = AESGCM(hmac.digest(key, _FORM + salt, hashlib.sha256))
        self._context = _FORM + context.encode()

    @classmethod
    def of(cls, key: bytes, head: bytes, context: str) -> _Cipher:
        """That of a file which begins with `head`. Raises `WrongKey` where no sealed file does."""
        if len(head) != _HEAD or not head.startswith(_FORM):
            raise _closed()
        return cls(key, head[len(_FORM) :], context)

    def seal(self, number: int, plain: memoryview, last: bool) -> bytes:
        """One sealed segment."""
        return self._cipher.encrypt(_nonce(number, last), plain, self._context)

    def open(self, number: int, sealed: bytes | memoryview, last: int) -> bytes:
        """The plain text of a segment; `last` is the last one's number. Raises `WrongKey`."""
        try:
            return self._cipher.decrypt(_nonce(number, number == last), sealed, self._context)
        except InvalidTag:
            raise _closed() from None


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + (b"\1" if last else b"\0")


def _place(number: int) -> int:
    """Where a segment begins in the file."""
    return _HEAD + number * _SEALED


def _last_segment(size: int) -> int:
    """The number of the last segment in a file of `size` bytes. Raises `WrongKey` for a size that no sealed one has."""
    whole, rest = divmod(size - _HEAD, _SEALED)
    if size < _HEAD + _TAG or 0 < rest < _TAG:
        raise _closed()
    return whole if rest else whole - 1


def _closed() -> WrongKey:
    return WrongKey(
        "An encrypted file does not open: it was changed, or sealed under another key or name.",
        "Put the key file's back-up in place; if the key is right, restore the file from a back-up.",
    )


class SealedWriter:
    """A file on its way into a folder, sealed segment by segment; it has its name when `finish` returns.

    Not for several threads at once. Whoever does not finish it calls `abort`.
    """

    def __init__(self, path: Path, key: bytes) -> None:
        salt = os.urandom(_SALT)
        self._cipher = _Cipher(key, salt, path.name)
        self._plain = bytearray(SEGMENT)
        self._filled = self._number = 0
        self._file = Aside(path)
        self._write([_FORM + salt])

    def write(self, data: ReadableBuffer) -> None:
        """Append bytes. Raises `Full`; then nothing is kept."""
        view = memoryview(data).cast("B")
        while len(view):
            if self._filled == SEGMENT:  # that more follows shows only now
                self._seal(last=False)
            count = min(len(view), SEGMENT - self._filled)
            self._plain[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]

    def finish(self) -> None:
        """Synchronise the file and give it its name; durable after the folder's `synchronise`. Raises `Full`."""
        self._seal(last=True)
        self._file.finish()

    def abort(self) -> None:
        """Remove what was written; nothing happens when it is finished or removed."""
        self._file.abort()

    def _seal(self, last: bool) -> None:
        with memoryview(self._plain) as view:
            self._write([self._cipher.seal(self._number, view[: self._filled], last)])
        self._number, self._filled = self._number + 1, 0

    def _write(self, parts: list[bytes]) -> None:
        self._file.write(parts)


class SealedReader(io.RawIOBase):
    """A sealed file, opened where it is read: one segment is in memory. `seek` goes anywhere."""

    def __init__(self, file: IO[bytes], key: bytes, context: str) -> None:
        super().__init__()
        self._file = file
        self._cipher = _Cipher.of(key, file.read(_HEAD), context)
        size = os.fstat(file.fileno()).st_size
        self._last = _last_segment(size)
        self._size = size - _HEAD - (self._last + 1) * _TAG
        self._place, self._number, self._plain = 0, -1, b""
        self._segment(self._last)  # whether it is whole shows at once

    @property
    def size(self) -> int:
        """Bytes of plain text."""
        return self._size

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, as in any file."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read up to the end of a segment. Raises `WrongKey` where it was changed."""
        view = memoryview(buffer).cast("B")
        if self._place >= self._size or not len(view):
            return 0
        number, start = divmod(self._place, SEGMENT)
        plain = self._segment(number)
        count = min(len(view), len(plain) - start)
        view[:count] = memoryview(plain)[start : start + count]
        self._place += count
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _segment(self, number: int) -> bytes:
        if number != self._number:
            self._file.seek(_place(number))
            self._plain = self._cipher.open(number, self._file.read(_SEALED), self._last)
            self._number = number
        return self._plain


class SealedFolder:
    """A folder of encrypted files, each durable when `put` returns. Several processes may use it at once."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder = folder
        self._key = key
        make_folder(folder)

    def put(self, name: str, data: bytes, *, lasting: bool = True) -> None:
        """Keep `data` as `name`, in place of what was there. Raises `Full`.

        lasting   False leaves the folder to a later `synchronise`, one for many files
        """
        path = self._path(name)
        place(path, _sealed(self._key, data, name))
        if lasting:
            self.synchronise()

    def writer(self, name: str) -> SealedWriter:
        """Write a file of any size as `name`, piece by piece. Raises `Full`."""
        return SealedWriter(self._path(name), self._key)

    def read(self, name: str) -> bytes:
        """What was put as `name`. Raises `NotFound`, or `WrongKey` when it does not open."""
        try:
            sealed = self._path(name).read_bytes()
        except FileNotFoundError:
            raise _absent() from None
        return unseal(self._key, sealed, name)

    def open(self, name: str) -> SealedReader:
        """The same as a stream, which the caller closes; of a large file one segment is in memory."""
        try:
            file = self._path(name).open("rb", buffering=0)
        except FileNotFoundError:
            raise _absent() from None
        try:
            return SealedReader(file, self._key, name)
        except BaseException:
            file.close()
            raise

    def remove(self, name: str) -> None:
        """Forget `name`; nothing happens when it is not there."""
        remove_durably(self._path(name))

    def remove_all(self, names: Iterable[str]) -> None:
        """Forget them all; the folder is synchronised once."""
        removed = [remove(path) for path in [self._path(name) for name in names]]
        if any(removed):
            self.synchronise()

    def __contains__(self, name: str) -> bool:
        return self._path(name).exists()

    def names(self) -> list[str]:
        """The names of all that is kept, sorted."""
        return sorted(path.name for path in self._folder.iterdir() if not path.name.startswith(ASIDE))

    def synchronise(self) -> None:
        """Make durable what was named and removed until now. Raises `Full`."""
        synchronise(self._folder)

    def sweep(self) -> int:
        """Remove what writers that died left; how many. Only at the start, before anybody writes."""
        return sweep(self._folder)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise BadInput("This is no name for an encrypted file.")
        return self._folder / name


def _absent() -> NotFound:
    return NotFound("There is no encrypted file of this name.")
