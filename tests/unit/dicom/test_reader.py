"""Bytes that are no dataset: the reader raises `ValueError` and nothing else."""

from __future__ import annotations

import pytest

from carina.dicom.reader import Encoding, elements, items, opened


def test_a_damaged_deflated_dataset_is_refused() -> None:
    syntax = b"1.2.840.10008.1.2.1.99"
    with pytest.raises(ValueError, match="deflated"):
        opened(bytes(128) + b"DICM\2\0\x10\0UI\x16\0" + syntax + b"\xff\xff\xff\xff")


@pytest.mark.parametrize("value", [b"\xfe\xff\0\xe0\0\0", b"\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0"])
def test_a_sequence_whose_item_is_cut_short_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="cut short"):
        list(items(value, 0, len(value), Encoding()))
    data = b"\x08\0\x15\x11SQ\0\0\xff\xff\xff\xff" + value
    with pytest.raises(ValueError, match="cut short"):
        list(elements(data, 0, len(data), Encoding()))
