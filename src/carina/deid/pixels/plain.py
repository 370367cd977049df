"""The route of a file that was taken to pieces: of its header only what tells of its pixels is read, and remembered."""

from __future__ import annotations

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

from carina.deid.engine.walker import PIXEL_DATA, Pieces
from carina.deid.pixels.findings import Need
from carina.deid.pixels.routes import layout, pixel_need
from carina.dicom.parse import parse
from carina.dicom.quiet import quiet

_MOST_ROUTES = 4096
_WORDS = ("CS", "LO", "SH", "US", "IS")
_MORE = frozenset((0x00080016, 0x00280030, 0x00181164))
"""SOP Class UID, Pixel Spacing and Imager Pixel Spacing."""
_FLOATS = frozenset((0x7FE00008, 0x7FE00009))


@dataclass(frozen=True)
class Native:
    """How native grey frames lie in a file: the kind of number, rows, columns, and how many frames."""

    kind: np.dtype[Any]
    rows: int
    columns: int
    frames: int

    @property
    def size(self) -> int:
        """Bytes of a frame."""
        return self.rows * self.columns * self.kind.itemsize

    def frame(self, data: bytes, first: int = 0) -> np.ndarray[Any, Any]:
        """The frame that begins at byte `first` of `data`."""
        return np.frombuffer(data, self.kind, self.rows * self.columns, first).reshape(self.rows, self.columns)


@dataclass(frozen=True)
class Route:
    """What must be done with a file's pixels.

    layout  digest of what images that may show the same text have in common
    native  the frames, where they stand plainly in the file; None for all others
    """

    need: Need
    layout: str
    native: Native | None = None


class Routes:
    """The routes of files under a profile's options; headers that say the same are read once.

    key   as of `routes.layout`
    """

    def __init__(self, options: tuple[str, ...], key: bytes) -> None:
        self._options = options
        self._key = key
        self._known: dict[bytes, Route] = {}

    def of(self, data: bytes, split: Pieces | None) -> Route:
        """The route of a file; `split` is None for one that only pydicom reads. Raises what `parse` raises."""
        if split is None:
            return self._routed(parse(data), False)
        telling = b"".join([data[start:end] for tag, start, _, end in split.elements if _tells(tag)])
        name = b"\0".join((split.syntax.encode(), bytes([split.pixels is None]), telling))
        route = self._known.get(name)
        if route is None:
            if len(self._known) >= _MOST_ROUTES:
                self._known.clear()
            route = self._known[name] = self._routed(header_of(telling, split), split.pixels is not None)
        return route

    def _routed(self, dataset: Dataset, plain: bool) -> Route:
        with quiet():
            need = pixel_need(dataset, self._options)
            if need is not Need.SAMPLE:
                return Route(need, "")
            return Route(need, layout(dataset, self._key), _native(dataset) if plain else None)


def header_of(elements: bytes, split: Pieces) -> Dataset:
    """A dataset of these elements, with pixels, but empty ones, if there are some."""
    with quiet():
        dataset = Dataset(read_dataset(BytesIO(elements), split.implicit, True))
    for tag in {tag for tag, *_ in split.elements} & _FLOATS | ({PIXEL_DATA} if split.pixels else set()):
        dataset[tag] = DataElement(tag, "OW", b"")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(split.syntax)
    return dataset


@cache
def _tells(tag: int) -> bool:
    """Whether an attribute can tell of text in the pixels: words and sizes of machine, kind and image."""
    group = tag >> 16
    if group == 0x5200 or (0x6000 <= group <= 0x60FF and tag & 0xFFFF < 0x3000):
        return True
    known = group in (0x0008, 0x0018, 0x0028) and dictionary_has_tag(tag)
    return tag in _MORE or (known and dictionary_VR(tag) in _WORDS)


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
