"""A search of one instance's pixels for text: look, blank, look again.

What a frame shows depends on how its values are made grey, so each is looked at in more than one way: over its whole
range, over the range of most of its pixels, and each value that is drawn in strokes by itself; numbers of colours both
in those colours and as they are, since two of them may look alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from carina.deid.pixels.blank import fill
from carina.deid.pixels.finder import TextFinder, finder_version
from carina.deid.pixels.findings import Box, Findings
from carina.deid.pixels.hidden import clear_overlay_bits
from carina.deid.pixels.screen import stroke_values
from carina.dicom import frames as of
from carina.dicom.kinds import is_measured_grey
from carina.dicom.parse import parse

Picture = np.ndarray[Any, Any]
EACH = 24  # frames that are all looked at; of more, so many that lie evenly among them, and what all have in common
ROUNDS = 3  # how often what is found is blanked and looked for again
CLEARLY = 1440  # pixels of the longer side: in a larger frame letters may become too small for the finder
TILE, SHARED = 1200, 160  # pixels: the side of the tiles in which it is looked at too, and what two have in common
MOST = 0.15  # of a frame
_STROKES = 2  # values drawn in strokes that are looked at by themselves
_COLOUR, _COLOURED = 60, 0.002  # between the channels of a coloured pixel; of the pixels, so many make a colour image
_ENDS, _SIDES = 0.35, 0.04  # of a line's height: how far letters may reach out of what is found
_SAME = 0.7  # of the smaller of two boxes: so much in common, and they are one line found twice


def examine(source: bytes | Dataset, finder: TextFinder) -> Findings:
    """Where text stands in an instance's pixels, so that nothing is found once it is blanked.

    Of grey values that a machine measured only what can be read counts, since vessels and bones may look like text.
    Raises `NotDicom`, `InvalidInstance` where the pixels cannot be decoded, and `Withheld` where the finder fails.
    """
    dataset = parse(source) if isinstance(source, bytes) else source
    clear_overlay_bits(dataset)
    plain = is_measured_grey(dataset)
    total = of.count(dataset)
    numbers = range(total) if total <= EACH else sorted({number * (total - 1) // (EACH - 1) for number in range(EACH)})
    palette = dataset if dataset.get("PhotometricInterpretation") == "PALETTE COLOR" else None
    boxes: list[Box] = []
    proven, size = True, 0
    for number, frame in _shown(dataset, list(numbers), total):
        found, clean = _search(frame, finder, plain, palette)
        boxes += [replace(box, frame=number) for box in found]
        proven, size = proven and clean, frame.shape[0] * frame.shape[1]
    return Findings(_joined(boxes, size), finder_version(), "machine", proven)


def _shown(dataset: Dataset, numbers: list[int], total: int) -> Iterator[tuple[int | None, Picture]]:
    """The frames to look at with their numbers; of many, also the brightest and darkest value of each pixel in all."""
    for number in numbers:
        yield (number if 1 < total <= EACH else None), of.decoded(dataset, number + 1)
    if total > len(numbers):
        brightest = darkest = of.decoded(dataset, 1)
        for number in range(2, total + 1):
            frame = of.decoded(dataset, number)
            brightest, darkest = np.maximum(brightest, frame), np.minimum(darkest, frame)
        yield None, brightest
        yield None, darkest


def _search(frame: Picture, finder: TextFinder, plain: bool, palette: Dataset | None) -> tuple[list[Box], bool]:
    """The boxes of one frame, and whether a last look found no more."""
    left, found = frame.copy(), list[Box]()
    for _ in range(ROUNDS):
        more = [box for part in _parts(left) for box in _seen(left, part, finder, plain, palette)]
        if not more:
            return found, True
        wider = _merged([_widened(box, frame.shape) for box in more])
        fill(left, wider)
        found += wider
    return found, False


def _parts(frame: Picture) -> Iterator[Box]:
    """The whole frame, and of one larger than the finder sees clearly the tiles in which strokes stand."""
    rows, columns = frame.shape[:2]
    yield Box(0, 0, rows, columns)
    if max(rows, columns) <= CLEARLY:
        return
    for top in _starts(rows):
        for left in _starts(columns):
            part = Box(top, left, min(top + TILE, rows), min(left + TILE, columns))
            piece = frame[part.top : part.bottom, part.left : part.right]
            if stroke_values(piece if piece.ndim == 2 else piece.min(axis=2)):
                yield part


def _starts(length: int) -> range:
    """Where tiles begin that cover a length, each `SHARED` into the next."""
    return range(0, max(length - SHARED, 1), TILE - SHARED)


def _seen(left: Picture, part: Box, finder: TextFinder, plain: bool, palette: Dataset | None) -> list[Box]:
    """The boxes in one part of a frame, by the places of the frame."""
    piece = left[part.top : part.bottom, part.left : part.right]
    found = [
        box for picture, doubtful in _views(piece, palette) for box in finder.find(picture, legible=plain or doubtful)
    ]
    return [
        Box(box.top + part.top, box.left + part.left, box.bottom + part.top, box.right + part.left) for box in found
    ]


def _widened(box: Box, shape: tuple[int, ...]) -> Box:
    """A box with what may reach out of it: strokes above and below, letters at both ends."""
    height, width = box.bottom - box.top, box.right - box.left
    short = min(height, width)
    ends, sides = max(3, round(short * _ENDS)), max(1, round(short * _SIDES))
    down, across = (sides, ends) if width >= height else (ends, sides)
    return Box(
        max(0, box.top - down),
        max(0, box.left - across),
        min(shape[0], box.bottom + down),
        min(shape[1], box.right + across),
    )


def _merged(boxes: list[Box]) -> list[Box]:
    """The boxes of one frame, those that are mostly the same place made one."""
    found: list[Box] = []
    for box in sorted(boxes, key=_area, reverse=True):
        for number, other in enumerate(found):
            if _area(_common(box, other)) >= _SAME * _area(box):
                found[number] = Box(
                    min(box.top, other.top),
                    min(box.left, other.left),
                    max(box.bottom, other.bottom),
                    max(box.right, other.right),
                )
                break
        else:
            found.append(box)
    return found


def _common(one: Box, other: Box) -> Box:
    return Box(
        max(one.top, other.top), max(one.left, other.left), min(one.bottom, other.bottom), min(one.right, other.right)
    )


def _area(box: Box) -> int:
    return max(0, box.bottom - box.top) * max(0, box.right - box.left)


def _views(frame: Picture, palette: Dataset | None) -> Iterator[tuple[Picture, bool]]:
    """A frame as pictures of unsigned bytes, rows, columns[, RGB], and whether each shows more than a person would see,
    so that only what can be read counts."""
    if palette is not None:
        yield _bytes(colours := apply_color_lut(frame, palette), colours.min(), colours.max()), False
    low, high = frame.min(), frame.max()
    if frame.ndim == 3:
        shown = frame if frame.dtype == np.uint8 else _bytes(frame, low, high)
        yield shown, False
        white = shown.min(axis=2)  # white letters stand out of colours here
        if (shown.max(axis=2) - white > _COLOUR).mean() > _COLOURED:
            yield white, True
        return
    if low == high:
        return
    yield _bytes(frame, low, high), palette is not None
    first, last = np.percentile(frame, (1, 99))
    if (last - first) < 0.6 * (float(high) - float(low)) and last > first and palette is None:
        yield _bytes(frame, first, last), False
    for value in stroke_values(frame)[:_STROKES]:
        yield (frame == value).astype(np.uint8) * 255, True


def _bytes(frame: Picture, low: float, high: float) -> Picture:
    scale = 255.0 / max(float(high) - float(low), 1e-9)
    return ((np.clip(frame.astype(np.float32), low, high) - float(low)) * scale).astype(np.uint8)


def _joined(boxes: list[Box], size: int) -> tuple[Box, ...]:
    """The boxes in order, each for every frame, since a line that was seen in one may stand in others unseen.

    size   pixels of a frame; boxes that cover more than `MOST` of it, as those of a text that moves do, stay with the
           frame in which each was found
    """
    places = _merged([replace(box, frame=None) for box in boxes])
    if sum(map(_area, places)) <= MOST * size or all(box.frame is None for box in boxes):
        return tuple(sorted(places, key=_place))
    return tuple(sorted(set(boxes), key=lambda box: (_place(box), -1 if box.frame is None else box.frame)))


def _place(box: Box) -> tuple[int, int, int, int]:
    return box.top, box.left, box.bottom, box.right
