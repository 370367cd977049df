from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits
from tests.support import ct

from carina.dicom.frames import can_decode, count, decoded, frame_bytes
from carina.dicom.parse import parse
from carina.dicom.rendering import Viewport, Window, render
from carina.dicom.stretch import Stretch
from carina.dicom.transcode import explicit_little_endian
from carina.errors import BadInput, InvalidInstance, NotFound

EXPLICIT = "1.2.840.10008.1.2.1"


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(name, download=False))).read_bytes()


def grey(values: list[list[int]], **changes: object) -> Dataset:
    """A slice with these pixels, without rescale."""
    pixels = np.array(values, np.int16)
    size = {"Rows": pixels.shape[0], "Columns": pixels.shape[1], "PixelData": pixels.tobytes()}
    return parse(ct(elements={**size, "RescaleSlope": 1, "RescaleIntercept": 0, **changes}))


def picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def bits(rows: int, frames: int) -> tuple[Dataset, np.ndarray]:
    """Single-bit frames of `rows` × 5, so that frames begin inside bytes."""
    values = np.random.default_rng(1).integers(0, 2, (frames, rows, 5), dtype=np.uint8)
    dataset = grey([[0]])
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = rows, 5, frames
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    dataset.PixelData = pack_bits(values)
    return dataset, values


def test_a_frame_of_bits_begins_at_a_byte() -> None:
    dataset, values = bits(rows=3, frames=7)
    for number in range(1, 8):
        data, syntax = frame_bytes(dataset, number)
        assert syntax == EXPLICIT
        assert len(data) == 2
        unpacked = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[:15]
        assert np.array_equal(unpacked, values[number - 1].ravel())


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"])
def test_native_frames_are_little_endian_whatever_the_file_is(name: str) -> None:
    data, syntax = frame_bytes(parse(sample(name)), 1)
    assert syntax == EXPLICIT
    assert data == frame_bytes(parse(sample("MR_small.dcm")), 1)[0]


@pytest.mark.parametrize("name", ["SC_rgb_rle_2frame.dcm", "rtdose_rle.dcm", "examples_ybr_color.dcm"])
def test_each_frame_of_a_compressed_image_is_found(name: str) -> None:
    dataset = parse(sample(name))
    found = [frame_bytes(dataset, number)[0] for number in range(1, count(dataset) + 1)]
    assert len(found) == int(dataset.NumberOfFrames) > 1
    assert frame_bytes(dataset, 1)[1] == dataset.file_meta.TransferSyntaxUID
    assert all(frame in dataset.PixelData for frame in found)


def test_a_frame_that_is_not_there_is_not_found() -> None:
    for number in (0, 2, -1):
        with pytest.raises(NotFound):
            frame_bytes(parse(ct()), number)
    assert count(parse(sample("rtplan.dcm"))) == 0
    with pytest.raises(NotFound):
        frame_bytes(parse(sample("rtplan.dcm")), 1)


def test_pixels_that_are_too_few_are_an_invalid_instance() -> None:
    broken = grey([[1, 2], [3, 4]])
    broken.Rows = 100
    with pytest.raises(InvalidInstance):
        frame_bytes(broken, 1)
    with pytest.raises(InvalidInstance):
        render(broken)
    broken.Rows = [2, 2]
    with pytest.raises(InvalidInstance):
        render(broken)
    broken.Rows = broken.Columns = 65535
    with pytest.raises(InvalidInstance, match="larger"):
        decoded(broken, 1)


def test_what_can_be_decoded_is_known() -> None:
    assert can_decode("1.2.840.10008.1.2.4.90")
    assert can_decode(EXPLICIT)
    assert not can_decode("1.2.840.10008.1.2.4.102")
    assert not can_decode("1.2.3")


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_bigendian.dcm",
        "rtdose_expb.dcm",
        "liver_expb_1frame.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_RLE.dcm",
        "image_dfl.dcm",
        "MR_small_implicit.dcm",
        "rtplan.dcm",
    ],
)
def test_another_transfer_syntax_keeps_every_value(name: str) -> None:
    before, after = parse(sample(name)), parse(explicit_little_endian(sample(name)))
    assert after.file_meta.TransferSyntaxUID == EXPLICIT
    assert after.SOPInstanceUID == before.SOPInstanceUID
    if "PixelData" in before:
        assert np.array_equal(decoded(before, 1), decoded(after, 1))


def test_the_frames_own_range_is_shown_where_no_window_is_given() -> None:
    assert picture(render(grey([[0, 50], [100, 25]]))).tolist() == [[0, 128], [255, 64]]


def test_monochrome1_is_shown_inverted() -> None:
    shown = picture(render(grey([[0, 100]], PhotometricInterpretation="MONOCHROME1")))
    assert shown.tolist() == [[255, 0]]


def test_padding_does_not_count_for_the_range() -> None:
    shown = picture(render(grey([[-2000, 0, 100]], PixelPaddingValue=-2000)))
    assert shown.tolist() == [[0, 0, 255]]


def test_a_window_is_applied_after_the_rescale() -> None:
    dataset = grey([[0, 1000, 1100, 1200, 4000]], RescaleIntercept=-1000)
    assert picture(render(dataset, window=Window(100, 201))).tolist() == [[0, 1, 128, 255, 255]]
    exact = picture(render(dataset, window=Window(100, 200, "LINEAR_EXACT"))).tolist()
    assert exact == [[0, 0, 128, 255, 255]]
    assert picture(render(dataset, window=Window(100, 200, "SIGMOID")))[0, 2] == 128


def test_the_headers_window_is_the_first_choice() -> None:
    dataset = grey([[0, 100, 200]], WindowCenter=["100.5", "5"], WindowWidth=["101", "5"])
    assert picture(render(dataset)).tolist() == [[0, 128, 255]]


def test_a_window_of_the_frame_wins_over_that_of_the_image() -> None:
    dataset = grey([[0, 100, 200]])
    voi, shared = Dataset(), Dataset()
    voi.WindowCenter, voi.WindowWidth = 0.5, 1
    shared.FrameVOILUTSequence = [voi]
    dataset.SharedFunctionalGroupsSequence = [shared]
    assert picture(render(dataset)).tolist() == [[0, 255, 255]]


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("examples_palette.dcm", "RGB"),
        ("examples_rgb_color.dcm", "RGB"),
        ("SC_rgb_jpeg_dcmtk.dcm", "RGB"),
        ("rtdose_1frame.dcm", "L"),
        ("liver_1frame.dcm", "L"),
    ],
)
def test_colour_palette_dose_and_bits_are_shown(name: str, mode: str) -> None:
    shown = Image.open(io.BytesIO(render(parse(sample(name)))))
    assert (shown.format, shown.mode) == ("PNG", mode)
    assert len(set(np.asarray(shown).ravel().tolist())) > 1


def test_the_size_asked_for_is_kept_to_in_proportion() -> None:
    dataset = grey([[0, 1, 2, 3], [4, 5, 6, 7]])
    jpeg = Image.open(io.BytesIO(render(dataset, viewport=Viewport(100, 100), media="image/jpeg", quality=50)))
    assert (jpeg.format, jpeg.size) == ("JPEG", (100, 50))
    part = picture(render(dataset, viewport=Viewport(2, 2, (2, 0, 2, 2)), window=Window(3.5, 1)))
    assert part.tolist() == [[0, 0], [255, 255]]
    beyond = Image.open(io.BytesIO(render(dataset, viewport=Viewport(9, 9, (3, 0, 99_999, 99_999)))))
    assert beyond.size == (4, 9)  # what there is of it: one column of two pixels
    with pytest.raises(BadInput):
        render(dataset, viewport=Viewport(9, 9, (4, 0, 1, 1)))


def test_frames_of_a_stretch_of_a_file_are_those_of_its_bytes(tmp_path: Path) -> None:
    pixels = np.arange(3 * 4 * 5, dtype="<u2").reshape(3, 4, 5)
    (tmp_path / "file").write_bytes(b"before" + pixels.tobytes() + b"behind")
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = EXPLICIT
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 4, 5, 3
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.SamplesPerPixel, dataset.PixelRepresentation, dataset.PhotometricInterpretation = 1, 0, "MONOCHROME2"
    with Stretch(tmp_path / "file", 6, 6 + pixels.nbytes) as stretch:
        dataset.add_new(0x7FE00010, "OW", stretch)
        assert all((decoded(dataset, number) == pixels[number - 1]).all() for number in (3, 1, 2))
        stretch.seek(-2, 2)
        assert stretch.read(10) == pixels.tobytes()[-2:] and stretch.read() == b""
