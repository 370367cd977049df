"""Lookup tables (PS3.3 sections C.7.6.3.1.5 and C.11): binary values that stay when they have the size they say.

Palettes stay only where the pixels need them.
"""

from __future__ import annotations

import re

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

_LUT = {0x00283006: 0x00283002}  # LUT Data
_PALETTES = {0x00281201: 0x00281101, 0x00281202: 0x00281102, 0x00281203: 0x00281103, 0x00281204: 0x00281104}
"""Red, green, blue, alpha: the table and its descriptor."""

_MOST_PRINTABLE = 0.75  # of a table's bytes
_FEWEST = 4  # letters and digits
_OF_WORDS = re.compile(rb"[A-Za-z0-9]")


def put_tables(clean: Dataset, dataset: Dataset) -> None:
    """Write the dataset's lookup tables into `clean`, without those that are not what their descriptors say."""
    wanted = _wants_palettes(dataset)
    for tag, descriptor in (_LUT | _PALETTES if wanted else _LUT).items():
        if tag in dataset and descriptor in dataset:
            value = dataset[tag].value
            if isinstance(value, bytes) and len(value) in _sizes(dataset[descriptor].value) and not _is_text(value):
                clean[tag] = dataset[tag]
    if not wanted:
        for descriptor in _PALETTES.values():
            clean.pop(descriptor, None)


def _wants_palettes(dataset: Dataset) -> bool:
    """Whether the pixels are numbers of colours, or are shown in colours beside their grey (PS3.3 C.7.6.23)."""
    return dataset.get("PhotometricInterpretation") == "PALETTE COLOR" or dataset.get("PixelPresentation") in (
        "COLOR",
        "MIXED",
    )


def _sizes(descriptor: object) -> tuple[int, ...]:
    """How many bytes a table of this descriptor (entries, first value, bits) may have."""
    if not isinstance(descriptor, MultiValue | list) or len(descriptor) != 3:
        return ()
    entries, _, bits = descriptor
    if not isinstance(entries, int) or not isinstance(bits, int) or not 8 <= bits <= 16:
        return ()
    count = entries & 0xFFFF or 1 << 16  # the descriptor may be read as signed, and 0 means 65,536
    return (count * 2,) if bits > 8 else (count + count % 2, count * 2)


def _is_text(value: bytes) -> bool:
    """Whether so many of the bytes are printable, zeros aside, that they may be a text."""
    told = value.replace(b"\0", b"")
    return len(_OF_WORDS.findall(told)) >= _FEWEST and sum(32 <= byte <= 126 for byte in told) > _MOST_PRINTABLE * len(
        told
    )
