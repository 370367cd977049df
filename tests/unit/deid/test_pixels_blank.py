"""Filled rectangles, in every form that pixels have: inside one value, outside nothing changed."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)
from tests.support import ct, part10

from carina.deid.pixels import blank
from carina.deid.pixels.blank import blank_pixels, fill
from carina.deid.pixels.findings import Box
from carina.deid.pixels.hidden import clear_overlay_bits, put_pixel_data
from carina.dicom import frames
from carina.dicom.parse import parse
from carina.errors import Withheld
from carina.model.instance import Reason

Picture = np.ndarray[Any, Any]
ROWS, COLUMNS = 24, 32
BOX = Box(4, 6, 10, 22)


def noise(*shape: int, kind: str = "<u2", top: int = 4000) -> Picture:
    low = -top if kind[-2] == "i" else 0
    return np.random.default_rng(5).integers(low, top, shape).astype(kind)


def image(pixels: Picture, **changes: Any) -> Dataset:
    dataset = pydicom.dcmread(BytesIO(ct()))
    dataset.Rows, dataset.Columns = changes.pop("size", (ROWS, COLUMNS))
    dataset.BitsAllocated = dataset.BitsStored = pixels.itemsize * 8
    dataset.HighBit = dataset.BitsAllocated - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes() + bytes(pixels.nbytes % 2)
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def require_filled(before: Picture, after: Picture, box: Box = BOX) -> None:
    """One value inside, everything outside as it was; rows, columns[, samples]."""
    inside = after[box.top : box.bottom, box.left : box.right]
    assert (inside == inside[0, 0]).all()
    outside = np.ones(before.shape[:2], bool)
    outside[box.top : box.bottom, box.left : box.right] = False
    assert (after[outside] == before[outside]).all()


def written(dataset: Dataset, syntax: str | None = None) -> Dataset:
    """As it comes back from a file."""
    return parse(part10(dataset, syntax or str(dataset.file_meta.TransferSyntaxUID)))


@pytest.mark.parametrize("kind", ["|u1", "|i1", "<u2", "<i2", "<u4", "<i4"])
def test_native_grey_of_every_width_and_sign(kind: str) -> None:
    pixels = noise(ROWS, COLUMNS, kind=kind, top=120)
    dataset = image(pixels)
    blank_pixels(dataset, (BOX,))
    require_filled(pixels, written(dataset).pixel_array)


def test_big_endian_words_are_filled_as_such() -> None:
    pixels = noise(ROWS, COLUMNS, kind=">u2")
    dataset = image(pixels)
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    blank_pixels(dataset, (BOX,))
    require_filled(pixels, np.frombuffer(dataset.PixelData, ">u2").reshape(ROWS, COLUMNS))


@pytest.mark.parametrize(("keyword", "kind"), [("FloatPixelData", "<f4"), ("DoubleFloatPixelData", "<f8")])
def test_fractions(keyword: str, kind: str) -> None:
    pixels = noise(2, ROWS, COLUMNS).astype(kind)
    dataset = image(noise(ROWS, COLUMNS), NumberOfFrames=2, **{keyword: pixels.tobytes()})
    del dataset.PixelData
    blank_pixels(dataset, (Box(4, 6, 10, 22, 1),))
    after = np.frombuffer(dataset[keyword].value, kind).reshape(pixels.shape)
    assert (after[0] == pixels[0]).all()
    require_filled(pixels[1], after[1])


def test_single_bits_of_frames_that_begin_inside_a_byte() -> None:
    rows, columns = 21, 31  # 651 bits a frame
    pixels = noise(2, rows, columns, kind="|u1", top=2)
    bits = np.packbits(pixels.ravel(), bitorder="little").tobytes()
    dataset = image(pixels, Rows=rows, Columns=columns, BitsAllocated=1, BitsStored=1, HighBit=0, NumberOfFrames=2)
    dataset.PixelData = bits + bytes(len(bits) % 2)
    blank_pixels(dataset, (Box(4, 6, 10, 22, 1),))
    after = dataset.pixel_array
    assert (after[0] == pixels[0]).all()
    require_filled(pixels[1], after[1])


@pytest.mark.parametrize("planar", [0, 1])
def test_colours_by_pixel_and_by_plane(planar: int) -> None:
    pixels = noise(2, ROWS, COLUMNS, 3, kind="|u1", top=255)
    stored = pixels.transpose(0, 3, 1, 2) if planar else pixels
    dataset = image(
        np.ascontiguousarray(stored),
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=planar,
        NumberOfFrames=2,
    )
    blank_pixels(dataset, (BOX,))
    for before, after in zip(pixels, written(dataset).pixel_array, strict=True):
        require_filled(before, after)


def test_numbers_of_colours_become_one_of_those_that_stand_there() -> None:
    pixels = noise(ROWS, COLUMNS, kind="|u1", top=255)
    dataset = image(pixels, PhotometricInterpretation="PALETTE COLOR")
    blank_pixels(dataset, (BOX,))
    after = np.frombuffer(dataset.PixelData, np.uint8).reshape(ROWS, COLUMNS)
    require_filled(pixels, after)
    assert after[5, 7] in pixels[1:13, 3:25]


def test_halved_colours_are_filled_by_whole_pairs() -> None:
    pairs = noise(ROWS, COLUMNS // 2, 4, kind="|u1", top=255)
    dataset = image(pairs, SamplesPerPixel=3, PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=0)
    blank_pixels(dataset, (Box(4, 7, 10, 21),))
    after = np.frombuffer(dataset.PixelData, np.uint8).reshape(pairs.shape)
    require_filled(pairs, after, Box(4, 3, 10, 11))


def compressed(pixels: Picture, syntax: UID, **changes: Any) -> Dataset:
    dataset = image(pixels, **changes)
    if syntax == JPEG2000:
        dataset.compress(syntax, j2k_cr=[3], generate_instance_uid=False)
    else:
        dataset.compress(syntax, generate_instance_uid=False)
    return written(dataset, syntax)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEG2000, JPEGLSLossless])
def test_a_frame_compressed_again_loses_nothing_and_the_others_keep_their_bytes(syntax: UID) -> None:
    pixels = noise(2, 70, 90, kind="<u2")
    dataset = compressed(pixels, syntax, size=(70, 90), NumberOfFrames=2, BitsStored=12, HighBit=11)
    before, first = dataset.pixel_array.copy(), frames.frame_bytes(dataset, 1)
    blank_pixels(dataset, (Box(4, 6, 10, 22, 1),))
    after = written(dataset)
    assert after.file_meta.TransferSyntaxUID == syntax
    assert frames.frame_bytes(after, 1) == first
    require_filled(before[1], after.pixel_array[1])


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_colours_stay_the_same_colours(syntax: UID) -> None:
    pixels = noise(70, 90, 3, kind="|u1", top=255)
    colours = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    dataset = compressed(pixels, syntax, size=(70, 90), **colours)
    blank_pixels(dataset, (BOX,))
    require_filled(pixels, frames.decoded(written(dataset), 1))


def test_a_frame_that_the_encoder_refuses_becomes_native() -> None:
    pixels = noise(70, 90)
    dataset = compressed(pixels, JPEG2000Lossless, size=(70, 90), BitsStored=12, HighBit=11)

    def refuse(*_: Any) -> bytes:
        raise RuntimeError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blank, "_coded_again", refuse)
        blank_pixels(dataset, (BOX,))
    after = written(dataset)
    assert after.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    require_filled(pixels, after.pixel_array)


def jpeg(pixels: Picture) -> Dataset:
    frame = BytesIO()
    Image.fromarray(pixels).save(frame, "JPEG", quality=90)
    dataset = image(pixels)
    dataset.PixelData = encapsulate([frame.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.LossyImageCompression = "01"
    return written(dataset, JPEGBaseline8Bit)


def test_lossy_jpeg_becomes_native_and_is_still_called_lossy() -> None:
    dataset = jpeg(noise(ROWS, COLUMNS, kind="|u1", top=255))
    before = dataset.pixel_array.copy()
    blank_pixels(dataset, (BOX,))
    after = written(dataset)
    assert after.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert after.LossyImageCompression == "01"
    require_filled(before, after.pixel_array)


def test_what_would_be_too_large_as_native_pixels_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blank, "MOST", 100)
    with pytest.raises(Withheld) as caught:
        blank_pixels(jpeg(noise(ROWS, COLUMNS, kind="|u1", top=255)), (BOX,))
    assert caught.value.reason is Reason.PIXELS_NOT_CHECKED


def test_without_a_box_not_a_byte_changes() -> None:
    for dataset in (image(noise(ROWS, COLUMNS)), compressed(noise(ROWS, COLUMNS), RLELossless)):
        before = bytes(dataset.PixelData)
        blank_pixels(dataset, ())
        assert dataset.PixelData == before


def test_a_box_at_the_edge_and_one_over_all_are_filled() -> None:
    pixels = noise(ROWS, COLUMNS)
    fill(pixels, [Box(0, 0, ROWS, COLUMNS)])
    assert (pixels == pixels[0, 0]).all()
    pixels = noise(ROWS, COLUMNS)
    before = pixels.copy()
    fill(pixels, [Box(-3, COLUMNS - 5, 4, COLUMNS + 9)])
    require_filled(before, pixels, Box(0, COLUMNS - 5, 4, COLUMNS))


# --- overlays in unused bits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "order"), [("<u2", 0), ("<i2", 1)])
def test_an_overlay_beside_the_stored_bits_is_cleared_and_the_values_stay(kind: str, order: int) -> None:
    values = noise(ROWS, COLUMNS, kind=kind, top=2000)
    drawn = (values.view("<u2") & 0x0FFF) | (noise(ROWS, COLUMNS, top=2) << 13).astype("<u2")
    dataset = image(drawn, BitsStored=12, HighBit=11, PixelRepresentation=order)
    dataset.add_new(0x60000102, "US", 13)
    clean = Dataset()
    put_pixel_data(clean, dataset, ExplicitVRLittleEndian, False, frozenset())
    assert clean.PixelData == values.tobytes()
    clear_overlay_bits(dataset)
    assert dataset.PixelData == values.tobytes()


@pytest.mark.parametrize("changes", [{"position": 11}, {"position": 16}, {"BitsStored": 0}, {"BitsAllocated": 12}])
def test_an_overlay_that_may_lie_among_the_values_waits(changes: dict[str, int]) -> None:
    dataset = image(noise(ROWS, COLUMNS), BitsStored=12, HighBit=11)
    dataset.add_new(0x60000102, "US", changes.pop("position", 13))
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    with pytest.raises(Withheld):
        put_pixel_data(Dataset(), dataset, ExplicitVRLittleEndian, False, frozenset())
