"""Files that are on the disk when a call returns: written aside, synchronised, moved into place."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from carina.errors import Full

ASIDE = ".new-"
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


def write_durably(path: Path, data: bytes) -> None:
    """Put `data` at `path`, whole or not at all, readable by the owner only; what was there is replaced. Raises `Full`.

    A crash leaves at most a file beside it whose name begins with `ASIDE`; see `sweep`.
    """
    aside = path.with_name(f"{ASIDE}{uuid4().hex}")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        aside.replace(path)
        synchronise(path.parent)
    except OSError as error:
        with suppress(OSError):  # the disk that refused it may refuse this too; `sweep` finds it
            aside.unlink(missing_ok=True)
        raise _explained(error) from error


def remove_durably(path: Path) -> bool:
    """Remove the file; False when there was none."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    synchronise(path.parent)
    return True


def synchronise(folder: Path) -> None:
    """Make what was added to and removed from `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(folder: Path) -> int:
    """Remove what writers that died left below `folder`; how many. Only while nobody writes there."""
    left = [path for path in folder.rglob(f"{ASIDE}*") if path.is_file()]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _explained(error: OSError) -> Exception:
    return Full("There is no room left on the disk.") if error.errno in _NO_ROOM else error
