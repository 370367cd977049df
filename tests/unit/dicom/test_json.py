from __future__ import annotations

import json

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from tests.support import ct

from carina.dicom.json import bulk_data, to_json, values_of
from carina.dicom.levels import BELONGS, COMPUTED, RETURNED, instance_header, series_header, study_header, tag_of
from carina.dicom.parse import parse
from carina.errors import NotFound


def example() -> Dataset:
    inner = Dataset()
    inner.add_new(0x00091010, "UN", b"\x01\x02")
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO 2022 IR 87"
    dataset.PatientName = "Yamada^Tarou=山田^太郎"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", ""]
    dataset.SliceThickness = "2.5"
    dataset.RescaleSlope = "1.0"
    dataset.InstanceNumber = "7"
    dataset.FrameIncrementPointer = 0x00181063
    dataset.PixelSpacing = ["0.5", "0.5"]
    dataset.add_new(0x00189073, "FD", float("inf"))
    dataset.add_new(0x00189087, "FD", float("nan"))
    dataset.AccessionNumber = ""
    dataset.ReferencedImageSequence = Sequence([inner])
    dataset.ReferencedStudySequence = Sequence([])
    dataset.PixelData = b"\x00\x01"
    dataset["PixelData"].VR = "OW"
    return dataset


def test_each_kind_of_value_has_the_form_of_the_standard() -> None:
    found = json.loads(json.dumps(to_json(example()), allow_nan=False))
    assert found["00080005"] == {"vr": "CS", "Value": ["ISO_IR 192"]}
    assert found["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]}
    assert found["00080008"] == {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", None]}
    assert found["00180050"] == {"vr": "DS", "Value": [2.5]}
    assert found["00281053"]["Value"] == [1]
    assert found["00200013"] == {"vr": "IS", "Value": [7]}
    assert found["00280009"] == {"vr": "AT", "Value": ["00181063"]}
    assert found["00280030"]["Value"] == [0.5, 0.5]
    assert found["00189073"]["Value"] == ["Infinity"]
    assert found["00189087"]["Value"] == ["NaN"]
    assert found["00080050"] == {"vr": "SH"}
    assert found["00081110"] == {"vr": "SQ"}


def test_binary_values_are_left_out_and_their_place_is_told() -> None:
    found = to_json(example())
    assert found["7FE00010"] == {"vr": "OW", "BulkDataURI": "7FE00010"}
    assert found["00081140"]["Value"] == [{"00091010": {"vr": "UN", "BulkDataURI": "00081140/0/00091010"}}]
    assert bulk_data(example(), "7FE00010") == b"\x00\x01"
    assert bulk_data(example(), "00081140/0/00091010") == b"\x01\x02"


@pytest.mark.parametrize(
    "path", ["", "7FE0", "7FE00011", "00081140", "00081140/1/00091010", "00081140/0", "../x", "00180050"]
)
def test_an_address_without_a_binary_value_is_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        bulk_data(example(), path)


def test_tags_are_in_order_and_file_meta_is_left_out() -> None:
    found = to_json(parse(ct()))
    assert list(found) == sorted(found)
    assert not [tag for tag in found if tag < "0008"]


def test_names_are_read_back_as_one_text() -> None:
    assert list(values_of(to_json(example()), "00100010")) == ["Yamada^Tarou=山田^太郎"]
    assert list(values_of(to_json(example()), "00080008")) == ["ORIGINAL", "PRIMARY"]
    assert list(values_of({}, "00080008")) == []


def test_each_header_holds_the_attributes_of_its_level() -> None:
    dataset = parse(ct())
    study, series, instance = study_header(dataset), series_header(dataset), instance_header(dataset)
    assert study["0020000D"]["Value"] == [dataset.StudyInstanceUID]
    assert "00080060" not in study
    assert series["00080060"]["Value"] == ["CT"]
    assert "00100020" not in series
    assert set(study) | set(series) <= set(instance)


def test_what_is_returned_unasked_belongs_to_its_level() -> None:
    for level, tags in RETURNED.items():
        assert set(tags) <= set(BELONGS[level])
    assert tag_of("ModalitiesInStudy") in COMPUTED
