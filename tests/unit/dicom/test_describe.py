"""What is told of a file equals what pydicom reads of it, on real files and odd ones."""

from __future__ import annotations

import json
import struct
from io import BytesIO
from typing import Any

import numpy as np
import orjson
import pydicom
import pytest
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)
from tests.support import corpus_files, ct, part10

from carina.dicom import describe
from carina.dicom.describe import described
from carina.dicom.frames import frame_bytes, unwrapped
from carina.dicom.json import to_json
from carina.dicom.parse import parse
from carina.errors import CarinaError


def by_pydicom(data: bytes) -> dict[str, Any]:
    dataset = parse(data)
    told = to_json(dataset)
    told["00083002"] = {"vr": "UI", "Value": [str(dataset.file_meta.TransferSyntaxUID)]}
    return json.loads(json.dumps(told))


def frames(data: bytes) -> list[bytes] | None:
    """As the place of each says; None where it says nothing."""
    told = described(data)
    if told.layout.offset is None or (told.layout.size is None and told.layout.table is None):
        return None
    if told.layout.size is not None:
        start, size = told.layout.offset, told.layout.size
        return [data[start + number * size : start + (number + 1) * size] for number in range(told.frames)]
    assert told.layout.table is not None
    places = struct.iter_unpack("<QQ", told.layout.table)
    return [unwrapped(data[offset : offset + size]) for offset, size in places]


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_real_files_are_told_as_pydicom_reads_them(step: int) -> None:
    checked = placed = 0
    for path in corpus_files()[::step]:
        data = path.read_bytes()
        if len(data) > 2_000_000 or data[128:132] != b"DICM":
            continue
        try:
            wanted = by_pydicom(data)
        except CarinaError:
            continue
        told = described(data)
        assert orjson.loads(told.header) == wanted, path.name
        assert list(orjson.loads(told.header)) == sorted(wanted)
        checked += 1
        found = frames(data)
        if found is not None:
            dataset = parse(data)
            if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
                continue
            assert found[0].rstrip(b"\0") == frame_bytes(dataset, 1)[0].rstrip(b"\0"), path.name
            placed += 1
    assert checked > 700 / step and placed > 500 / step


def test_the_plain_way_is_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(_data: bytes) -> None:
        raise AssertionError("a plain file was left to pydicom as a whole")

    monkeypatch.setattr(describe, "_parsed", never)
    for data in (ct(), part10(pydicom.dcmread(BytesIO(ct())), ImplicitVRLittleEndian)):
        assert described(data).frames == 1


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_each_encoding_says_the_same(syntax: str) -> None:
    dataset = pydicom.dcmread(BytesIO(ct()))
    dataset.add_new(0x00280106, "SS", -5)
    dataset.add_new(0x00280107, "SS", 70)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
    data = part10(dataset, syntax)
    assert orjson.loads(described(data).header) == by_pydicom(data)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientName", "Müller^Jörg=山田^太郎"),
        ("WindowCenter", ["40", "400.5", "1e3"]),
        ("StudyDescription", 'a "quoted" \\ and back'),
        ("SliceLocation", " 12.50"),
        ("AcquisitionNumber", ""),
        ("ImageComments", "two\r\nlines  "),
        ("AccessionNumber", " leading"),
        ("SOPInstanceUID", "1.2.3"),
    ],
)
def test_odd_values_are_told_as_pydicom_reads_them(keyword: str, value: Any) -> None:
    data = ct(elements={keyword: value})
    assert orjson.loads(described(data).header) == by_pydicom(data)
    assert orjson.loads(described(data).header) == by_pydicom(data)  # now from memory


def test_the_brief_is_a_part_of_the_header() -> None:
    told = described(ct())
    header, brief = orjson.loads(told.header), orjson.loads(told.brief)
    assert brief and all(header[tag] == element for tag, element in brief.items())
    assert told.of_level("study")["0020000D"] == header["0020000D"]
    assert "00083002" not in told.of_level("study")


def compressed(value: bytes, count: int, syntax: str = RLELossless) -> bytes:
    dataset = pydicom.dcmread(BytesIO(ct()))
    dataset.NumberOfFrames = count
    dataset.PixelData = value
    dataset["PixelData"].VR = "OB"
    return part10(dataset, syntax)


def test_fragments_are_found_by_each_way_of_telling_frames_apart() -> None:
    parts = [bytes([number]) * (10 + 2 * number) for number in range(1, 5)]
    assert frames(compressed(encapsulate(parts), 4)) == parts
    assert frames(compressed(encapsulate(parts, has_bot=False), 4)) == parts
    joined = b"".join(parts)
    assert frames(compressed(encapsulate(parts, has_bot=False), 1, JPEGBaseline8Bit)) == [joined]
    two_each = encapsulate([parts[0], parts[1]], fragments_per_frame=2)
    found = frames(compressed(two_each, 2))
    assert found is not None and [part.rstrip(b"\0") for part in found] == [part.rstrip(b"\0") for part in parts[:2]]
    value, _, _ = encapsulate_extended(parts)
    assert frames(compressed(value, 4)) == parts


def test_frames_that_cannot_be_told_apart_have_no_places() -> None:
    parts = [b"ab", b"cd", b"ef"]
    assert frames(compressed(encapsulate(parts, has_bot=False), 2)) is None


def test_single_bits_that_begin_inside_a_byte_have_no_places() -> None:
    dataset = pydicom.dcmread(BytesIO(ct(size=3)))
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit, dataset.NumberOfFrames, dataset.PixelData = 0, 2, b"\1\2\3\4"
    told = described(part10(dataset))
    assert told.layout.offset is not None and told.layout.size is None and told.layout.table is None


def of_syntax(syntax: str, dataset: bytes) -> bytes:
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    return bytes(128) + b"DICM\2\0\x10\0UI" + struct.pack("<H", len(value)) + value + dataset


@pytest.mark.parametrize(
    ("syntax", "dataset"),
    [
        (DeflatedExplicitVRLittleEndian, b"\xff\xff\xff\xff"),
        (ExplicitVRLittleEndian, b"\x08\0\x50\x11EI\2\0ab"),
        (ExplicitVRLittleEndian, b"\x08\0\x08\0C\xad\2\0ab"),
        ("1.2.840\x18", b"\x08\0\x60\0CS\2\0CT"),
    ],
    ids=["damaged-deflated", "unknown-vr", "no-letters-for-a-vr", "no-uid-for-a-syntax"],
)
def test_what_only_pydicom_could_read_and_cannot_is_refused_in_our_own_words(syntax: str, dataset: bytes) -> None:
    with pytest.raises(CarinaError):
        described(of_syntax(syntax, dataset))


def test_a_file_that_names_no_transfer_syntax_is_described_as_it_is_parsed() -> None:
    data = bytes(128) + b"DICM\x08\0\x60\0CS\2\0CT"
    assert orjson.loads(described(data).header) == by_pydicom(data)
