"""A back-up's file: a plain tar of regular files, the last of which, `MANIFEST`, says what all the others must be.

The manifest is lines of text: a JSON object about the whole, then for each member `SHA-256 size name archive`, in the
order of the tar, then the HMAC of all lines before. `archive` is the id of the back-up that has the bytes: this one's,
or, in one that was made since another, an earlier one's. Without its manifest a file is no back-up, so what was cut off
is never taken for a whole one. Of a tar nothing is believed but regular files of names that the caller expects.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

from carina.errors import BadInput, Conflict, Full
from carina.storage.files import synchronise

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FORM = "carina-backup-1"
MANIFEST = "MANIFEST"
_SECTOR = 512
_BLOCK = 1 << 20
_HEAD = 1 << 16  # characters of the manifest's first line
_LINE = 512  # and of each other one


@dataclass(frozen=True)
class Member:
    """One file. `archive`: the id of the back-up that has its bytes."""

    name: str
    digest: str
    size: int
    archive: str


class BackupWriter:
    """Writes a back-up beside its place; only `finish` puts it there, and only when it is whole on the disk."""

    def __init__(self, path: Path, archive: str) -> None:
        """Raises `Conflict` when something is at `path`, `Full` when its folder cannot be written to."""
        if path.exists():
            raise Conflict("There is a file at the place of the back-up.", "Choose another name.")
        self._path, self._archive = path, archive
        self.aside = path.with_name(f".new-{path.name}")
        try:
            self._file = os.fdopen(os.open(self.aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
            self._lines = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115  closed by `abort` and `finish`
        except OSError as error:
            raise _unwritable(error) from None

    def add(self, name: str, stream: IO[bytes], size: int) -> str:
        """Take in a file of `size` bytes; the SHA-256 of what was read, in hex. Raises `Full`."""
        digest = hashlib.sha256()
        try:
            self._file.write(_header(name, size))
            left = size
            while left:
                block = stream.read(min(left, _BLOCK))
                if not block:
                    raise BadInput("A file became shorter while it was copied.", "Run the export again.")
                digest.update(block)
                self._file.write(block)
                left -= len(block)
            self._file.write(bytes(-size % _SECTOR))
        except OSError as error:
            raise _unwritable(error) from None
        self._note(Member(name, digest.hexdigest(), size, self._archive))
        return digest.hexdigest()

    def name_earlier(self, member: Member) -> None:
        """Note a file whose bytes an earlier back-up has."""
        self._note(member)

    def finish(self, about: dict[str, Any], key: bytes) -> int:
        """Write the manifest and put the back-up in its place, durable; its size in bytes."""
        head = json.dumps({"form": FORM, "id": self._archive, **about}, sort_keys=True).encode() + b"\n"
        code = hmac.new(key, head, hashlib.sha256)
        self._lines.seek(0)
        length = len(head) + sum(_told(code, line) for line in self._lines) + 65
        self._lines.seek(0)
        try:
            self._file.write(_header(MANIFEST, length) + head)
            for line in self._lines:
                self._file.write(line)
            self._file.write(code.hexdigest().encode() + b"\n" + bytes(-length % _SECTOR) + bytes(2 * _SECTOR))
            self._file.flush()
            os.fsync(self._file.fileno())
            size = self._file.tell()
            self._file.close()
            os.link(self.aside, self._path)  # unlike a rename, never in place of what came there meanwhile
            self.aside.unlink()
            synchronise(self._path.parent)
        except FileExistsError:
            raise Conflict("There is a file at the place of the back-up.", "Choose another name.") from None
        except OSError as error:
            raise _unwritable(error) from None
        return size

    def abort(self) -> None:
        """Leave nothing; after `finish` there is nothing to leave."""
        self._lines.close()
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self.aside.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        """Itself; what was not finished is gone at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `abort`."""
        self.abort()

    def _note(self, member: Member) -> None:
        self._lines.write(f"{member.digest} {member.size} {member.name} {member.archive}\n".encode())


def _told(code: Any, line: bytes) -> int:
    code.update(line)
    return len(line)


def _header(name: str, size: int) -> bytes:
    about = tarfile.TarInfo(name)
    about.size, about.mode = size, 0o600
    header = about.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")
    if len(header) != _SECTOR:
        raise BadInput("A file has a name that a back-up cannot hold.")
    return header


def _unwritable(error: OSError) -> Full:
    return Full("The back-up cannot be written there.", f"The system says: {error.strerror}.")


class Backup:
    """A back-up that is read. Nothing is believed before `check` has found the manifest to be one of these keys."""

    def __init__(self, path: Path, allowed: Callable[[str], bool]) -> None:
        """Find the manifest. Raises `BadInput` for what is no back-up, is not whole, or has a member that is not
        `allowed` by its name."""
        try:
            self._file = path.open("rb")
        except OSError:
            raise BadInput("The back-up cannot be read.", "Check its name and rights.") from None
        try:
            self._manifest = self._find(allowed)
            self.about = self._about()
        except BaseException:
            self._file.close()
            raise
        self.id = str(self.about.get("id", ""))

    def check(self, key: bytes) -> None:
        """Raise `BadInput` unless the manifest is as it was written, by one who had this key."""
        start, size = self._manifest
        code = hmac.new(key, digestmod=hashlib.sha256)
        self._file.seek(start)
        left = size - 65
        while left:
            block = self._file.read(min(left, _BLOCK))
            code.update(block)
            left -= len(block)
        if not hmac.compare_digest(self._file.read(65), code.hexdigest().encode() + b"\n"):
            raise damaged("its manifest was changed")

    def members(self) -> Iterator[Member]:
        """What the manifest names, in its order."""
        start, size = self._manifest
        place, end = start, start + size - 65
        self._file.seek(place)
        place += len(self._file.readline(_HEAD))
        while place < end:
            self._file.seek(place)
            line = self._file.readline(_LINE)
            place += len(line)
            yield _member(line)

    def contents(self) -> Iterator[tuple[Member, IO[bytes]]]:
        """Each member whose bytes are in this file, with a stream of them. Raises `BadInput` when the tar has others
        than the manifest says, or in another order; `extract` compares the bytes."""
        own = (member for member in self.members() if member.archive == self.id)
        place = 0
        for member in own:
            name, size = self._head(place)
            if (name, size) != (member.name, member.size):
                raise damaged("it does not hold what its manifest says")
            yield member, io.BufferedReader(_Part(self._file, place + _SECTOR, size), _BLOCK)
            place += _SECTOR + size + -size % _SECTOR
        if self._head(place)[0] != MANIFEST:
            raise damaged("it holds more than its manifest says")

    def read(self, name: str, most: int = _BLOCK) -> bytes:
        """A small file, compared with the manifest. Raises `BadInput` when there is none."""
        for member, stream in self.contents():
            if member.name == name and member.size <= most:
                data = stream.read(member.size)
                if hashlib.sha256(data).hexdigest() != member.digest:
                    raise damaged(f"{name} was changed")
                return data
        raise damaged(f"it has no {name}")

    def close(self) -> None:
        """Read no more."""
        self._file.close()

    def __enter__(self) -> Self:
        """Itself, closed at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """See `close`."""
        self.close()

    def _find(self, allowed: Callable[[str], bool]) -> tuple[int, int]:
        """Where the manifest lies."""
        place = 0
        while True:
            name, size = self._head(place)
            if name == MANIFEST:
                break
            if not allowed(name):
                raise BadInput("The back-up has a member of a name that no back-up of a node has.", _HINT)
            place += _SECTOR + size + -size % _SECTOR
        rest = place + _SECTOR + size + -size % _SECTOR
        self._file.seek(rest)
        if size <= 65 or self._file.read(2 * _SECTOR + 1) != bytes(2 * _SECTOR):
            raise damaged("it does not end as it should")
        return place + _SECTOR, size

    def _head(self, place: int) -> tuple[str, int]:
        """Name and size of the member whose header is there."""
        self._file.seek(place)
        try:
            about = tarfile.TarInfo.frombuf(self._file.read(_SECTOR), "utf-8", "strict")
        except (tarfile.HeaderError, ValueError):
            raise damaged("it is not whole, or no back-up of Carina") from None
        if about.type != tarfile.REGTYPE or about.size < 0:
            raise BadInput("The back-up has a member that is no regular file.", _HINT)
        return about.name, about.size

    def _about(self) -> dict[str, Any]:
        self._file.seek(self._manifest[0])
        try:
            about = json.loads(self._file.readline(_HEAD))
        except ValueError:
            about = None
        if not isinstance(about, dict) or about.get("form") != FORM:
            raise BadInput("This is no back-up that this version of Carina can read.")
        return about


_HINT = "Use a file that `carina node export` has written."


def damaged(why: str) -> BadInput:
    """The back-up cannot be used."""
    return BadInput(f"The back-up is damaged: {why}.", "Use another copy of it, or another back-up.")


def _member(line: bytes) -> Member:
    try:
        digest, size, name, archive = line.decode().rstrip("\n").split(" ")
        return Member(name, digest, int(size), archive)
    except ValueError:
        raise damaged("its manifest cannot be read") from None


class _Part(io.RawIOBase):
    """A stream of a part of a file; several may be read in turn."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._place, self._end = file, start, start + size

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """See `io.RawIOBase`."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._place)
        data = self._file.read(min(len(view), self._end - self._place))
        view[: len(data)] = data
        self._place += len(data)
        return len(data)


def extract(member: Member, stream: IO[bytes], path: Path) -> None:
    """Write a member to a new file at `path`. Raises `BadInput` when its bytes are not the manifest's, and `Full`."""
    digest, left = hashlib.sha256(), member.size
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            while left:
                block = stream.read(min(left, _BLOCK))
                if not block:
                    raise damaged("it is not whole")
                digest.update(block)
                file.write(block)
                left -= len(block)
    except OSError as error:
        raise Full("The back-up cannot be unpacked there.", f"The system says: {error.strerror}.") from None
    if digest.hexdigest() != member.digest:
        raise damaged(f"{member.name} was changed")
