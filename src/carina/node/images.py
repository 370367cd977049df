"""Images of the archive, opened: their header, and frame by frame the pixels, without the rest of the file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Unpack

import numpy as np
from pydicom import Dataset, dcmread

from carina.dicom import frames, rendering
from carina.dicom.json import bulk_data
from carina.dicom.parse import parse
from carina.dicom.quiet import quiet
from carina.dicom.rendering import Drawing
from carina.dicom.transcode import encoded
from carina.errors import InvalidInstance, TooLarge
from carina.node import spans
from carina.node.retrieve import read
from carina.node.site import Node
from carina.node.spans import Span
from carina.storage.locate import Located

LARGEST = 1 << 29  # bytes of a file that is read whole, since the index does not say where its pixels lie
_TAGS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")  # Pixel Data (7FE0,0010), little and big endian
_PIXEL_DATA = "7FE00010"


@dataclass(frozen=True)
class Image:
    """An image whose frames, numbered from 1, are decoded one at a time. `whole`: the header has all pixels, too."""

    node: Node
    instance: Located
    header: Dataset
    whole: bool
    table: bytes | None = None

    def pixels(self, number: int) -> np.ndarray[Any, Any]:
        """`dicom.frames.decoded`."""
        if self.whole:
            return frames.decoded(self.header, number)
        return frames.decoded(frames.alone(self.header, self._stored(number)), 1)

    def native(self, number: int) -> bytes:
        """A frame without compression, in little endian order."""
        if self.whole and not frames.syntax_of(self.header).is_encapsulated:
            return frames.frame_bytes(self.header, number)[0]
        pixels = self.pixels(number)
        return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()

    def stored(self, number: int) -> bytes:
        """A compressed frame as it is stored."""
        return frames.frame_bytes(self.header, number)[0] if self.whole else self._stored(number)

    def encoded(self, number: int, syntax: str) -> bytes:
        """A frame in another compression that loses nothing. Raises `InvalidInstance` where that has no form."""
        return encoded(self.pixels(number), self.header, syntax)

    def draw(self, number: int, **how: Unpack[Drawing]) -> bytes:
        """A frame as a picture; by another process where the node has one for that and the frame can be sent there."""
        if self.whole:
            return rendering.render(self.header, number, **how)
        return self.node.pictures.draw(self.header, self._stored(number), number, how)

    def _stored(self, number: int) -> bytes:
        native = spans.native_span(self.instance, number)
        if native is not None:
            return spans.fetch(self.node, native)
        assert self.table is not None
        return frames.unwrapped(spans.fetch(self.node, spans.entry(self.instance, self.table, number)))


def open_image(node: Node, instance: Located, numbers: Sequence[int]) -> Image:
    """The instance, whose frames have these numbers, from 1. Raises `NotFound` for one that is not there."""
    spans.require_frames(instance, numbers)
    table = None if instance.frame_size is not None else spans.table_of(node, instance)
    if instance.pixel_offset is not None and (instance.frame_size is not None or table is not None):
        header = header_of(node, instance)
        if header is not None and not frames.has_swapped_bits(header):
            return Image(node, instance, header, whole=False, table=table)
    parsed = _parsed(node, instance)
    if max(numbers) > frames.count(parsed):
        raise spans.no_frame()
    return Image(node, instance, parsed, whole=True)


def header_of(node: Node, instance: Located) -> Dataset | None:
    """All that comes before the pixels; None where these are not those of Pixel Data."""
    head = spans.fetch(node, Span(instance.content, 0, instance.pixel_offset or 0))
    start = next((len(head) - back for back in (12, 8) if head[len(head) - back :][:4] in _TAGS), None)
    if start is None:
        return None
    try:
        with quiet():
            return dcmread(io.BytesIO(head[:start]))
    except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
        raise InvalidInstance("The stored file cannot be read.", "Have the archive checked.") from None


def binary_value(node: Node, instance: Located, path: str) -> list[spans.Piece]:
    """A binary value by its path in the metadata, as it is stored, or `NotFound`."""
    if path.upper() == _PIXEL_DATA:
        span = spans.pixel_data(node, instance)
        if span is not None:
            return [span]
    elif instance.pixel_offset is not None and path[:8].upper() < _PIXEL_DATA:
        header = header_of(node, instance)
        if header is not None:
            return [bulk_data(header, path)]
    return [bulk_data(_parsed(node, instance), path)]


def _parsed(node: Node, instance: Located) -> Dataset:
    if instance.size > LARGEST:
        raise TooLarge(
            "An object is too large to be taken apart for one request.", "Retrieve it whole: transfer-syntax=*."
        )
    return parse(read(node, instance))
