"""Rectangles of an image, filled with their ground."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from carina.deid.pixels.findings import Box
from carina.dicom import frames as of
from carina.dicom.quiet import quiet
from carina.errors import CarinaError, Withheld
from carina.model.instance import Reason

Picture = np.ndarray[Any, Any]
MOST = 512 << 20  # bytes that an image may have when it cannot be compressed again and is written as it is
_RING = 3  # pixels around a rectangle that tell of its ground, too
_LOSSLESS = tuple(f"1.2.840.10008.1.2.{end}" for end in ("5", "4.80", "4.90", "4.91"))
"""RLE, JPEG-LS, and JPEG 2000, which is written reversibly in both of its syntaxes."""


def fill(frame: Picture, boxes: Iterable[Box]) -> None:
    """Fill rectangles of a frame (rows, columns[, samples]), each with one value: the median of what it and its edge
    show, which is their ground, since letters cover less than half of it."""
    for box in boxes:
        top, left = max(box.top, 0), max(box.left, 0)
        seen = frame[max(top - _RING, 0) : box.bottom + _RING, max(left - _RING, 0) : box.right + _RING]
        if seen.size:
            ground = np.percentile(seen.reshape(-1, *frame.shape[2:]), 50, axis=0, method="nearest")
            frame[top : box.bottom, left : box.right] = ground.astype(frame.dtype)


def blank_pixels(dataset: Dataset, boxes: tuple[Box, ...]) -> None:
    """Fill these rectangles in the dataset's Pixel Data; other pixels stay as they are, other frames bit for bit.

    Where a frame cannot be compressed again without loss, all become native: the transfer syntax changes then. Raises
    `Withheld` (pixels not checked) where that would be too large or the pixels cannot be decoded.
    """
    if not boxes:
        return
    try:
        with quiet():
            if of.syntax_of(dataset).is_encapsulated:
                _blank_compressed(dataset, boxes)
            else:
                _blank_native(dataset, boxes)
    except CarinaError as error:
        raise _cannot() from error
    except Exception:  # noqa: BLE001  codecs raise many kinds, and their words may quote values
        raise _cannot() from None


def _cannot() -> Withheld:
    return Withheld(Reason.PIXELS_NOT_CHECKED, "Text was found in its pixels, and they cannot be written again.")


def _of(boxes: tuple[Box, ...], frame: int) -> list[Box]:
    return [box for box in boxes if box.frame is None or box.frame == frame]


def _blank_native(dataset: Dataset, boxes: tuple[Box, ...]) -> None:
    keyword = next(name for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if name in dataset)
    total, data = of.count(dataset), bytearray(dataset[keyword].value)
    shape, kind = _native_form(dataset, keyword)
    size = int(np.prod(shape)) * kind.itemsize
    bits = dataset.get("BitsAllocated") == 1 and keyword == "PixelData"
    if bits:
        _blank_bits(data, dataset, boxes, total)
    elif dataset.get("PhotometricInterpretation") in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        _blank_halved(data, dataset, boxes, total)
    else:
        planar = len(shape) == 3 and int(dataset.get("PlanarConfiguration") or 0) == 1
        for number in range(total):
            wanted = _of(boxes, number)
            if wanted:
                frame = np.frombuffer(data, kind, size // kind.itemsize, number * size)
                view = frame.reshape(shape[2], *shape[:2]).transpose(1, 2, 0) if planar else frame.reshape(shape)
                fill(view, wanted)
    dataset[keyword].value = bytes(data)


def _native_form(dataset: Dataset, keyword: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """The shape of a frame, and the kind of number in which its samples are stored."""
    samples = int(dataset.get("SamplesPerPixel") or 1)
    shape = (int(dataset.Rows), int(dataset.Columns), *((samples,) if samples > 1 else ()))
    order = ">" if of.syntax_of(dataset) == ExplicitVRBigEndian else "<"
    if keyword != "PixelData":
        return shape, np.dtype(f"{order}f{4 if keyword == 'FloatPixelData' else 8}")
    sign = "i" if dataset.get("PixelRepresentation") == 1 else "u"
    return shape, np.dtype(f"{order}{sign}{max(int(dataset.BitsAllocated) // 8, 1)}")


def _blank_bits(data: bytearray, dataset: Dataset, boxes: tuple[Box, ...], total: int) -> None:
    """Single bits, PS3.5 section 8.1.1: frames follow each other without a gap."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
    for number in range(total):
        first = number * rows * columns
        fill(bits[first : first + rows * columns].reshape(rows, columns), _of(boxes, number))
    data[:] = np.packbits(bits, bitorder="little").tobytes()


def _blank_halved(data: bytearray, dataset: Dataset, boxes: tuple[Box, ...], total: int) -> None:
    """YBR with halved colour, PS3.3 section C.7.6.3.1.2: two luminances, then both colours, for each two pixels."""
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    size = rows * columns * 2
    for number in range(total):
        pairs = np.frombuffer(data, np.uint8, size, number * size).reshape(rows, columns // 2, 4)
        fill(pairs, [Box(box.top, box.left // 2, box.bottom, (box.right + 1) // 2) for box in _of(boxes, number)])


def _blank_compressed(dataset: Dataset, boxes: tuple[Box, ...]) -> None:
    syntax, total = str(of.syntax_of(dataset)), of.count(dataset)
    if syntax not in _LOSSLESS:
        _blank_decoded(dataset, boxes, total)
        return
    coded = list(generate_frames(dataset.PixelData, number_of_frames=total))
    try:
        for number in range(total):
            wanted = _of(boxes, number)
            if wanted:
                coded[number] = _coded_again(dataset, number, wanted, syntax)
    except RuntimeError:  # the encoder's, as for frames too small for its resolutions
        _blank_decoded(dataset, boxes, total)
        return
    dataset.PixelData = encapsulate(coded)
    dataset["PixelData"].is_undefined_length = True


def _coded_again(dataset: Dataset, number: int, boxes: list[Box], syntax: str) -> bytes:
    """A frame with rectangles filled, compressed without loss. Colours stay as they are coded, unless JPEG 2000's own
    transform made them, which is undone and made again."""
    frame, form = _decoded(dataset, number)
    fill(frame, boxes)
    uid = UID(syntax)
    if frame.ndim == 3 and form == "RGB" and uid.startswith("1.2.840.10008.1.2.4.9"):
        form = "YBR_RCT"
    encoder = get_encoder(UID("1.2.840.10008.1.2.4.90") if syntax.endswith(".91") else uid)
    if form == "YBR_RCT":
        dataset.PhotometricInterpretation = form
    return encoder.encode(
        frame,
        rows=frame.shape[0],
        columns=frame.shape[1],
        number_of_frames=1,
        samples_per_pixel=1 if frame.ndim == 2 else frame.shape[2],
        photometric_interpretation=form,
        bits_allocated=dataset.BitsAllocated,
        bits_stored=dataset.BitsStored,
        pixel_representation=dataset.PixelRepresentation,
        planar_configuration=0,
    )


def _decoded(dataset: Dataset, number: int) -> tuple[Picture, str]:
    """One frame as its samples are stored, and their colour space."""
    from pydicom.pixels.decoders.base import get_decoder

    array, told = get_decoder(of.syntax_of(dataset)).as_array(dataset, index=number, raw=True)
    return array.copy(), str(told["photometric_interpretation"])


def _blank_decoded(dataset: Dataset, boxes: tuple[Box, ...], total: int) -> None:
    """The whole image as native pixels, where its compression cannot be done again without loss."""
    made: list[bytes] = []
    form = ""
    for number in range(total):
        frame, form = _decoded(dataset, number)
        if frame.nbytes * total > MOST:
            raise _cannot()
        fill(frame, _of(boxes, number))
        made.append(frame.tobytes())
    data = b"".join(made)
    dataset.PixelData = data + bytes(len(data) % 2)
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated <= 8 else "OW"
    dataset["PixelData"].is_undefined_length = False
    dataset.PhotometricInterpretation = "YBR_FULL" if form == "YBR_FULL_422" else form  # decoded, no colour is halved
    if dataset.get("SamplesPerPixel", 1) > 1:
        dataset.PlanarConfiguration = 0
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        dataset.pop(keyword, None)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
