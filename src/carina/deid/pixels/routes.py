"""Whose pixels must be searched for text: by risk, never by what a header says to calm us.

Burned In Annotation (0028,0301) NO is not believed; YES is.
"""

from __future__ import annotations

import hashlib
import hmac

from pydicom.dataset import Dataset

from carina.deid.pixels.findings import Need
from carina.dicom.kinds import CLEAN_PIXEL_DATA, COMPUTED, shows_text_by_kind

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_LAYOUT = (
    "SOPClassUID",
    "Modality",
    "ImageType",
    "Manufacturer",
    "ManufacturerModelName",
    "StationName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "SeriesDescription",
    "ProtocolName",
    "Rows",
    "Columns",
    "BitsStored",
    "PhotometricInterpretation",
)


def pixel_need(dataset: Dataset, options: tuple[str, ...]) -> Need:
    """Whether an instance's pixels must be searched, by its header; nobody's without the option Clean Pixel Data."""
    if CLEAN_PIXEL_DATA not in options or not any(keyword in dataset for keyword in _PIXELS):
        return Need.NONE
    if shows_text_by_kind(dataset):
        return Need.ALL
    return Need.NONE if str(dataset.get("SOPClassUID", "")) in COMPUTED else Need.SAMPLE


def layout(dataset: Dataset, key: bytes) -> str:
    """What the images of one machine and protocol share, as a keyed digest (64 hex digits): one stands for the others.

    key   32 bytes, so that nobody else can tell machines by it
    """
    words = "\x1f".join(str(dataset.get(keyword, "")) for keyword in _LAYOUT)
    return hmac.digest(key, words.encode(), hashlib.sha256).hex()
