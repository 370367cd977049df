"""The same instance in another transfer syntax, PS3.5 annex A."""

from __future__ import annotations

import io

import numpy as np
from pydicom import Dataset, dcmwrite
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from carina.dicom.parse import parse
from carina.dicom.quiet import quiet
from carina.errors import InvalidInstance


def explicit_little_endian(data: bytes) -> bytes:
    """A Part 10 file with its pixels decompressed, in Explicit VR Little Endian, which every reader knows.

    Its UID stays: lossless means the same values, and lossy compression has been declared in the header before. Raises
    what `parse` raises, and `InvalidInstance` when the compression cannot be undone.
    """
    dataset = parse(data)
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    try:
        with quiet():
            if syntax.is_encapsulated and "PixelData" in dataset:
                dataset.decompress(generate_instance_uid=False)
            if syntax == ExplicitVRBigEndian:
                _swap(dataset)
            return _written(dataset)
    except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
        raise InvalidInstance("The pixels of the image cannot be decoded.") from None


_WIDTHS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}  # bytes of a word


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


def _written(dataset: Dataset) -> bytes:
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    dcmwrite(file, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return file.getvalue()
