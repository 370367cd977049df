from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from carina.dicom.kinds import (
    CLEANED,
    PIXELS_TO_CHECK,
    PRESENTATIONS,
    STRUCTURED,
    is_measured_grey,
    shows_text_by_kind,
    why_withheld,
)
from carina.model.instance import Reason

CT, MR, SEG = (f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("2", "4", "66.4"))
ROOT = "1.2.840.10008.5.1.4.1.1."


def image(sop_class: str = CT, **values: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = sop_class
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    return dataset


def test_original_slices_pass() -> None:
    for tail in ("2", "2.1", "4", "4.1", "20", "128", "130"):
        assert why_withheld(image(ROOT + tail)) is None


COMPUTED = [("66.4", 1), ("66.4", 8), ("66.7", 8), ("66.7", 16), ("67", None), ("481.2", 16), ("481.2", 32)]


@pytest.mark.parametrize(("tail", "bits"), COMPUTED)
def test_what_software_computes_from_images_passes_though_derived(tail: str, bits: int | None) -> None:
    assert (
        why_withheld(image(ROOT + tail, ImageType=["DERIVED", "PRIMARY"], Modality="SEG", BitsAllocated=bits)) is None
    )


@pytest.mark.parametrize(("tail", "bits"), COMPUTED)
@pytest.mark.parametrize(
    "changes",
    [
        {"BurnedInAnnotation": "YES"},
        {"ConversionType": "WSD"},
        {"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]},
    ],
)
def test_what_calls_itself_computed_but_says_that_it_shows_text_waits(
    tail: str, bits: int | None, changes: dict[str, Any]
) -> None:
    assert why_withheld(image(ROOT + tail, BitsAllocated=bits, **changes)) == Reason.PIXELS_NOT_CHECKED


@pytest.mark.parametrize(
    ("tail", "bits", "photometric"),
    [
        ("66.4", 8, "RGB"),
        ("66.4", 16, "MONOCHROME2"),
        ("66.4", 8, "PALETTE COLOR"),
        ("66.4", None, "MONOCHROME2"),
        ("66.7", 1, "MONOCHROME2"),
        ("481.2", 8, "MONOCHROME2"),
        ("481.2", 16, "MONOCHROME1"),
    ],
)
def test_pixels_that_no_computed_object_has_wait(tail: str, bits: int | None, photometric: str) -> None:
    dataset = image(ROOT + tail, BitsAllocated=bits, PhotometricInterpretation=photometric)
    assert why_withheld(dataset) == Reason.PIXELS_NOT_CHECKED


def test_a_value_map_with_pixels_waits() -> None:
    assert why_withheld(image(ROOT + "67", PixelData=b"GARCIA")) == Reason.CONTENT_NOT_CHECKED


@pytest.mark.parametrize(
    "tail", ["1", "1.1", "1.2", "3.1", "6.1", "7", "7.4", "12.1", "13.1.3", "30", "77.1.1", "481.1"]
)
def test_pictures_wait_for_a_look_at_their_pixels(tail: str) -> None:
    assert why_withheld(image(ROOT + tail)) == Reason.PIXELS_NOT_CHECKED


@pytest.mark.parametrize(
    "tail", ["88.11", "88.33", "88.59", "11.1", "104.1", "9.1.1", "77.1.1.1", "481.3", "481.5", "66", "91.1"]
)
def test_documents_plans_slides_and_states_wait_for_a_look_at_their_content(tail: str) -> None:
    assert why_withheld(image(ROOT + tail)) == Reason.CONTENT_NOT_CHECKED


@pytest.mark.parametrize("uid", ["", "1.2.3", "1.3.46.670589.11.0.0.12.1", "1.2.840.10008.1.3.10"])
def test_what_nobody_knows_waits(uid: str) -> None:
    assert why_withheld(image(uid)) == Reason.CONTENT_NOT_CHECKED
    assert why_withheld(Dataset()) == Reason.CONTENT_NOT_CHECKED


@pytest.mark.parametrize(
    "changes",
    [
        {"ImageType": ["DERIVED", "PRIMARY", "MPR"]},
        {"ImageType": ["DERIVED", "SECONDARY"]},
        {"ImageType": "DERIVED"},
        {"ImageType": ["ORIGINAL", "SECONDARY"]},
        {"ImageType": ["ORIGINAL", "PRIMARY", "SCREEN SAVE"]},
        {"ImageType": ["MIXED", "PRIMARY"]},
        {"ImageType": None},
        {"PhotometricInterpretation": "RGB"},
        {"PhotometricInterpretation": "PALETTE COLOR"},
        {"BurnedInAnnotation": "YES"},
        {"ConversionType": "WSD"},
        {"Modality": "OT"},
        {"Modality": "US"},
    ],
)
def test_a_slice_that_may_show_text_waits(changes: dict[str, Any]) -> None:
    for sop_class in (CT, MR):
        assert why_withheld(image(sop_class, **changes)) == Reason.PIXELS_NOT_CHECKED


def test_one_derived_frame_makes_the_whole_instance_wait() -> None:
    def frame(kind: str) -> Dataset:
        group, item = Dataset(), Dataset()
        item.FrameType = [kind, "PRIMARY", "VOLUME", "NONE"]
        group.MRImageFrameTypeSequence = Sequence([item])
        return group

    frames = [frame("ORIGINAL"), frame("DERIVED")]
    enhanced = image(ROOT + "4.1", PerFrameFunctionalGroupsSequence=Sequence(frames))
    assert why_withheld(enhanced) == Reason.PIXELS_NOT_CHECKED
    enhanced.PerFrameFunctionalGroupsSequence = Sequence(frames[:1])
    assert why_withheld(enhanced) is None


def test_an_overlay_kept_inside_the_pixels_waits() -> None:
    dataset = image()
    dataset.add_new(0x60000102, "US", 12)
    assert why_withheld(dataset) == Reason.PIXELS_NOT_CHECKED
    dataset.add_new(0x60003000, "OW", b"\0\0")
    assert why_withheld(dataset) is None


def test_video_and_foreign_content_wait() -> None:
    video = image()
    video.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
    assert why_withheld(video) == Reason.CONTENT_NOT_CHECKED
    assert why_withheld(image(EncapsulatedDocument=b"%PDF")) == Reason.CONTENT_NOT_CHECKED


def test_no_class_is_in_both_tables() -> None:
    assert not set(CLEANED) & set(PIXELS_TO_CHECK)


def test_no_class_is_in_two_of_the_tables() -> None:
    tables = [set(table) for table in (CLEANED, PIXELS_TO_CHECK, STRUCTURED, PRESENTATIONS)]
    assert sum(map(len, tables)) == len(set().union(*tables))


ALL = ("clean_pixel_data", "clean_structured_content", "clean_graphics")


@pytest.mark.parametrize("tail", ["6.1", "1", "1.2", "7", "12.1", "77.1.4", "481.1"])
def test_pictures_pass_with_clean_pixel_data_and_show_text_by_kind(tail: str) -> None:
    assert why_withheld(image(ROOT + tail), ("clean_pixel_data",)) is None
    assert shows_text_by_kind(image(ROOT + tail))
    assert why_withheld(image(ROOT + tail), ALL[1:]) == Reason.PIXELS_NOT_CHECKED


@pytest.mark.parametrize(
    ("tail", "option"),
    [("88.33", ALL[1]), ("88.59", ALL[1]), ("481.3", ALL[1]), ("66.1", ALL[1]), ("9.1.1", ALL[1]), ("11.1", ALL[2])],
)
def test_content_passes_with_the_option_that_cleans_it_and_no_other(tail: str, option: str) -> None:
    content = image(ROOT + tail, ContentSequence=Sequence([Dataset()]))
    assert why_withheld(content, tuple(one for one in ALL if one != option)) == Reason.CONTENT_NOT_CHECKED
    del content.ContentSequence
    assert why_withheld(content, (option,)) is None


@pytest.mark.parametrize("tail", ["104.1", "66", "77.1.6.1.1.1"])
def test_documents_raw_data_and_the_unknown_wait_under_all_options(tail: str) -> None:
    assert why_withheld(image(ROOT + tail), ALL) == Reason.CONTENT_NOT_CHECKED


def test_a_slides_label_waits_under_all_options_and_its_tiles_do_not() -> None:
    for kind in ("LABEL", "OVERVIEW"):
        slide = image(ROOT + "77.1.6", ImageType=["ORIGINAL", "PRIMARY", kind, "NONE"])
        assert why_withheld(slide, ALL) == Reason.CONTENT_NOT_CHECKED
    assert why_withheld(image(ROOT + "77.1.6", ImageType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]), ALL) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"BitsStored": 8},
        {"Modality": "US"},
        {"SOPClassUID": ROOT + "7"},
        {"PhotometricInterpretation": "RGB"},
        {"ImageType": ["DERIVED", "SECONDARY", "AXIAL"]},
        {"ImageType": ["DERIVED", "PRIMARY", "SCREEN SAVE"]},
        {"BurnedInAnnotation": "YES"},
    ],
)
def test_values_of_a_machine_are_measured_though_derived_but_a_picture_of_them_is_not(changes: dict[str, Any]) -> None:
    derived = image(BitsStored=12, ImageType=["DERIVED", "PRIMARY", "MPR"])
    assert is_measured_grey(derived)
    assert shows_text_by_kind(derived)
    for keyword, value in changes.items():
        setattr(derived, keyword, value)
    assert not is_measured_grey(derived)
