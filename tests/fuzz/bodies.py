"""What reads bodies of several parts: as they come, in pieces of any size."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.archive import message
from tests.fuzz.target import Target, plain

from carina.errors import BadInput
from carina.interfaces.dicomweb.media import parse_media
from carina.interfaces.dicomweb.multipart import Begin, End, Event, Parser

_HELD = 32 * 1024  # bytes; more is not kept of a body between two pieces
_FALLBACK = "edge"


def _parse(data: bytes) -> None:
    """The first line is the sizes of the pieces, the second a Content-Type; pieces of other sizes say the same."""
    sizes, _, rest = data.partition(b"\n")
    media, _, body = rest.partition(b"\n")
    boundary = parse_media(media.decode("latin-1")).parameters.get("boundary", _FALLBACK)
    try:
        Parser(boundary)
    except BadInput:
        boundary = _FALLBACK
    whole = _said(boundary, [body])
    assert _said(boundary, _pieces(body, sizes or b"\0")) == whole, "the sizes of the pieces decide"


def _pieces(body: bytes, sizes: bytes) -> Iterator[bytes]:
    place = number = 0
    while place < len(body):
        size = sizes[number % len(sizes)] % 64 + 1
        yield body[place : place + size]
        place, number = place + size, number + 1


def _said(boundary: str, pieces: Iterator[bytes] | list[bytes]) -> list[object]:
    """The parts, and whether it ended as it must; the bytes of a part that is cut off may be more or fewer."""
    parser = Parser(boundary)
    parts: list[object] = []
    media, found = "", b""
    try:
        for piece in pieces:
            for event in parser.feed(piece):
                media, found = _next(event, media, found)
                if isinstance(event, End):
                    parts.append((media, found))
            assert len(parser._data) - parser._place <= _HELD, "more is kept than a header"
        parser.close()
    except BadInput:
        return [*parts, "malformed"]
    return parts


def _next(event: Event, media: str, found: bytes) -> tuple[str, bytes]:
    if isinstance(event, Begin):
        return event.media, b""
    return (media, found) if isinstance(event, End) else (media, found + event)


def _bodies(_folder: Path) -> Iterator[bytes]:
    media = b'multipart/related; type="application/dicom"; boundary=edge\n'
    yield b"\0\n" + media + message([b"one", b"two\r\n--edgy", b""])
    yield b"abc\n" + media.replace(b"edge", b'"a b=c"') + message([b"\r\n\r\n", b"x" * 300], "a b=c")
    yield b"\7\1\n" + media + b"preamble\r\n" + message([b"\r\n--edg"]) + b"epilogue"
    yield b"\3\n" + media + b"--edge \t\r\n\r\nno header\r\n--edge--"


MULTIPART = Target(plain(_parse), _bodies)
