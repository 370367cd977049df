"""A file in pieces: the elements are those that pydicom finds, and what is unusual is left to pydicom."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from tests.support import ct, part10

from carina.deid.engine.walker import PIXEL_DATA, pieces, without_pixels


def slice_of(syntax: str) -> bytes:
    return part10(pydicom.dcmread(BytesIO(ct())), syntax)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_pieces_are_the_elements_that_pydicom_finds(syntax: str) -> None:
    data = slice_of(syntax)
    found, dataset = pieces(data), pydicom.dcmread(BytesIO(data))
    assert found is not None and found.pixels is not None
    assert found.syntax == syntax
    assert [piece[0] for piece in found.elements] + [PIXEL_DATA] == [int(tag) for tag in dataset.keys()]  # noqa: SIM118
    assert data[found.pixels[2] : found.pixels[3]] == dataset.PixelData
    assert found.pixels[3] == len(data)


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_sequences_of_known_and_of_unknown_length_are_one_piece_each(syntax: str, defined: bool) -> None:
    original = pydicom.dcmread(BytesIO(ct()))
    inner, outer = Dataset(), Dataset()
    inner.CodeValue = "1"
    outer.AnatomicRegionSequence = [inner, inner]
    original.SourceImageSequence = [outer, Dataset()]
    for dataset in (original, outer):
        for element in dataset:
            element.is_undefined_length = element.VR == "SQ" and not defined
    outer.is_undefined_length_sequence_item = not defined
    data = part10(original, syntax)
    found = pieces(data)
    assert found is not None
    (piece,) = [piece for piece in found.elements if piece[0] == 0x00082112]
    end = data[piece[1] : piece[3]].endswith(struct.pack("<HHL", 0xFFFE, 0xE0DD, 0))
    assert end is not defined
    assert found.elements[-1][3] <= len(data)


def test_compressed_frames_are_one_piece() -> None:
    found = pieces(Path(str(get_testdata_file("MR_small_RLE.dcm"))).read_bytes())
    assert found is not None and found.pixels is not None


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings_are_left_to_pydicom(syntax: str) -> None:
    assert pieces(slice_of(syntax)) is None


def test_what_is_cut_out_of_order_or_without_preamble_is_left_to_pydicom() -> None:
    data = slice_of(ExplicitVRLittleEndian)
    found = pieces(data)
    assert found is not None
    first, second = found.elements[3], found.elements[4]
    swapped = data[: first[1]] + data[second[1] : second[3]] + data[first[1] : first[3]] + data[second[3] :]
    for other in (data[:-1], data[: first[1] + 5], data[132:], swapped, data + b"\1\2\3\4", b""):
        assert pieces(other) is None


def test_a_file_that_says_implicit_and_is_not_is_left_to_pydicom() -> None:
    data = slice_of(ExplicitVRLittleEndian)
    lie = data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0", 1)
    assert pieces(lie) is None


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_head_and_tail_of_a_large_file_have_the_pieces_of_the_whole(syntax: str) -> None:
    original = pydicom.dcmread(BytesIO(ct()))
    original.add_new(0xFFFCFFFC, "OB", bytes(12))
    data = part10(original, syntax)
    whole = pieces(data)
    assert whole is not None and whole.pixels is not None
    _, _, start, end = whole.pixels
    found = without_pixels(data[: start + 100], data[end:])
    assert found is not None
    rest, parts = found
    assert [rest[piece[1] : piece[3]] for piece in parts.elements] == [
        data[piece[1] : piece[3]] for piece in whole.elements
    ]
    assert parts.pixels == whole.pixels
    assert without_pixels(data[: start - 20], data[end:]) is None
    assert without_pixels(data[: start + 100], b"no element") is None


def test_pixels_are_found_however_many_private_elements_stand_behind_them() -> None:
    dataset = pydicom.dcmread(BytesIO(ct()))
    for number in range(8):
        dataset.private_block(0xCB0D, "MAKER", create=True).add_new(number, "LO", "x")
    found = pieces(part10(dataset))
    assert found is not None and found.pixels is not None
    assert PIXEL_DATA not in [piece[0] for piece in found.elements]
