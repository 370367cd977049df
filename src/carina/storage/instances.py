"""Where de-identified DICOM files rest, by the SHA-256 of their bytes; the index knows which content is which instance.

Versions of one instance are different contents, so nothing is ever overwritten, and a retry after a crash is harmless.
"""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import BinaryIO, Protocol

from carina.errors import NotFound
from carina.model.instance import CleanInstance
from carina.storage.files import make_folder, remove_durably, sweep, synchronise, write_durably

_DIGEST = re.compile(r"[0-9a-f]{64}")


class InstanceStore(Protocol):
    """Where de-identified DICOM files rest. `content` is the SHA-256 of a file's bytes, in hex."""

    def put(self, instance: CleanInstance) -> str:
        """Store its bytes and return their `content`; durable when it returns. The same bytes again: no change.

        Raises `Full`.
        """

    def open(self, content: str) -> BinaryIO:
        """A stream from the beginning, which the caller closes, or `NotFound`."""

    def remove(self, content: str) -> None:
        """Forget these bytes; nothing happens when they are not there."""


class FileInstances:
    """Files in folders, `ab/cd/<sha256>.dcm`, readable by the owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_folder(folder)

    def put(self, instance: CleanInstance) -> str:
        """See `InstanceStore.put`."""
        content = hashlib.sha256(instance.data).hexdigest()
        path = self._path(content)
        if _holds(path, content):
            synchronise(path.parent)  # another process may have moved it there and not yet come this far
        else:
            make_folder(path.parent)
            write_durably(path, instance.data)
        return content

    def open(self, content: str) -> BinaryIO:
        """See `InstanceStore.open`."""
        try:
            return self._path(content).open("rb")
        except FileNotFoundError:
            raise _absent() from None

    def remove(self, content: str) -> None:
        """See `InstanceStore.remove`."""
        remove_durably(self._path(content))

    def sweep(self) -> int:
        """Remove what writers that died left; how many. Only at the start, before anybody writes."""
        return sweep(self._folder)

    def _path(self, content: str) -> Path:
        if not _DIGEST.fullmatch(content):
            raise _absent()
        return self._folder / content[:2] / content[2:4] / f"{content}.dcm"


class MemoryInstances:
    """Files in memory, for tests and for what need not last."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def put(self, instance: CleanInstance) -> str:
        """See `InstanceStore.put`."""
        content = hashlib.sha256(instance.data).hexdigest()
        self._files.setdefault(content, instance.data)
        return content

    def open(self, content: str) -> BinaryIO:
        """See `InstanceStore.open`."""
        try:
            return io.BytesIO(self._files[content])
        except KeyError:
            raise _absent() from None

    def remove(self, content: str) -> None:
        """See `InstanceStore.remove`."""
        self._files.pop(content, None)


def _holds(path: Path, content: str) -> bool:
    """Whether the file is there and whole."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == content
    except FileNotFoundError:
        return False


def _absent() -> NotFound:
    return NotFound("The archive has no file with this content.")
