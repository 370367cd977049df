"""Messages of several parts, RFC 2046 section 5.1 and RFC 2387: read as they come, written as they go."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from carina.errors import BadInput

_LARGEST_HEADER = 16 * 1024  # bytes
_LONGEST_PADDING = 256  # bytes behind a boundary
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")


@dataclass(frozen=True)
class Begin:
    """A part begins; `media` is its Content-Type, or ""."""

    media: str


@dataclass(frozen=True)
class End:
    """The part has ended."""


Event: TypeAlias = "Begin | bytes | End"
"""What a body holds, in its order; bytes are a part's next ones."""


class Parser:
    """Reads a body as it comes, and keeps no more of it than a header or the length of the boundary.

    Bytes of a part are handed on as they came wherever they hold no beginning of a boundary.
    """

    def __init__(self, boundary: str) -> None:
        """Raises `BadInput` for what is no boundary."""
        if not _BOUNDARY.fullmatch(boundary):
            raise malformed()
        self._delimiter = b"\r\n--" + boundary.encode()
        self._data = b"\r\n"  # so that the first boundary, too, follows a line's end
        self._place = 0
        self._state: Callable[[], list[Event] | None] = self._preamble
        self._ended = False

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """What comes with these bytes. Raises `BadInput` where the body is not as RFC 2046 says."""
        left = self._data[self._place :]
        self._data, self._place = left + chunk if left else chunk, 0
        while (events := self._state()) is not None:
            yield from events

    def close(self) -> None:
        """The body has ended. Raises `BadInput` when that was before its last boundary."""
        if not self._ended:
            raise malformed()

    # Each state takes bytes away by moving `_place`, and gives None when it needs more of them.

    def _preamble(self) -> list[Event] | None:
        found = self._data.find(self._delimiter)
        if found < 0:
            self._place = _safe(self._data, 0, self._delimiter)
            return None
        self._place, self._state = found + len(self._delimiter), self._edge
        return []

    def _edge(self) -> list[Event] | None:
        """What follows a boundary: two hyphens end the message; blanks and the line's end begin a part."""
        data, place = self._data, self._place
        if data.startswith(b"--", place):
            self._ended, self._state = True, self._epilogue
            return []
        line = data.find(b"\r\n", place, place + _LONGEST_PADDING + 2)
        if data[place : line if line >= 0 else place + _LONGEST_PADDING].strip(b" \t" if line >= 0 else b" \t\r-"):
            raise malformed()
        if line < 0:
            if len(data) - place > _LONGEST_PADDING:
                raise malformed()
            return None
        self._place, self._state = line, self._header  # a part without header fields has the empty line at once
        return []

    def _header(self) -> list[Event] | None:
        data, place = self._data, self._place
        end = data.find(b"\r\n\r\n", place, place + _LARGEST_HEADER + 4)
        if end < 0:
            if len(data) - place > _LARGEST_HEADER:
                raise malformed()
            return None
        self._place, self._state = end + 4, self._body
        return [Begin(_content_type(data[place:end]))]

    def _body(self) -> list[Event] | None:
        data, place = self._data, self._place
        if place == len(data):
            return None
        end = data.find(self._delimiter, place)
        if end >= 0:
            self._place, self._state = end + len(self._delimiter), self._edge
            return [data[place:end], End()] if end > place else [End()]
        self._place = _safe(data, place, self._delimiter)
        return [data[place : self._place]] if self._place > place else None

    def _epilogue(self) -> None:
        self._place = len(self._data)


def _safe(data: bytes, place: int, delimiter: bytes) -> int:
    """Up to where bytes cannot belong to a delimiter that goes on in the next ones."""
    start = max(place, len(data) - len(delimiter) + 1)
    while (start := data.find(b"\r", start)) >= 0:
        if delimiter.startswith(data[start:]):
            return start
        start += 1
    return len(data)


@dataclass(frozen=True)
class Part:
    """One part. `data` is None when there was more of it than is taken in; `size` counts all of it."""

    media: str
    data: bytes | None = field(repr=False)
    size: int


async def parts(chunks: AsyncIterator[bytes], boundary: str, largest: int) -> AsyncIterator[Part]:
    """The parts of a body, one after the other; never more than one in memory, and of it `largest` bytes.

    Raises `BadInput` where the body is not as RFC 2046 says, and when it ends before its last boundary.
    """
    parser, media = Parser(boundary), ""
    found: list[bytes] = []
    size = 0
    async for chunk in chunks:
        for event in parser.feed(chunk):
            if isinstance(event, Begin):
                media, found, size = event.media, [], 0
            elif isinstance(event, End):
                yield Part(media, b"".join(found) if size <= largest else None, size)
            else:
                size += len(event)
                if size <= largest:
                    found.append(event)
                else:
                    found.clear()
    parser.close()


def _content_type(header: bytes) -> str:
    for line in header.decode("latin-1").split("\r\n"):
        name, _, value = line.partition(":")
        if name.strip().lower() == "content-type":
            return value.strip()
    return ""


def malformed() -> BadInput:
    """A body that is no message of several parts."""
    return BadInput(
        "The request's body is not as multipart/related (RFC 2387) says.",
        "Check the boundary, and that the body came whole.",
    )


def new_boundary() -> str:
    """A boundary that no image holds by chance."""
    return f"carina-{secrets.token_hex(16)}"


def begin_part(boundary: str, fields: Iterable[tuple[str, str]], first: bool) -> bytes:
    """The boundary and header of a part, whose bytes follow."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    gap = "" if first else "\r\n"
    return f"{gap}--{boundary}\r\n{lines}\r\n".encode()


def end(boundary: str) -> bytes:
    """The last boundary."""
    return f"\r\n--{boundary}--\r\n".encode()
