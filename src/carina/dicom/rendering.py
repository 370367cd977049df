"""A frame as a picture that a browser shows, PS3.18 section 8.3.5 and PS3.3 sections C.11.1 and C.11.2."""

from __future__ import annotations

import io
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, TypedDict, Unpack

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

from carina.dicom.frames import decoded
from carina.dicom.quiet import quiet
from carina.errors import BadInput, InvalidInstance

Picture = np.ndarray[Any, Any]
Media = Literal["image/png", "image/jpeg"]
MAX_SIDE = 4096  # pixels
MAX_PIXELS = 1 << 26  # of a frame that is drawn: four of 4096 × 4096
_WIDEST = 1e15  # of a window; beyond, doubles do not tell shades apart
_MODALITY = ("ModalityLUTSequence", "RescaleSlope", "RescaleIntercept")
_VOI = ("VOILUTSequence", "WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction")


@dataclass(frozen=True)
class Window:
    """Which values become black and white, in units after the modality LUT (Hounsfield in CT).

    shape   PS3.3 section C.11.2.1.3: "LINEAR", "LINEAR_EXACT" or "SIGMOID"
    """

    center: float
    width: float
    shape: str = "LINEAR"


@dataclass(frozen=True)
class Table:
    """The item of the header's VOI LUT Sequence (0028,3010) with this number, from 1, in place of a window."""

    number: int


@dataclass(frozen=True)
class Viewport:
    """The picture is at most `width` × `height` pixels and keeps its proportions; `region` is (x, y, width, height)
    of the source that is shown, None all of it.
    """

    width: int
    height: int
    region: tuple[int, int, int, int] | None = None


class Drawing(TypedDict, total=False):
    """How a picture is drawn. Without `window` the header's first applies, else the frame's own range."""

    window: Window | Table | None
    viewport: Viewport | None
    media: Media
    quality: int


def render(dataset: Dataset, frame: int = 1, **how: Unpack[Drawing]) -> bytes:
    """One frame, numbered from 1, as PNG or JPEG: grey in 8 bits, or RGB.

    Raises `NotFound`, `InvalidInstance`, and `BadInput` for a region outside of the image.
    """
    return draw(dataset, decoded(dataset, frame), frame, **how)


def draw(dataset: Dataset, pixels: Picture, frame: int = 1, **how: Unpack[Drawing]) -> bytes:
    """`render`, of a frame that has been decoded. `dataset`: the header of its image; pixels are not needed there."""
    viewport = how.get("viewport")
    try:
        with quiet(), np.errstate(all="ignore"):
            picture = Image.fromarray(_eight_bits(dataset, pixels, frame, how.get("window")))
    except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
        raise InvalidInstance("The image cannot be rendered: its header is not consistent.") from None
    if viewport is not None:
        picture = _fit(picture, viewport)
    file = io.BytesIO()
    if how.get("media") == "image/jpeg":
        picture.save(file, "JPEG", quality=how.get("quality", 90))
    else:
        picture.save(file, "PNG", compress_level=3)
    return file.getvalue()


def value_range(dataset: Dataset, frame: int = 1) -> tuple[float, float] | None:
    """The frame's lowest and highest value after the modality LUT, padding left out; None in colour.

    Raises as `render`.
    """
    values = values_in(dataset, decoded(dataset, frame), frame)
    return None if values is None else (float(values.min()), float(values.max()))


def values_in(dataset: Dataset, pixels: Picture, frame: int = 1) -> Picture | None:
    """The values after the modality LUT of a frame that has been decoded, in no order: finite ones, padding left out
    where that leaves any; None in colour. Raises `InvalidInstance`.
    """
    if pixels.ndim == 3 or (is_palette(dataset) and has_colours(dataset)):
        return None
    try:
        with quiet(), np.errstate(all="ignore"):
            values = np.asarray(apply_modality_lut(pixels, values_of_frame(dataset, frame)), np.float64)
            shown = _kept(dataset, pixels, values)
            return shown if shown.size else np.array([0.0, 1.0])
    except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
        raise InvalidInstance("The image cannot be rendered: its header is not consistent.") from None


def _eight_bits(dataset: Dataset, pixels: Picture, frame: int, window: Window | Table | None) -> Picture:
    if is_palette(dataset) and has_colours(dataset):
        return _narrow(apply_color_lut(pixels, dataset))
    if pixels.ndim == 3:
        return _narrow(pixels)
    span = _span(pixels)
    if span is None:
        return _grey(dataset, pixels, frame, window)
    low, kinds = span  # each value once: what it is shown as holds for all pixels that have it
    places = pixels.astype(np.int32) - low
    there = np.zeros(kinds.size, bool)
    there[places] = True
    shades = np.zeros(kinds.size, np.uint8)
    shades[there] = _grey(dataset, kinds[there], frame, window)
    return np.asarray(shades[places])


def is_palette(dataset: Dataset) -> bool:
    """Whether the stored values are places in tables of colours."""
    return str(dataset.get("PhotometricInterpretation", "")) == "PALETTE COLOR"


def has_colours(dataset: Dataset) -> bool:
    """Whether these tables are there and can be read; without, values are drawn in grey."""
    try:
        with quiet():
            apply_color_lut(np.zeros((1, 1), np.uint8), dataset)
    except Exception:  # noqa: BLE001  pydicom raises many kinds
        return False
    return True


def _span(pixels: Picture) -> tuple[int, Picture] | None:
    """The lowest value, and all from there to the highest; None where these are not fewer than pixels."""
    if pixels.dtype.kind not in "ui" or not pixels.size:
        return None
    low, high = int(pixels.min()), int(pixels.max())
    if high - low >= pixels.size or max(abs(low), abs(high)) >= 1 << 31:
        return None
    return low, np.arange(low, high + 1).astype(pixels.dtype)


def _grey(dataset: Dataset, pixels: Picture, frame: int, window: Window | Table | None) -> Picture:
    """Stored values as shades of grey, from 0 to 255."""
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    header = values_of_frame(dataset, frame)
    values = np.asarray(apply_modality_lut(pixels, header), np.float64)
    if isinstance(window, Window):
        header = _windowed(window)
    elif isinstance(window, Table):
        header.VOILUTSequence = [_table(header, window.number)]
    if "VOILUTSequence" in header or _usable(header):
        low, high, values = 0.0, 1.0, _scaled(values, pixels, header)
    else:
        low, high = _range(dataset, pixels, values)
        if not isfinite(high - low):
            values, low, high = values / 2, low / 2, high / 2
    grey = np.clip((np.nan_to_num(values) - low) / ((high - low) or 1.0), 0, 1) * 255
    if photometric == "MONOCHROME1":
        grey = 255 - grey
    return np.rint(grey).astype(np.uint8)


def values_of_frame(dataset: Dataset, frame: int) -> Dataset:
    """The modality and VOI attributes that hold for the frame: its own, the shared ones, or the image's."""
    header = Dataset()
    header.file_meta = dataset.file_meta  # for the byte order of tables
    shared = _item(dataset, "SharedFunctionalGroupsSequence", 0)
    own = _item(dataset, "PerFrameFunctionalGroupsSequence", frame - 1)
    places = [dataset]
    for group in (shared, own):
        if group is not None:
            places += [
                item
                for keyword in ("PixelValueTransformationSequence", "FrameVOILUTSequence")
                if (item := _item(group, keyword, 0)) is not None
            ]
    for place in places:
        for keyword in (*_MODALITY, *_VOI):
            if not _is_empty(place.get(keyword)):
                header[keyword] = place[keyword]
    header.PixelRepresentation = dataset.get("PixelRepresentation", 0)
    header.BitsStored = dataset.get("BitsStored", 16)
    header.PhotometricInterpretation = "MONOCHROME2"
    return header


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | MultiValue | Sequence) and not value)


def _item(dataset: Dataset, keyword: str, number: int) -> Dataset | None:
    value = dataset.get(keyword)
    return value[number] if isinstance(value, Sequence) and number < len(value) else None


def _table(header: Dataset, number: int) -> Dataset:
    tables = header.get("VOILUTSequence") or []
    if not 1 <= number <= len(tables):
        raise InvalidInstance("The image has no such table.")
    item: Dataset = tables[number - 1]
    return item


def _usable(header: Dataset) -> bool:
    """Whether the header's window shows something: finite, and wide enough for its shape."""
    if "WindowCenter" not in header or "WindowWidth" not in header:
        return False
    center, width = float(_first(header.WindowCenter)), float(_first(header.WindowWidth))
    return isfinite(center) and isfinite(width) and 0 < width < _WIDEST and abs(center) < _WIDEST


def _windowed(window: Window) -> Dataset:
    header = Dataset()
    header.WindowCenter, header.WindowWidth = _decimal(window.center), _decimal(window.width)
    header.VOILUTFunction = window.shape
    header.BitsStored, header.PixelRepresentation = 16, 0
    header.PhotometricInterpretation = "MONOCHROME2"
    return header


def _decimal(number: float) -> str:
    """A number as a decimal string of at most 16 characters (VR DS)."""
    return f"{number:.9g}"


def _scaled(values: Picture, pixels: Picture, header: Dataset) -> Picture:
    """The values after VOI LUT or window, from 0 to 1."""
    if "VOILUTSequence" in header:
        header.VOILUTSequence = header.VOILUTSequence[:1]
        stored = np.rint(values).astype(np.int64) if pixels.dtype.kind in "ui" else values
        out = apply_voi_lut(stored, header, prefer_lut=True)
        bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
        return np.asarray(out, np.float64) / float(2 ** max(bits, 1) - 1)
    center, width = float(_first(header.WindowCenter)), float(_first(header.get("WindowWidth", 1)))
    shape = str(header.get("VOILUTFunction", "LINEAR")).strip().upper()
    if shape == "SIGMOID" and width > 0:
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -500, 500))))
    if shape == "LINEAR_EXACT":
        return (values - center) / max(width, 1e-9) + 0.5
    if width <= 1:
        return np.where(values <= center - 0.5, 0.0, 1.0)
    return (values - (center - 0.5)) / (width - 1) + 0.5


def _first(value: Any) -> Any:
    return value if isinstance(value, str | float | int) else value[0]


def _range(dataset: Dataset, pixels: Picture, values: Picture) -> tuple[float, float]:
    shown = _kept(dataset, pixels, values)
    return (float(shown.min()), float(shown.max())) if shown.size else (0.0, 1.0)


def _kept(dataset: Dataset, pixels: Picture, values: Picture) -> Picture:
    """The finite values, padding left out (PS3.3 section C.7.5.1.1.2)."""
    kept = np.isfinite(values)
    padding = dataset.get("PixelPaddingValue")
    if isinstance(padding, int):
        limit = dataset.get("PixelPaddingRangeLimit")
        low, high = sorted((padding, limit if isinstance(limit, int) else padding))
        kept &= (pixels < low) | (pixels > high)
    return np.asarray(values[kept])


def _narrow(colour: Picture) -> Picture:
    """Colour in 8 bits a sample; an alpha channel is left out."""
    colour = colour[..., :3]
    return (colour >> 8).astype(np.uint8) if colour.dtype.itemsize > 1 else colour.astype(np.uint8)


def _fit(picture: Image.Image, viewport: Viewport) -> Image.Image:
    if viewport.region is not None:
        x, y, width, height = viewport.region
        right, bottom = min(x + width, picture.width), min(y + height, picture.height)
        if x >= right or y >= bottom:
            raise BadInput("The part of the image that is asked for lies outside of it.")
        picture = picture.crop((x, y, right, bottom))
    scale = min(viewport.width / picture.width, viewport.height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture if size == picture.size else picture.resize(size, Image.Resampling.LANCZOS)
