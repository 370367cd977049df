"""Whether a file's pixels must be looked at, and the look: what a worker of the folder tool does before the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from carina.deid.engine.files import Opened
from carina.deid.engine.walker import PIXEL_DATA, Pieces
from carina.deid.pixels.examine import examine
from carina.deid.pixels.finder import TextFinder
from carina.deid.pixels.findings import Findings, Need
from carina.deid.pixels.routes import layout, pixel_need
from carina.deid.pixels.screen import suspicious
from carina.dicom import frames
from carina.dicom.parse import parse
from carina.dicom.quiet import quiet
from carina.dicom.stretch import Stretch

_MOST_ROUTES = 4096
_WORDS = ("CS", "LO", "SH", "US", "IS")
_MORE = frozenset((0x00080016, 0x00280030, 0x00181164))
"""SOP Class UID, Pixel Spacing and Imager Pixel Spacing."""


_FLOATS = frozenset((0x7FE00008, 0x7FE00009))


@dataclass(frozen=True)
class Route:
    """What must be done with a file's pixels.

    layout  digest of what images that may show the same text have in common
    native  the frames, where they stand plainly in the file; None for all others
    """

    need: Need
    layout: str
    native: Native | None = None


@dataclass(frozen=True)
class Native:
    """How native grey frames lie in a file: the kind of number, rows, columns, and how many frames."""

    kind: np.dtype[Any]
    rows: int
    columns: int
    frames: int

    def of(self, source: Opened) -> Iterator[np.ndarray[Any, Any]]:
        """Each frame, one after the other; fewer where the file is cut short: the engine says so."""
        assert source.pieces is not None and source.pieces.pixels is not None
        _, _, start, end = source.pieces.pixels
        pixels, shape = self.rows * self.columns, (self.rows, self.columns)
        size = pixels * self.kind.itemsize
        if source.whole:
            for first in range(start, min(end, start + size * self.frames) - size + 1, size):
                yield np.frombuffer(source.data, self.kind, pixels, first).reshape(shape)
            return
        with source.path.open("rb", buffering=0) as file:
            file.seek(start)
            for _ in range(min(self.frames, (end - start) // size)):
                yield np.frombuffer(file.read(size), self.kind, pixels).reshape(shape)


class Looker:
    """The text finder of one process, and what it knows of headers that it has seen."""

    def __init__(self, options: tuple[str, ...], key: bytes) -> None:
        self._options = options
        self._key = key
        self._finder = TextFinder()
        self._routes: dict[bytes, Route] = {}

    def close(self) -> None:
        """End the text finder."""
        self._finder.close()

    def route(self, source: Opened) -> Route:
        """What the header asks for. Raises what `parse` raises where it is no header."""
        data, split = source.data, source.pieces
        if split is None:
            return self._routed(parse(data), False)
        telling = b"".join([data[start:end] for tag, start, _, end in split.elements if _tells(tag)])
        name = b"\0".join((split.syntax.encode(), bytes([split.pixels is None]), telling))
        route = self._routes.get(name)
        if route is None:
            if len(self._routes) >= _MOST_ROUTES:
                self._routes.clear()
            route = self._routes[name] = self._routed(_dataset(telling, split), split.pixels is not None)
        return route

    def _routed(self, dataset: Dataset, plain: bool) -> Route:
        with quiet():
            need = pixel_need(dataset, self._options)
            if need is not Need.SAMPLE:
                return Route(need, "")
            return Route(need, layout(dataset, self._key), _native(dataset) if plain else None)

    def is_suspicious(self, source: Opened, route: Route) -> bool:
        """Whether a frame of a plain image looks as if text were drawn in it."""
        if route.native is not None:
            return any(map(suspicious, route.native.of(source)))
        dataset = parse(source.all_of_it().data)
        return any(suspicious(frames.decoded(dataset, number)) for number in range(1, frames.count(dataset) + 1))

    def examine(self, source: Opened) -> Findings:
        """Search the pixels for text."""
        if source.whole:
            return examine(source.data, self._finder)
        with quiet():
            dataset = _streamed(source)
        with dataset.PixelData:
            return examine(dataset, self._finder)


@cache
def _tells(tag: int) -> bool:
    """Whether an attribute can tell of text in the pixels: words and sizes of machine, kind and image."""
    group = tag >> 16
    if group == 0x5200 or (0x6000 <= group <= 0x60FF and tag & 0xFFFF < 0x3000):
        return True
    known = group in (0x0008, 0x0018, 0x0028) and dictionary_has_tag(tag)
    return tag in _MORE or (known and dictionary_VR(tag) in _WORDS)


def _dataset(elements: bytes, split: Pieces) -> Dataset:
    """A dataset of these elements, with pixels, but empty ones, if there are some."""
    dataset = Dataset(read_dataset(BytesIO(elements), split.implicit, True))
    for tag in {tag for tag, *_ in split.elements} & _FLOATS | ({PIXEL_DATA} if split.pixels else set()):
        dataset[tag] = DataElement(tag, "OW", b"")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(split.syntax)
    return dataset


def _streamed(source: Opened) -> Dataset:
    """The dataset of a large file; its native pixels are read when they are asked for."""
    split = source.pieces
    assert split is not None and split.pixels is not None
    dataset = _dataset(b"".join([source.data[start:end] for _, start, _, end in split.elements]), split)
    dataset[PIXEL_DATA] = DataElement(PIXEL_DATA, "OW", Stretch(source.path, *split.pixels[2:]))
    return dataset


def _native(header: Dataset) -> Native | None:
    """How the frames lie, if they are native and grey."""
    if UID(header.file_meta.TransferSyntaxUID).is_encapsulated:
        return None
    try:
        bits, samples = int(header.BitsAllocated), int(header.get("SamplesPerPixel") or 1)
        kind = np.dtype(f"<{'i' if header.get('PixelRepresentation') else 'u'}{bits // 8}")
        found = Native(kind, int(header.Rows), int(header.Columns), int(header.get("NumberOfFrames") or 1))
    except (AttributeError, TypeError, ValueError):
        return None
    return found if samples == 1 and bits in (8, 16, 32) and found.rows and found.columns else None
