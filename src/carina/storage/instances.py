"""Where de-identified DICOM files rest, by the SHA-256 of their bytes; the index knows which content is which instance.

Versions of one instance are different contents, so nothing is ever overwritten, and a retry after a crash is harmless.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from carina.errors import NotFound
from carina.model.instance import CleanInstance
from carina.storage.files import Aside, make_folder, make_folders, place, remove_durably, sweep, synchronise

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_DIGEST = re.compile(r"[0-9a-f]{64}")


class InstanceStore(Protocol):
    """Where de-identified DICOM files rest. `content` is the SHA-256 of a file's bytes, in hex."""

    def put(self, instance: CleanInstance) -> str:
        """`put_all` of one."""

    def put_all(self, instances: Sequence[CleanInstance]) -> list[str]:
        """Store the bytes of each and return their `content`, in order; durable when it returns.

        Bytes that are there already stay as they are. Raises `Full`; then some of them may be there.
        """

    def writer(self) -> InstanceWriter:
        """Store a file of any size, piece by piece. Raises `Full`."""

    def open(self, content: str) -> BinaryIO:
        """A stream from the beginning, which the caller closes, or `NotFound`."""

    def read(self, content: str, offset: int, size: int) -> bytes:
        """So many bytes from a place on, fewer where the file ends; or `NotFound`."""

    def remove(self, content: str) -> None:
        """Forget these bytes; nothing happens when they are not there."""


class InstanceWriter(ABC):
    """A clean file on its way into a store. Whoever does not `finish` it calls `abort`."""

    @abstractmethod
    def write(self, data: ReadableBuffer) -> None:
        """Append bytes. Raises `Full`; then nothing is kept."""

    @abstractmethod
    def finish(self) -> str:
        """The `content`; durable when it returns. The same bytes again: no change. Raises `Full`."""

    @abstractmethod
    def abort(self) -> None:
        """Keep nothing of it; nothing happens when it is finished."""


class FileInstances:
    """Files in 256 folders, `ab/<sha256>.dcm`, readable by the owner only; more would cost a folder for each image."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shards: set[Path] = set()  # those that are known to be there
        make_folder(folder)

    def put(self, instance: CleanInstance) -> str:
        """See `InstanceStore.put`."""
        return self.put_all([instance])[0]

    def put_all(self, instances: Sequence[CleanInstance]) -> list[str]:
        """See `InstanceStore.put_all`; each folder is synchronised once."""
        contents = [hashlib.sha256(instance.data).hexdigest() for instance in instances]
        paths = [self._path(content) for content in contents]
        shards = {path.parent for path in paths}
        if new := shards - self._shards:
            make_folders(self._folder, new)
            self._shards |= new
        for path, content, instance in zip(paths, contents, instances, strict=True):
            if not _holds(path, content):
                _place(path, [instance.data])
        for folder in shards:  # also of those that another process may just have moved there
            synchronise(folder)
        return contents

    def writer(self) -> FileWriter:
        """See `InstanceStore.writer`."""
        return FileWriter(self._folder, self._path)

    def open(self, content: str) -> BinaryIO:
        """See `InstanceStore.open`."""
        try:
            return self._path(content).open("rb")
        except FileNotFoundError:
            raise _absent() from None

    def read(self, content: str, offset: int, size: int) -> bytes:
        """See `InstanceStore.read`; one call of the kernel for all but the largest."""
        with self._descriptor(content) as file:
            found = os.pread(file, size, offset)
            while 0 < len(found) < size and (more := os.pread(file, size - len(found), offset + len(found))):
                found += more
            return found

    def remove(self, content: str) -> None:
        """See `InstanceStore.remove`."""
        remove_durably(self._path(content))

    def sweep(self) -> int:
        """Remove what writers that died left; how many. Only at the start, before anybody writes."""
        return sweep(self._folder)

    @contextmanager
    def _descriptor(self, content: str) -> Iterator[int]:
        try:
            file = os.open(self._path(content), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _absent() from None
        try:
            yield file
        finally:
            os.close(file)

    def _path(self, content: str) -> Path:
        if not _DIGEST.fullmatch(content):
            raise _absent()
        return self._folder / content[:2] / f"{content}.dcm"


class FileWriter(InstanceWriter):
    """See `InstanceWriter`; the file is beside the shards until its digest is known."""

    def __init__(self, folder: Path, path: Callable[[str], Path]) -> None:
        self._path = path
        self._digest = hashlib.sha256()
        self._file = Aside(folder / "large")

    def write(self, data: ReadableBuffer) -> None:
        """See `InstanceWriter.write`."""
        self._digest.update(data)
        self._file.write([data])

    def finish(self) -> str:
        """See `InstanceWriter.finish`."""
        content = self._digest.hexdigest()
        path = self._path(content)
        if _holds(path, content):
            self._file.abort()
        else:
            try:
                make_folder(path.parent)
                self._file.finish(path)
            except BaseException:
                self._file.abort()
                raise
        synchronise(path.parent)
        return content

    def abort(self) -> None:
        """See `InstanceWriter.abort`."""
        self._file.abort()


class MemoryInstances:
    """Files in memory, for tests and for what need not last."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def put(self, instance: CleanInstance) -> str:
        """See `InstanceStore.put`."""
        return self.put_all([instance])[0]

    def put_all(self, instances: Sequence[CleanInstance]) -> list[str]:
        """See `InstanceStore.put_all`."""
        return [self._keep(instance.data) for instance in instances]

    def writer(self) -> MemoryWriter:
        """See `InstanceStore.writer`."""
        return MemoryWriter(self._keep)

    def open(self, content: str) -> BinaryIO:
        """See `InstanceStore.open`."""
        return io.BytesIO(self._found(content))

    def read(self, content: str, offset: int, size: int) -> bytes:
        """See `InstanceStore.read`."""
        return self._found(content)[offset : offset + size]

    def remove(self, content: str) -> None:
        """See `InstanceStore.remove`."""
        self._files.pop(content, None)

    def _keep(self, data: bytes) -> str:
        content = hashlib.sha256(data).hexdigest()
        self._files.setdefault(content, data)
        return content

    def _found(self, content: str) -> bytes:
        try:
            return self._files[content]
        except KeyError:
            raise _absent() from None


class MemoryWriter(InstanceWriter):
    """See `InstanceWriter`."""

    def __init__(self, keep: Callable[[bytes], str]) -> None:
        self._keep = keep
        self._data = bytearray()

    def write(self, data: ReadableBuffer) -> None:
        """See `InstanceWriter.write`."""
        self._data += data

    def finish(self) -> str:
        """See `InstanceWriter.finish`."""
        return self._keep(bytes(self._data))

    def abort(self) -> None:
        """See `InstanceWriter.abort`."""
        self._data.clear()


def _place(path: Path, parts: Sequence[ReadableBuffer]) -> None:
    """Write a file; its folder is there, unless somebody has removed it."""
    try:
        place(path, parts)
    except FileNotFoundError:
        make_folder(path.parent)
        place(path, parts)


def _holds(path: Path, content: str) -> bool:
    """Whether the file is there and whole."""
    if not path.exists():  # as ever but in a retry
        return False
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == content
    except FileNotFoundError:
        return False


def _absent() -> NotFound:
    return NotFound("The archive has no file with this content.")
