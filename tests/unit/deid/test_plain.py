"""The route of a file in pieces is that of the whole file."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support import corpus_files, ct

from carina.deid.engine.walker import pieces
from carina.deid.pixels.findings import Need
from carina.deid.pixels.plain import Routes
from carina.dicom.frames import count, decoded
from carina.dicom.parse import parse
from carina.errors import CarinaError

OPTIONS = ("clean_pixel_data",)
KEY = b"k" * 32


@pytest.mark.parametrize(
    "elements",
    [
        {},
        {"StationName": "CT2"},
        {"ImageType": ["DERIVED", "SECONDARY"]},
        {"BurnedInAnnotation": "YES"},
        {"Modality": "OT"},
        {"SeriesDescription": "Topogram"},
    ],
)
def test_of_the_header_all_that_tells_is_read(elements: dict[str, object]) -> None:
    data = ct(elements=elements)
    split = pieces(data)
    assert split is not None
    whole, part = Routes(OPTIONS, KEY).of(data, None), Routes(OPTIONS, KEY).of(data, split)
    assert (part.need, part.layout) == (whole.need, whole.layout)


def test_a_header_with_a_wrong_character_set_gives_a_route_and_no_warning() -> None:
    data = ct().replace(b"ISO_IR 192", b"ISO-IR 100")
    assert Routes(OPTIONS, KEY).of(data, pieces(data)).need is Need.SAMPLE


@pytest.mark.slow
def test_real_files_have_one_route_and_their_frames_stand_where_it_says() -> None:
    compared, framed = 0, 0
    for path in corpus_files():
        data = path.read_bytes()
        split = pieces(data)
        try:
            whole = Routes(OPTIONS, KEY).of(data, None)
        except CarinaError:
            continue
        if split is None:
            continue
        part = Routes(OPTIONS, KEY).of(data, split)
        assert (part.need, part.layout) == (whole.need, whole.layout), path.name
        compared += 1
        if part.native is not None and split.pixels is not None and part.need is Need.SAMPLE:
            dataset = parse(data)
            total = count(dataset)
            if split.pixels[3] - split.pixels[2] < total * part.native.size:
                continue
            for number in {1, total}:
                first = split.pixels[2] + (number - 1) * part.native.size
                assert np.array_equal(part.native.frame(data, first), decoded(dataset, number)), path.name
            framed += 1
    assert compared and framed
