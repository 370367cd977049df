"""Compressed pixel data keeps its pixels and nothing beside them."""

from __future__ import annotations

import struct
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, get_frame
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless
from tests.support import ct, part10

from carina.deid.engine.rewrite import deidentify
from carina.deid.pixels.streams import jpeg, jpeg_2000, rle
from carina.deid.profile import load_profile
from carina.deid.pseudonyms import ProjectKeys
from carina.errors import Withheld
from carina.model.ids import ProjectId
from carina.model.instance import RawInstance, Reason

LUNG = ProjectId("lung")
KEYS = ProjectKeys.of(b"k" * 32, LUNG)
BASIC = load_profile("basic")
SECRET = b"Kim Lee 02-01-1960"
COMMENT = b"\xff\xfe" + struct.pack(">H", len(SECRET) + 2) + SECRET
FILES = {
    JPEGLosslessSV1: "SC_rgb_jpeg_gdcm.dcm",
    JPEG2000Lossless: "MR_small_jp2klossless.dcm",
    JPEGLSLossless: "MR_small_jpeg_ls_lossless.dcm",
    RLELossless: "MR_small_RLE.dcm",
}


def image(syntax: str, frame: bytes | None = None) -> Dataset:
    """A compressed slice of a person called Kim Lee, with these bytes as its frame."""
    dataset = pydicom.dcmread(str(get_testdata_file(FILES[pydicom.uid.UID(syntax)])))
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.Modality, dataset.PatientName, dataset.PatientID = "MR", "Kim^Lee", "MRN-1"
    dataset.PhotometricInterpretation = "MONOCHROME2"
    if "ConversionType" in dataset:
        del dataset.ConversionType
    if frame is not None:
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].is_undefined_length = True
    return dataset


def frame_of(syntax: str) -> bytes:
    """The file's frame without what its writer noted in it."""
    frame = get_frame(image(syntax).PixelData, 0, number_of_frames=1)
    if syntax == RLELossless:
        return bytes(frame)
    return jpeg_2000(frame) if syntax == JPEG2000Lossless else jpeg(frame)


def clean(dataset: Dataset, syntax: str) -> bytes:
    return deidentify(RawInstance(part10(dataset, syntax)), BASIC, KEYS, project=LUNG).data


def assert_withheld(dataset: Dataset, syntax: str) -> None:
    with pytest.raises(Withheld) as caught:
        clean(dataset, syntax)
    assert caught.value.reason == Reason.PIXELS_NOT_CHECKED


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_an_ordinary_compressed_slice_passes_with_the_same_pixels(syntax: str) -> None:
    found = pydicom.dcmread(BytesIO(clean(image(syntax), syntax)))
    assert np.array_equal(found.pixel_array, image(syntax).pixel_array)
    assert get_frame(found.PixelData, 0).rstrip(b"\0") == frame_of(syntax).rstrip(b"\0")


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless])
def test_comments_and_application_data_of_jpeg_are_dropped(syntax: str) -> None:
    frame = frame_of(syntax)
    application = b"\xff\xe1" + COMMENT[2:]
    out = clean(image(syntax, frame[:2] + COMMENT + application + frame[2:]), syntax)
    assert SECRET not in out
    found = get_frame(pydicom.dcmread(BytesIO(out)).PixelData, 0)
    assert found == frame


def test_the_colour_marks_of_jpeg_stay_when_they_are_nothing_else() -> None:
    frame = frame_of(JPEGLosslessSV1)
    jfif = b"\xff\xe0\x00\x10JFIF\0\1\2\0\0\1\0\1\0\0"
    adobe = b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0\1"
    thumbnail = b"\xff\xe0\x00\x13JFIF\0\1\2\0\0\1\0\1\1\1abc"
    cleaned = jpeg(frame[:2] + jfif + adobe + thumbnail + frame[2:])
    assert jfif in cleaned
    assert adobe in cleaned
    assert thumbnail not in cleaned


def test_a_comment_in_the_main_header_of_jpeg_2000_is_dropped() -> None:
    frame = frame_of(JPEG2000Lossless)
    comment = b"\xff\x64" + struct.pack(">HH", len(SECRET) + 4, 1) + SECRET
    place = frame.index(b"\xff\x90")
    out = clean(image(JPEG2000Lossless, frame[:place] + comment + frame[place:]), JPEG2000Lossless)
    assert SECRET not in out
    assert np.array_equal(pydicom.dcmread(BytesIO(out)).pixel_array, image(JPEG2000Lossless).pixel_array)


def test_a_comment_in_a_tile_of_jpeg_2000_waits() -> None:
    frame = frame_of(JPEG2000Lossless)
    comment = b"\xff\x64" + struct.pack(">HH", len(SECRET) + 4, 1) + SECRET
    place = frame.index(b"\xff\x90") + 12
    length = struct.unpack_from(">I", frame, place - 6)[0] + len(comment)
    changed = frame[: place - 6] + struct.pack(">I", length) + frame[place - 2 : place] + comment + frame[place:]
    assert_withheld(image(JPEG2000Lossless, changed), JPEG2000Lossless)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_bytes_behind_the_end_of_a_compressed_frame_are_dropped(syntax: str) -> None:
    assert SECRET not in clean(image(syntax, frame_of(syntax) + SECRET), syntax)


def test_bytes_in_the_place_of_the_offset_table_are_dropped() -> None:
    dataset = image(JPEG2000Lossless)
    table = b"\xfe\xff\x00\xe0" + struct.pack("<I", 20) + b"KIM LEE 19600102    "
    dataset.PixelData = table + encapsulate([frame_of(JPEG2000Lossless)], has_bot=False)[8:]
    dataset["PixelData"].is_undefined_length = True
    try:
        assert b"KIM LEE" not in clean(dataset, JPEG2000Lossless)
    except Withheld as held:
        assert held.reason == Reason.PIXELS_NOT_CHECKED


def test_an_extended_offset_table_gives_way_to_a_plain_one_that_is_true() -> None:
    dataset = image(JPEG2000Lossless)
    frame = frame_of(JPEG2000Lossless)
    dataset.PixelData, _, lengths = encapsulate_extended([frame, frame])
    dataset["PixelData"].is_undefined_length = True
    dataset.NumberOfFrames = 2
    dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = b"KIM LEE 19600102", lengths
    found = pydicom.dcmread(BytesIO(clean(dataset, JPEG2000Lossless)))
    assert "ExtendedOffsetTable" not in found
    assert "ExtendedOffsetTableLengths" not in found
    assert found.PixelData[:16] == b"\xfe\xff\x00\xe0\x08\0\0\0\0\0\0\0" + struct.pack("<I", len(frame) + 8)
    assert [get_frame(found.PixelData, place) for place in (0, 1)] == [frame, frame]


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless, JPEGLSLossless, RLELossless])
def test_what_is_no_stream_of_its_transfer_syntax_waits(syntax: str) -> None:
    frame = frame_of(syntax)
    for wrong in (SECRET, frame[: len(frame) // 2], b"\0" * 200, frame[:2] + SECRET + frame[2:]):
        assert_withheld(image(syntax, wrong), syntax)


def test_fewer_or_more_frames_than_the_header_says_wait() -> None:
    dataset = image(JPEG2000Lossless)
    dataset.NumberOfFrames = 3
    assert_withheld(dataset, JPEG2000Lossless)


def test_a_text_among_coded_pixels_waits() -> None:
    frame = frame_of(JPEGLosslessSV1).rstrip(b"\0")
    with pytest.raises(ValueError, match="text"):
        jpeg(frame[:-2] + b"Garcia Maria, born in Madrid 1960" + frame[-2:])


def test_segments_of_an_unknown_kind_or_a_wrong_length_are_refused() -> None:
    frame = frame_of(JPEGLosslessSV1)
    for marker in (0x02, 0xBF, 0xF0, 0xFD, 0xC8):
        with pytest.raises(ValueError, match="unknown kind"):
            jpeg(frame[:2] + bytes((0xFF, marker)) + COMMENT[2:] + frame[2:])
    with pytest.raises(ValueError, match="unknown kind"):
        jpeg(frame[:2] + b"\xff\xdd" + COMMENT[2:] + frame[2:])
    with pytest.raises(ValueError, match="no JPEG 2000"):
        jpeg_2000(b"\0\0\0\x0cjP  " + frame)


def test_bytes_between_the_segments_of_rle_are_refused() -> None:
    first, second = b"\x01ab", b"\xff\0"
    plain = struct.pack("<16L", 2, 64, 68, *[0] * 13) + first + b"\0" + second
    assert rle(plain, 2, 2) == plain
    assert rle(plain + b"Kim Lee ", 2, 2) == plain
    hidden = struct.pack("<16L", 2, 64, 76, *[0] * 13) + first + b"Kim Lee  " + second
    with pytest.raises(ValueError, match="one after the other"):
        rle(hidden, 2, 2)
    with pytest.raises(ValueError, match="no RLE header"):
        rle(struct.pack("<16L", 2, 64, 68, *[0] * 12, 4711) + plain[64:], 2, 2)


@pytest.mark.parametrize("changes", [{"Rows": None}, {"BitsAllocated": None}, {"NumberOfFrames": 2}])
def test_native_pixel_data_of_no_known_length_waits(changes: dict[str, int | None]) -> None:
    dataset = pydicom.dcmread(BytesIO(ct()))
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
        if value is None:
            delattr(dataset, keyword)
    dataset.PixelData += b"GARCIA MARIA 19600102 "
    with pytest.raises(Withheld) as caught:
        deidentify(RawInstance(part10(dataset)), BASIC, KEYS, project=LUNG)
    assert caught.value.reason == Reason.PIXELS_NOT_CHECKED
