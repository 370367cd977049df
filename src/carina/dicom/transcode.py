"""The same instance, or frame, in another transfer syntax, PS3.5 annex A. Nothing is lost: each value stays."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.encoders.base import get_encoder
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from carina.dicom.parse import parse
from carina.dicom.quiet import quiet
from carina.errors import InvalidInstance

UNCOMPRESSED: frozenset[str] = frozenset((ExplicitVRLittleEndian, ImplicitVRLittleEndian))
COMPRESSED: frozenset[str] = frozenset((RLELossless, JPEGLSLossless, JPEG2000Lossless))
"""Transfer syntaxes that can be made here. None of them loses anything."""

_WIDTHS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}  # bytes of a word


def explicit_little_endian(data: bytes) -> bytes:
    """`transcoded` to what every reader knows: without compression, in Explicit VR Little Endian."""
    return transcoded(data, ExplicitVRLittleEndian)


def transcoded(data: bytes, syntax: str) -> bytes:
    """A Part 10 file in another transfer syntax, of `UNCOMPRESSED` or `COMPRESSED`.

    Its UID stays: lossless means the same values, and lossy compression has been declared in the header before. Raises
    what `parse` raises, and `InvalidInstance` when its compression cannot be undone, or its pixels have a form that the
    wanted compression does not know.
    """
    dataset = parse(data)
    try:
        with quiet():
            _undo(dataset)
            if syntax in COMPRESSED:
                _compress(dataset, UID(syntax))
            return _written(dataset, UID(syntax))
    except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
        raise InvalidInstance("The pixels of the image cannot be decoded, or not be given in this form.") from None


def encoded(pixels: np.ndarray[Any, Any], header: Dataset, syntax: str) -> bytes:
    """One frame, as `frames.decoded` gives it, in one of `COMPRESSED`. Raises `InvalidInstance` where that has no form.

    header  of the image; says how many of the allocated bits are used
    """
    samples = pixels.shape[2] if pixels.ndim == 3 else 1
    allocated = 8 * pixels.dtype.itemsize
    stored = header.get("BitsStored", allocated)
    try:
        with quiet():
            made = get_encoder(UID(syntax)).encode(
                pixels,
                rows=pixels.shape[0],
                columns=pixels.shape[1],
                number_of_frames=1,
                samples_per_pixel=samples,
                bits_allocated=allocated,
                bits_stored=min(int(stored), allocated),
                pixel_representation=1 if pixels.dtype.kind == "i" else 0,
                photometric_interpretation="RGB" if samples > 1 else str(header.PhotometricInterpretation),
                planar_configuration=0,
            )
            return bytes(made)  # some encoders give a bytearray
    except Exception:  # noqa: BLE001  encoders raise many kinds, and their words may quote values
        raise InvalidInstance("The pixels of the image cannot be given in this form.") from None


def can_encode(syntax: str) -> bool:
    """Whether pixels can be put into this transfer syntax here."""
    return syntax in COMPRESSED and get_encoder(UID(syntax)).is_available


def _undo(dataset: Dataset) -> None:
    """Take compression and big endian order away."""
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    if syntax.is_encapsulated and "PixelData" in dataset:
        dataset.decompress(generate_instance_uid=False)
    if syntax == ExplicitVRBigEndian:
        _swap(dataset)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def _compress(dataset: Dataset, syntax: UID) -> None:
    """Compress what `_undo` made plain."""
    pixels, _ = get_decoder(ExplicitVRLittleEndian).as_array(dataset, raw=True)
    if dataset.SamplesPerPixel > 1:
        dataset.PlanarConfiguration = 0
    dataset.compress(syntax, pixels, generate_instance_uid=False)


def _swap(dataset: Dataset) -> None:
    """Turn the words that pydicom leaves as bytes from big to little endian."""
    for element in dataset:
        width = _WIDTHS.get(str(element.VR), 1)
        if element.VR == "SQ":
            for item in element.value:
                _swap(item)
        elif width > 1 and element.value:
            if element.keyword == "PixelData":
                width = max(width, int(dataset.get("BitsAllocated", 16)) // 8)
            words = np.frombuffer(element.value, np.uint8)
            element.value = words.reshape(-1, width)[:, ::-1].tobytes()


def _written(dataset: Dataset, syntax: UID) -> bytes:
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    dcmwrite(file, dataset, implicit_vr=syntax.is_implicit_VR, little_endian=True, enforce_file_format=True)
    return file.getvalue()
