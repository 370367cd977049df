"""Uptake by body weight: the rules of the standard and of QIBA, and a sentence for what is missing."""

from __future__ import annotations

import doctest
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from carina.dicom import suv
from carina.dicom.suv import suv_bw_factor, suv_factor
from carina.errors import InvalidInstance

F18 = 6586.2  # s
START = datetime(2024, 3, 11, 9, 0)


def pet(*, tracer: dict[str, Any] | None = None, delay: float = 3600, **elements: Any) -> Dataset:
    """A PET image of 80 kg and 400 MBq that was taken `delay` seconds after the injection."""
    dataset = Dataset()
    scan = START + timedelta(seconds=delay)
    plain: dict[str, Any] = {
        "Modality": "PT",
        "Units": "BQML",
        "RescaleSlope": 1,
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "DecayCorrection": "START",
        "PatientWeight": 80,
        "SeriesDate": scan.strftime("%Y%m%d"),
        "SeriesTime": scan.strftime("%H%M%S.%f"),
        "AcquisitionDate": scan.strftime("%Y%m%d"),
        "AcquisitionTime": scan.strftime("%H%M%S.%f"),
    }
    given = {
        "RadiopharmaceuticalStartTime": START.strftime("%H%M%S"),
        "RadionuclideTotalDose": 4e8,
        "RadionuclideHalfLife": F18,
    }
    item = Dataset()
    fill(item, {**given, **(tracer or {})})
    fill(dataset, {**plain, "RadiopharmaceuticalInformationSequence": [item], **elements})
    return dataset


def fill(dataset: Dataset, values: dict[str, Any]) -> None:
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)


def test_the_example_of_the_function_holds() -> None:
    assert doctest.testmod(suv).failed == 0


def test_after_one_half_life_each_becquerel_counts_twice() -> None:
    assert suv_bw_factor(4e8, 80, F18, F18) == pytest.approx(0.0004)
    assert suv_factor(pet(delay=F18)) == pytest.approx(0.0004, rel=1e-6)


def test_an_image_corrected_to_the_injection_needs_no_time() -> None:
    dataset = pet(DecayCorrection="ADMIN", SeriesTime=None, AcquisitionTime=None)
    assert suv_factor(dataset) == pytest.approx(0.0002)


def test_a_scan_after_midnight_follows_the_evening_before() -> None:
    late = {"RadiopharmaceuticalStartTime": "233000"}
    times = {
        "SeriesDate": "20240312",
        "SeriesTime": "003000",
        "AcquisitionDate": "20240312",
        "AcquisitionTime": "003000",
    }
    assert suv_factor(pet(tracer=late, **times)) == pytest.approx(suv_bw_factor(4e8, 80, 3600, F18))
    dated = {**late, "RadiopharmaceuticalStartDateTime": "20240311233000+0100"}
    assert suv_factor(pet(tracer=dated, **times)) == pytest.approx(suv_bw_factor(4e8, 80, 3600, F18))


def test_an_injection_while_the_scan_runs_is_not_of_the_day_before() -> None:
    assert suv_factor(pet(delay=-30)) == pytest.approx(suv_bw_factor(4e8, 80, -30, F18))


@settings(max_examples=40)
@given(days=st.integers(-20_000, 20_000), delay=st.floats(0, 4 * 3600), dated=st.booleans())
def test_moved_dates_change_nothing(days: int, delay: float, dated: bool) -> None:
    """De-identification moves all dates of a patient by the same days."""

    def moved(by: int) -> float:
        start, scan = (START + timedelta(days=by, seconds=more) for more in (0, delay))
        tracer = {"RadiopharmaceuticalStartDateTime": start.strftime("%Y%m%d%H%M%S") if dated else None}
        date = scan.strftime("%Y%m%d")
        return suv_factor(pet(tracer=tracer, delay=delay, SeriesDate=date, AcquisitionDate=date))

    assert moved(days) == moved(0)


@settings(max_examples=40)
@given(dose=st.floats(1e6, 1e9), weight=st.floats(2, 300), delay=st.floats(0, 20_000), share=st.floats(0.1, 10))
def test_the_factor_goes_with_weight_and_against_dose(dose: float, weight: float, delay: float, share: float) -> None:
    factor = suv_bw_factor(dose, weight, delay, F18)
    assert suv_bw_factor(dose, weight * share, delay, F18) == pytest.approx(factor * share)
    assert suv_bw_factor(dose * share, weight, delay, F18) == pytest.approx(factor / share)
    assert suv_bw_factor(dose, weight, delay + F18, F18) == pytest.approx(2 * factor)


def test_the_bed_positions_of_a_scan_share_one_factor() -> None:
    """Series Time is the scan's begin for each of them, whenever the frame was taken."""
    frames = [pet(AcquisitionTime=time) for time in ("100000", "100500", "101000")]
    assert len({suv_factor(frame) for frame in frames}) == 1


def test_a_later_reconstruction_is_reckoned_by_its_frames() -> None:
    """Series Time is of the reconstruction; the frame was measured 1200 s after the scan began."""
    later = {"SeriesTime": "180000", "AcquisitionTime": "102000", "ActualFrameDuration": 180_000}
    middle = suv._average(180, F18)
    factor = 2 ** ((1200 + middle) / F18)
    wanted = suv_bw_factor(4e8, 80, 3600, F18)
    assert suv_factor(pet(**later, DecayFactor=f"{factor:.10f}")) == pytest.approx(wanted, rel=1e-5)
    assert suv_factor(pet(**later, FrameReferenceTime=(1200 + middle) * 1000)) == pytest.approx(wanted, rel=1e-5)
    private = pet(**later)
    private.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20240311100000.00")
    assert suv_factor(private) == pytest.approx(wanted)
    with pytest.raises(InvalidInstance, match="later than the scan"):
        suv_factor(pet(**later))


def test_counts_have_the_manufacturers_factor() -> None:
    direct = pet(Units="CNTS")
    direct.private_block(0x7053, suv.PHILIPS, create=True).add_new(0x00, "DS", "0.000551")
    assert suv_factor(direct) == pytest.approx(0.000551)
    activity = pet(Units="CNTS", delay=0)
    block = activity.private_block(0x7053, suv.PHILIPS, create=True)
    block.add_new(0x00, "UN", b"0 ")
    block.add_new(0x09, "UN", b"2.5 ")
    assert suv_factor(activity) == pytest.approx(2.5 * 0.0002)
    with pytest.raises(InvalidInstance, match="counts"):
        suv_factor(pet(Units="CNTS"))


def test_values_that_are_suv_already_stay() -> None:
    assert suv_factor(pet(Units="GML")) == 1
    with pytest.raises(InvalidInstance, match="not by body weight"):
        suv_factor(pet(Units="GML", SUVType="LBM"))


def test_enhanced_pet_is_read_by_its_real_world_values() -> None:
    code, mapping, shared, rescale = Dataset(), Dataset(), Dataset(), Dataset()
    code.CodeValue = "Bq/ml"
    fill(mapping, {"MeasurementUnitsCodeSequence": [code], "RealWorldValueSlope": 3.0, "RealWorldValueIntercept": 0.0})
    fill(rescale, {"RescaleSlope": 1.5, "RescaleIntercept": 0})
    fill(shared, {"RealWorldValueMappingSequence": [mapping], "PixelValueTransformationSequence": [rescale]})
    dataset = pet(
        Units=None, CorrectedImage=None, DecayCorrection=None, DecayCorrected="YES", AttenuationCorrected="YES",
        DecayCorrectionDateTime="20240311100000", SharedFunctionalGroupsSequence=[shared],
        tracer={"RadiopharmaceuticalStartDateTime": "20240311090000"},
    )  # fmt: skip
    assert suv_factor(dataset) == pytest.approx(2 * suv_bw_factor(4e8, 80, 3600, F18))


def test_frames_with_scales_of_their_own_have_one_factor_or_none() -> None:
    """A slope of real world values for all frames, and a rescale for each, make different factors."""
    code, mapping, shared = Dataset(), Dataset(), Dataset()
    code.CodeValue = "{SUVbw}g/ml"
    fill(mapping, {"MeasurementUnitsCodeSequence": [code], "RealWorldValueSlope": 3.0, "RealWorldValueIntercept": 0.0})
    frames = []
    for slope in (1.5, 3.0):
        rescale, frame = Dataset(), Dataset()
        fill(rescale, {"RescaleSlope": slope, "RescaleIntercept": 0})
        fill(frame, {"PixelValueTransformationSequence": [rescale]})
        frames.append(frame)
    fill(shared, {"RealWorldValueMappingSequence": [mapping]})
    dataset = pet(Units=None, SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=frames)
    with pytest.raises(InvalidInstance, match="scales of their own"):
        suv_factor(dataset)
    frames[1].PixelValueTransformationSequence[0].RescaleSlope = 1.5
    assert suv_factor(dataset) == pytest.approx(2)


@pytest.mark.parametrize("value", [b"nan ", b"-1", b"inf "])
def test_a_manufacturers_factor_that_is_no_number_above_zero_is_refused(value: bytes) -> None:
    dataset = pet(Units="CNTS")
    dataset.private_block(0x7053, suv.PHILIPS, create=True).add_new(0x00, "UN", value)
    with pytest.raises(InvalidInstance, match="no number above zero"):
        suv_factor(dataset)


def test_two_moments_in_different_zones_are_as_far_apart_as_they_are() -> None:
    dated = {"RadiopharmaceuticalStartDateTime": "20240311100000+0100"}
    dataset = pet(tracer=dated, DecayCorrectionDateTime="20240311100000+0000")
    assert suv_factor(dataset) == pytest.approx(suv_bw_factor(4e8, 80, 3600, F18))


MISSING: list[tuple[str, dict[str, Any]]] = [
    ("another kind", {"Modality": "CT"}),
    ("does not name the unit", {"Units": None}),
    ("cannot be made SUV", {"Units": "PROPCPS"}),
    ("not corrected for decay", {"CorrectedImage": ["ATTN"]}),
    ("not corrected for attenuation", {"CorrectedImage": "DECY"}),
    ("Decay Correction", {"DecayCorrection": "NONE"}),
    ("Decay Correction", {"DecayCorrection": None}),
    ("weight of the patient", {"PatientWeight": None}),
    ("weight of the patient", {"PatientWeight": 0}),
    ("dose", {"tracer": {"RadionuclideTotalDose": None}}),
    ("too small to be in Bq", {"tracer": {"RadionuclideTotalDose": 370}}),
    ("too large to be in kg", {"PatientWeight": 80_000}),
    ("without their scale", {"RescaleSlope": None}),
    ("half-life", {"tracer": {"RadionuclideHalfLife": None}}),
    ("nothing of the tracer", {"RadiopharmaceuticalInformationSequence": None}),
    ("several tracers", {"RadiopharmaceuticalInformationSequence": [Dataset(), Dataset()]}),
    ("when the tracer was given", {"tracer": {"RadiopharmaceuticalStartTime": None}}),
    ("lasts for days", {"tracer": {"RadionuclideHalfLife": 282_240}}),
    ("do not belong together", {"tracer": {"RadiopharmaceuticalStartDateTime": "20230101090000"}}),
    ("when it was taken", {"SeriesTime": None, "AcquisitionTime": None}),
]


@pytest.mark.parametrize(("said", "elements"), MISSING)
def test_what_is_missing_is_named(said: str, elements: dict[str, Any]) -> None:
    with pytest.raises(InvalidInstance, match=said) as refused:
        suv_factor(pet(**elements))
    assert not any(letter.isdigit() for letter in refused.value.message)
