"""Lookup tables (PS3.3 sections C.7.6.3.1.5 and C.11): binary values that stay when they have the size they say."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from carina.deid.texts import pieces

_DESCRIPTOR_OF = {
    0x00281201: 0x00281101,  # red, green, blue, alpha palette
    0x00281202: 0x00281102,
    0x00281203: 0x00281103,
    0x00281204: 0x00281104,
    0x00283006: 0x00283002,  # LUT Data
}


def put_tables(clean: Dataset, dataset: Dataset, own: frozenset[str]) -> None:
    """Write the dataset's lookup tables into `clean`, without those that are not what their descriptors say."""
    for tag, descriptor in _DESCRIPTOR_OF.items():
        if tag in dataset and descriptor in dataset:
            value = dataset[tag].value
            if isinstance(value, bytes) and len(value) in _sizes(dataset[descriptor].value) and not _holds(value, own):
                clean[tag] = dataset[tag]


def _sizes(descriptor: object) -> tuple[int, ...]:
    """How many bytes a table of this descriptor (entries, first value, bits) may have."""
    if not isinstance(descriptor, MultiValue | list) or len(descriptor) != 3:
        return ()
    entries, _, bits = descriptor
    if not isinstance(entries, int) or not isinstance(bits, int) or not 8 <= bits <= 16:
        return ()
    count = entries & 0xFFFF or 1 << 16  # the descriptor may be read as signed, and 0 means 65,536
    return (count * 2,) if bits > 8 else (count + count % 2, count * 2)


def _holds(value: bytes, own: frozenset[str]) -> bool:
    return not own.isdisjoint(pieces(value.decode("latin-1")))
