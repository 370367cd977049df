"""Files that are on the disk when a call returns: written aside, synchronised, moved into place."""

from __future__ import annotations

import errno
import os
import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from carina.errors import Full

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

ASIDE = ".new-"
_AT_ONCE = 512  # parts of one call; Linux takes 1024
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def make_folder(folder: Path) -> None:
    """`folder` with what is above it, for the owner only, durable. Raises `Full`."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        for path in reversed(missing):
            path.mkdir(mode=0o700, exist_ok=True)
            synchronise(path.parent)
    except OSError as error:
        raise _explained(error) from error


def make_folders(parent: Path, folders: Iterable[Path]) -> None:
    """Folders in one parent, for the owner only; durable together, also those that another process has just made.

    Raises `Full`.
    """
    try:
        for folder in folders:
            with suppress(FileExistsError):
                folder.mkdir(0o700)
    except OSError as error:
        raise _explained(error) from error
    synchronise(parent)


class Aside:
    """A file that is written beside its place; it is there when `finish` returns, and not at all before.

    A crash leaves at most a file whose name begins with `ASIDE`; see `sweep`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._aside: Path | None = path.with_name(f"{ASIDE}{secrets.token_hex(16)}")
        try:
            self._file: int | None = os.open(self._aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _explained(error) from error

    def write(self, parts: Sequence[ReadableBuffer]) -> None:
        """Append bytes. Raises `Full`; then nothing is kept."""
        if self._file is None:
            raise ValueError("the file is closed")
        try:
            _write_all(self._file, parts)
        except OSError as error:
            self.abort()
            raise _explained(error) from error

    def finish(self, path: Path | None = None) -> None:
        """Synchronise it and move it into place, or to another one; its folder remains to be synchronised.

        Raises `Full`; then nothing is kept.
        """
        if self._file is None or self._aside is None:
            raise ValueError("the file is closed")
        try:
            os.fsync(self._file)
            os.close(self._file)
            self._file = None
            self._aside.rename(self._path if path is None else path)
        except BaseException as error:
            self.abort()
            if isinstance(error, OSError):
                raise _explained(error) from error
            raise
        self._aside = None

    def abort(self) -> None:
        """Remove it; nothing happens when it is finished or removed."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._aside is not None:
            with suppress(OSError):  # the disk that refused it may refuse this too; `sweep` finds it
                self._aside.unlink(missing_ok=True)
            self._aside = None


def place(path: Path, parts: Sequence[ReadableBuffer]) -> None:
    """Put bytes at `path`, whole or not at all, readable by the owner only; what was there is replaced. Raises `Full`.

    The file is synchronised, its folder is not.
    """
    aside = Aside(path)
    try:
        aside.write(parts)
        aside.finish()
    except BaseException:
        aside.abort()
        raise


def write_durably(path: Path, data: ReadableBuffer) -> None:
    """`place` that lasts when it returns."""
    place(path, [data])
    synchronise(path.parent)


def _write_all(file: int, parts: Sequence[ReadableBuffer]) -> None:
    """Write all parts, however few bytes the kernel takes at once."""
    left = deque(memoryview(part).cast("B") for part in parts if memoryview(part).nbytes)
    while left:
        count = os.writev(file, list(islice(left, _AT_ONCE)))
        while left and count >= len(left[0]):
            count -= len(left.popleft())
        if count:
            left[0] = left[0][count:]


def remove(path: Path) -> bool:
    """Remove the file, its folder not synchronised; False when there was none. Raises `Full` for a read-only disk."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _explained(error) from error
    return True


def remove_durably(path: Path) -> bool:
    """`remove` that lasts when it returns."""
    removed = remove(path)
    if removed:
        synchronise(path.parent)
    return removed


def synchronise(folder: Path) -> None:
    """Make what was added to and removed from `folder` durable. Raises `Full`."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _explained(error) from error


def sweep(folder: Path) -> int:
    """Remove what writers that died left below `folder`; how many. Only while nobody writes there."""
    left = [path for path in folder.rglob(f"{ASIDE}*") if path.is_file()]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _explained(error: OSError) -> Exception:
    if error.errno == errno.EROFS:
        return Full("The disk can only be read.", "Look at the system's log for why, and mount it for writing again.")
    return Full("There is no room left on the disk.") if error.errno in _NO_ROOM else error
