"""Whether a file's pixels must be looked at, and the look: what a worker of the folder tool does before the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from carina.deid.engine.files import Opened
from carina.deid.engine.walker import PIXEL_DATA
from carina.deid.pixels.examine import examine
from carina.deid.pixels.finder import TextFinder
from carina.deid.pixels.findings import Findings
from carina.deid.pixels.plain import Native, Route, Routes, header_of
from carina.deid.pixels.screen import suspicious
from carina.dicom import frames
from carina.dicom.parse import parse
from carina.dicom.quiet import quiet
from carina.dicom.stretch import Stretch
from carina.errors import CarinaError, InvalidInstance


class Looker:
    """The text finder of one process, and what it knows of headers that it has seen."""

    def __init__(self, options: tuple[str, ...], key: bytes) -> None:
        self._finder = TextFinder()
        self._routes = Routes(options, key)

    def close(self) -> None:
        """End the text finder."""
        self._finder.close()

    def route(self, source: Opened) -> Route:
        """What the header asks for. Raises what `parse` raises where it is no header."""
        with named():
            return self._routes.of(source.data, source.pieces)

    def is_suspicious(self, source: Opened, route: Route) -> bool:
        """Whether a frame of a plain image looks as if text were drawn in it."""
        with named():
            if route.native is not None:
                return any(map(suspicious, _frames(route.native, source)))
            dataset = parse(source.all_of_it().data)
            return any(suspicious(frames.decoded(dataset, number)) for number in range(1, frames.count(dataset) + 1))

    def examine(self, source: Opened) -> Findings:
        """Search the pixels for text."""
        with named():
            if source.whole:
                return examine(source.data, self._finder)
            dataset = _streamed(source)
            with dataset.PixelData:
                return examine(dataset, self._finder)


@contextmanager
def named() -> Iterator[None]:
    """What goes wrong within is raised as one of Carina's own errors, or as the system's where it cannot read."""
    with quiet():
        try:
            yield
        except (CarinaError, MemoryError, OSError):
            raise
        except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
            raise InvalidInstance("The DICOM file is damaged: its pixels cannot be looked at.") from None


def _frames(native: Native, source: Opened) -> Iterator[np.ndarray[Any, Any]]:
    """Each frame, one after the other; fewer where the file is cut short: the engine says so."""
    assert source.pieces is not None and source.pieces.pixels is not None
    _, _, start, end = source.pieces.pixels
    count = min(native.frames, (end - start) // native.size)
    if source.whole:
        for number in range(count):
            yield native.frame(source.data, start + number * native.size)
        return
    with source.path.open("rb", buffering=0) as file:
        file.seek(start)
        for _ in range(count):
            yield native.frame(file.read(native.size))


def _streamed(source: Opened) -> Dataset:
    """The dataset of a large file; its native pixels are read when they are asked for."""
    split = source.pieces
    assert split is not None and split.pixels is not None
    dataset = header_of(b"".join([source.data[start:end] for _, start, _, end in split.elements]), split)
    dataset[PIXEL_DATA] = DataElement(PIXEL_DATA, "OW", Stretch(source.path, *split.pixels[2:]))
    return dataset
