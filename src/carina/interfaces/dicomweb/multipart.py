"""Messages of several parts, RFC 2046 section 5.1 and RFC 2387: read as they come, written as they go."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field

from carina.errors import BadInput

_LARGEST_HEADER = 16 * 1024  # bytes
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")


@dataclass(frozen=True)
class Part:
    """One part. `data` is None when there was more of it than is taken in; `size` counts all of it."""

    media: str
    data: bytes | None = field(repr=False)
    size: int


class _Reader:
    """Bytes of a body, as much as is asked for."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.buffer = bytearray(b"\r\n")  # so that the first boundary, too, follows a line's end

    async def more(self) -> None:
        async for chunk in self._chunks:
            if chunk:
                self.buffer += chunk
                return
        raise malformed()

    async def until(
        self, mark: bytes, largest: int, keep: bool = True, hold: Callable[[int], None] | None = None
    ) -> tuple[bytearray | None, int]:
        """What comes before `mark`, which is taken away too, and its size; None for more than `largest` bytes.

        hold   is told of bytes before they are kept, and below zero when they are let go; what it raises comes out
        """
        found, size = bytearray(), 0
        while True:
            place = self.buffer.find(mark)
            end = place if place >= 0 else max(0, len(self.buffer) - len(mark) + 1)
            size += end
            if keep and size <= largest:
                if hold is not None:
                    hold(end)
                with memoryview(self.buffer) as view:
                    found += view[:end]
            elif found:
                if hold is not None:
                    hold(-len(found))
                found = bytearray()
            if place >= 0:
                del self.buffer[: place + len(mark)]
                return (found if size <= largest else None), size
            del self.buffer[:end]
            await self.more()


async def parts(
    chunks: AsyncIterator[bytes], boundary: str, largest: int, hold: Callable[[int], None] | None = None
) -> AsyncIterator[Part]:
    """The parts of a body, one after the other; never more than one in memory, and of it `largest` bytes.

    hold   is told of a part's bytes before they are kept, and below zero when they are let go, as those of one that is
           too large are; what it raises ends the reading

    Raises `BadInput` where the body is not as RFC 2046 says, and when it ends before its last boundary.
    """
    if not _BOUNDARY.fullmatch(boundary):
        raise malformed()
    reader = _Reader(chunks)
    delimiter = b"\r\n--" + boundary.encode()
    await reader.until(delimiter, 0, keep=False)
    while not await _is_last(reader):
        header, _ = await reader.until(b"\r\n\r\n", _LARGEST_HEADER)
        if header is None:
            raise malformed()
        body, size = await reader.until(delimiter, largest, hold=hold)
        yield Part(_content_type(bytes(header)), None if body is None else bytes(body), size)


async def _is_last(reader: _Reader) -> bool:
    """What follows a boundary: two hyphens end the message; blanks and the line's end begin a part."""
    while len(reader.buffer) < 2:
        await reader.more()
    if reader.buffer[:2] == b"--":
        return True
    padding, _ = await reader.until(b"\r\n", 256)
    if padding is None or padding.strip():
        raise malformed()
    reader.buffer[:0] = b"\r\n"  # a part without header fields begins with the empty line at once
    return False


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
