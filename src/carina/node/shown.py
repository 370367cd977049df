"""What a series can be shown as: its windows, the values that browsers may have, or that there is nothing to show."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

import numpy as np
from pydicom import Dataset

from carina.dicom import rendering, suv, voi
from carina.dicom.windows import PRESETS, Preset
from carina.errors import InvalidInstance, NotFound
from carina.node.images import open_image
from carina.node.recent import Recent
from carina.node.site import Node
from carina.storage.locate import Located

OWN = Preset("own", "As the image says", 0, 0)
"""The window that the header names; without one, each slice's own range."""
FLOATS = "The values of these images are real numbers; the node draws each window, and no value is told."
BITS = "Each pixel of these images is only black or white."
UNUSABLE = "The window that the headers name cannot be used; another one was chosen."
NO_COLOURS = "The tables of colours of these images are missing or damaged; they are shown in grey."
LARGE = "These images have more pixels than are drawn here; retrieve them to see them."
SOME_DAMAGED = "Some images of this series cannot be read."
DAMAGED = "The pixels of the slice in the middle cannot be read, so that the range of values is not known."
NO_SUV = "The values are not shown as SUV: what that takes is not in the headers."
_SUV = (Preset("suv-5", "SUV 0 to 5", 2.5, 5, "linear-exact"), Preset("suv-10", "SUV 0 to 10", 5, 10, "linear-exact"))
_UNITS = {"HU": "HU", "BQML": "Bq/ml", "GML": "g/ml", "CNTS": "counts"}


@dataclass(frozen=True)
class Values:
    """Stored values of 16 bits that a browser may have: `value = stored * slope + intercept`, and times `scale` in SUV.

    unit    of what that gives, or ""
    invert  whether the lowest is white
    """

    type: str
    slope: float
    intercept: float
    unit: str
    invert: bool
    scale: float | None
    rows: int
    columns: int


@dataclass(frozen=True)
class Shown:
    """Of one frame. `kind`: grey, colour or none."""

    kind: str
    windows: tuple[Preset, ...]
    values: Values | None
    rate: float | None
    notes: tuple[str, ...]


_KEPT: Recent[Shown] = Recent(2000, lambda _: 1)


def shown(node: Node, instance: Located, frame: int) -> Shown:
    """What a frame can be shown as; worked out once for each content."""
    return _KEPT.of((instance.content, frame), lambda: _shown(node, instance, frame))


def _shown(node: Node, instance: Located, frame: int) -> Shown:
    try:
        image = open_image(node, instance, [frame])
        if _is_large(image.header):
            return Shown("none", (), None, None, (LARGE,))
        pixels = image.pixels(frame)
        values = rendering.values_in(image.header, pixels, frame)
    except (InvalidInstance, NotFound):
        return Shown("none", (), None, None, (DAMAGED,))
    header = image.header
    if values is None:
        return Shown("colour", (), None, _rate(header), ())
    bits = header.get("BitsAllocated") == 1
    notes = [FLOATS] if pixels.dtype.kind == "f" else [BITS] if bits else []
    notes += [NO_COLOURS] if rendering.is_palette(header) else []
    modality = str(header.get("Modality") or "")
    scale = None
    if modality == "PT":
        try:
            scale = suv.suv_factor(header)
        except InvalidInstance:
            notes.append(NO_SUV)
    presets = (
        tuple(replace(one, center=one.center / scale, width=one.width / scale) for one in _SUV)
        if scale
        else PRESETS.get(modality, ())
    )
    own = voi.own_windows(header, frame)
    notes += [UNUSABLE] if not own and voi.names_window(header, frame) else []
    windows = (OWN, *own, *(() if bits else presets), *voi.ranges(values))
    return Shown("grey", windows, values_for(header, pixels, frame, scale), _rate(header), tuple(notes))


def _is_large(header: Dataset) -> bool:
    try:
        return int(header.get("Rows") or 0) * int(header.get("Columns") or 0) > rendering.MAX_PIXELS
    except (TypeError, ValueError):
        return False


def values_for(header: Dataset, pixels: np.ndarray[Any, Any], frame: int, scale: float | None = None) -> Values | None:
    """How stored values become values, where a browser may have them: whole numbers of 16 bits or fewer, by a line."""
    if pixels.ndim != 2 or pixels.dtype.kind not in "ui" or pixels.dtype.itemsize > 2:
        return None
    lines = rendering.values_of_frame(header, frame)
    if "ModalityLUTSequence" in lines:
        return None
    try:
        slope, intercept = float(lines.get("RescaleSlope", 1)), float(lines.get("RescaleIntercept", 0))
    except (TypeError, ValueError):
        return None
    if not (isfinite(slope) and isfinite(intercept)):
        return None
    modality = str(header.get("Modality") or "")
    unit = str(lines.get("RescaleType") or header.get("RescaleType") or header.get("Units") or "")
    usual = "HU" if modality == "CT" and unit in ("", "US") else ""
    return Values(
        type="int16" if pixels.dtype.kind == "i" else "uint16",
        slope=slope,
        intercept=intercept,
        unit="SUV" if scale else _UNITS.get(unit.strip().upper(), usual),
        invert=str(header.get("PhotometricInterpretation") or "") == "MONOCHROME1",
        scale=scale,
        rows=pixels.shape[0],
        columns=pixels.shape[1],
    )


def _rate(header: Dataset) -> float | None:
    """Frames a second, of images that are films (PS3.3 section C.7.6.5)."""
    for keyword in ("RecommendedDisplayFrameRate", "CineRate"):
        if (found := _above_zero(header.get(keyword))) is not None:
            return min(found, 60.0)
    time = _above_zero(header.get("FrameTime"))
    return None if time is None else min(1000 / time, 60.0)


def _above_zero(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if 0 < number < 1e6 else None
