"""Standardized uptake values of PET, by body weight: PS3.3 sections C.8.9.1 and C.8.9.2, and the rules of RSNA's QIBA.

Only intervals enter, so dates that were moved by whole days for all of a patient's images give the same values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from math import expm1, isclose, isfinite, log, log2
from typing import Any

from pydicom import Dataset
from pydicom.valuerep import DT

from carina.dicom.quiet import quiet
from carina.errors import InvalidInstance

INSTEAD = "Take the values in the unit that the images have."
DAY = 86400.0  # s
DURING = 3600.0  # s after the scan's begin within which a time without a date is an injection during the scan
LEAST_DOSE = 1e4  # Bq; below, it is given in MBq, as some scanners do, or is no dose
MOST_WEIGHT = 1e3  # kg; above, it is given in g
LIVES = 10.0  # half-lives from administration after which nothing is left to be measured
PHILIPS = "Philips PET Private Group"
GE = "GEMS_PETD_01"
_REAL_WORLD = {"Bq/ml": "BQML", "{SUVbw}g/ml": "GML"}  # UCUM codes of PS3.16 CID 84 and 85, and Units (0054,1001)


def suv_bw_factor(dose: float, weight: float, delay: float, half_life: float) -> float:
    """Factor from PET activity (Bq/mL) to SUV by body weight (g/mL).

    dose       Bq, Radionuclide Total Dose (0018,1074), at administration
    weight     kg, Patient's Weight (0010,1030)
    delay      s, from administration to the decay correction time
    half_life  s, Radionuclide Half Life (0018,1075)

    Source: DICOM PS3.3 C.8.9.2.

    >>> suv_bw_factor(dose=4e8, weight=80, delay=0, half_life=6586.2)
    0.0002
    """
    if not all(isfinite(value) for value in (dose, weight, delay, half_life)) or min(dose, weight, half_life) <= 0:
        raise _missing("SUV needs dose, weight and half-life above zero.")
    return float(weight * 1000 / (dose * 2 ** (-delay / half_life)))


def suv_factor(dataset: Dataset) -> float:
    """What the rescaled values of a PET image are to be multiplied by to be SUV by body weight (g/mL).

    Units may be BQML, GML (by body weight), or CNTS with Philips' private factors (7053,xx00) or (7053,xx09). Enhanced
    PET is read by its Real World Value Mapping. The factor of an image holds for each frame of it, and differs from one
    image to the next only if their times of decay correction do.

    Raises `InvalidInstance` in a sentence that names what is missing.
    """
    with quiet():
        try:
            factor = _factor(dataset)
        except (TypeError, ValueError, AttributeError, KeyError, IndexError, OverflowError, ZeroDivisionError):
            raise _missing("What SUV needs cannot be read in the header of this PET image.") from None
    if not isfinite(factor) or factor <= 0:
        raise _missing("The factor that makes SUV of this PET image is no number above zero.")
    return factor


def _factor(dataset: Dataset) -> float:
    if str(dataset.get("Modality") or "") != "PT":
        raise _missing("SUV are values of PET; this is an image of another kind.")
    units, share = _units(dataset)
    if units == "GML":
        if str(dataset.get("SUVType") or "BW") != "BW":
            raise _missing("The values of this PET image are SUV already, though not by body weight.")
        return share
    _require_corrected(dataset)
    if units == "CNTS":
        factor, activity = (_philips(dataset, element) for element in (0x00, 0x09))
        if factor:
            return factor
        if not activity:
            raise _missing("This PET image has counts and not the manufacturer's factor that makes SUV of them.")
        return activity * _by_weight(dataset)
    if units != "BQML":
        raise _missing("This PET image has values in a unit that cannot be made SUV; it takes Bq/ml, or g/ml.")
    return share * _by_weight(dataset)


def _units(dataset: Dataset) -> tuple[str, float]:
    """The unit as Units (0054,1001) names it, and how many of it one rescaled value is."""
    if units := str(dataset.get("Units") or ""):
        if dataset.get("RescaleSlope") is None and not any("RescaleSlope" in place for place in _rescales(dataset)):
            raise _missing("The values of this PET image are without their scale (Rescale Slope).")
        return units, 1.0
    for place in _groups(dataset):
        for item in place.get("RealWorldValueMappingSequence") or ():
            code = str(item.MeasurementUnitsCodeSequence[0].get("CodeValue") or "")
            if code in _REAL_WORLD and "RealWorldValueSlope" in item:
                return _REAL_WORLD[code], _share(dataset, item)
    raise _missing("This PET image does not name the unit of its values (Units).")


def _share(dataset: Dataset, mapping: Dataset) -> float:
    """Slope of the real world values by that of the rescaled ones; both lines go through zero or there is none.

    One for all frames, or there is none: each may have a rescale and a mapping of its own.
    """
    slope, intercept = float(mapping.RealWorldValueSlope), float(mapping.get("RealWorldValueIntercept") or 0)
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    own = [each.get("RealWorldValueMappingSequence") for each in frames]
    slopes = [_slope(items, mapping) if items else slope for items in own] or [slope]
    scales = [float(item.RescaleSlope) for item in _rescales(dataset)] or [1.0]
    if intercept or any(abs(float(item.get("RescaleIntercept") or 0)) > 1e-9 for item in _rescales(dataset)):
        raise _missing("The values of this PET image do not begin at zero.")
    if len(slopes) > 1 and len(scales) > 1 and len(slopes) != len(scales):
        raise _missing("Some frames of this PET image are without their scale (Rescale Slope).")
    count = max(len(slopes), len(scales))
    shares = [slopes[at % len(slopes)] / scales[at % len(scales)] for at in range(count)]
    if not all(isclose(share, shares[0], rel_tol=1e-6) for share in shares):
        raise _missing("The frames of this PET image have scales of their own, which make no one factor.")
    return shares[0]


def _slope(items: Iterable[Dataset], mapping: Dataset) -> float:
    """Of the same unit as `mapping`, in the functional group of one frame."""
    wanted = mapping.MeasurementUnitsCodeSequence[0].CodeValue
    same = (item for item in items if item.MeasurementUnitsCodeSequence[0].get("CodeValue") == wanted)
    return float(next(same).RealWorldValueSlope)


def _rescales(dataset: Dataset) -> list[Dataset]:
    """The rescale of each frame, or the one for all; none where values are taken as they are stored."""
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    own = [item for frame in frames for item in frame.get("PixelValueTransformationSequence") or ()]
    return own or [item for place in _groups(dataset) for item in place.get("PixelValueTransformationSequence") or ()]


def _groups(dataset: Dataset) -> Iterator[Dataset]:
    """The functional groups of the first frame, its own before the shared, then the image."""
    for keyword in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        if dataset.get(keyword):
            yield dataset[keyword].value[0]
    yield dataset


def _require_corrected(dataset: Dataset) -> None:
    """Attenuation and decay must be corrected: without, a value does not compare with another patient's."""
    done = dataset.get("CorrectedImage") or ()
    corrections = {done} if isinstance(done, str) else {str(value) for value in done}
    for word, keyword, said in (
        ("DECY", "DecayCorrected", "This PET image is not corrected for decay."),
        ("ATTN", "AttenuationCorrected", "This PET image is not corrected for attenuation."),
    ):
        if word not in corrections and str(dataset.get(keyword) or "") != "YES":
            raise _missing(said)


def _by_weight(dataset: Dataset) -> float:
    """The factor of activity in Bq/ml."""
    given = list(dataset.get("RadiopharmaceuticalInformationSequence") or [])
    if len(given) != 1:
        raise _missing(
            "This PET image tells of several tracers, so that the dose of its own is not clear."
            if given
            else "This PET image says nothing of the tracer (Radiopharmaceutical Information)."
        )
    dose = _number(given[0], "RadionuclideTotalDose", "the dose that was given (Radionuclide Total Dose)")
    life = _number(given[0], "RadionuclideHalfLife", "the half-life of the tracer (Radionuclide Half Life)")
    weight = _number(dataset, "PatientWeight", "the weight of the patient (Patient's Weight)")
    if dose < LEAST_DOSE:
        raise _missing("The dose in this PET image is too small to be in Bq (Radionuclide Total Dose).")
    if weight > MOST_WEIGHT:
        raise _missing("The weight in this PET image is too large to be in kg (Patient's Weight).")
    return suv_bw_factor(dose, weight, _delay(dataset, given[0], life), life)


def _delay(dataset: Dataset, tracer: Dataset, life: float) -> float:
    """Seconds from the administration to the time that decay is corrected to."""
    correction = str(dataset.get("DecayCorrection") or "")
    if correction == "ADMIN":
        return 0.0
    moment = _moment(dataset.get("DecayCorrectionDateTime"))
    if correction not in {"START", ""} or (not correction and moment is None):
        raise _missing("This PET image does not say to which time its decay is corrected (Decay Correction).")
    began = moment or _began(dataset, life)
    given = _moment(tracer.get("RadiopharmaceuticalStartDateTime"))
    delay = _seconds(began, given) if given else _since(began, tracer, life)
    if not -DURING < delay < LIVES * life:
        raise _missing("The times of injection and scan in this PET image do not belong together.")
    return delay


def _since(began: datetime, tracer: Dataset, life: float) -> float:
    """Seconds since an injection of which only the time of day is known; it may have been before midnight."""
    clock = str(tracer.get("RadiopharmaceuticalStartTime") or "")
    if not clock:
        raise _missing("This PET image does not say when the tracer was given (Radiopharmaceutical Start Time).")
    if life > DAY:
        raise _missing("This PET image gives the time of the injection without its day, and the tracer lasts for days.")
    given = _moment(began.strftime("%Y%m%d") + clock)
    if given is None:
        raise _missing("This PET image does not say when the tracer was given (Radiopharmaceutical Start Time).")
    delay = _seconds(began, given)
    return delay if delay > -DURING else delay + DAY


def _began(dataset: Dataset, life: float) -> datetime:
    """When the scan began, to which START corrects: Series Time, unless that is of a later reconstruction.

    Then it is the manufacturer's own record, or reckoned from the frame: what its decay was corrected by says how long
    after the beginning it was measured.
    """
    series = _joined(dataset, "SeriesDate", "SeriesTime")
    frame = _joined(dataset, "AcquisitionDate", "AcquisitionTime") or _moment(dataset.get("AcquisitionDateTime"))
    if series is not None and (frame is None or _seconds(frame, series) >= 0):
        return series
    if (private := _private(dataset, 0x0009, GE, 0x0D)) is not None and (moment := _moment(private)) is not None:
        return moment
    if frame is None:
        raise _missing("This PET image does not say when it was taken (Series Time, Acquisition Time).")
    factor, duration = dataset.get("DecayFactor"), dataset.get("ActualFrameDuration")
    reference = dataset.get("FrameReferenceTime")
    if duration is None or (factor is None and reference is None):
        raise _missing("This PET image does not say when the scan began: its Series Time is later than the scan.")
    after = life * log2(float(factor)) if factor is not None else float(reference) / 1000
    return frame + timedelta(seconds=_average(float(duration) / 1000, life) - after)


def _average(duration: float, life: float) -> float:
    """When within a frame (s) the activity is that of its mean, in seconds from its beginning."""
    rate = log(2) / life
    return log(rate * duration / -expm1(-rate * duration)) / rate if duration > 0 else 0.0


def _joined(dataset: Dataset, date: str, time: str) -> datetime | None:
    day, clock = str(dataset.get(date) or ""), str(dataset.get(time) or "")
    return _moment(day + clock) if day and clock else None


def _moment(value: Any) -> datetime | None:
    """A DT, with its offset from UTC where it has one."""
    if value is None or len(str(value).strip()) < len("YYYYMMDDHH"):
        return None
    return DT(str(value).strip())


def _seconds(later: datetime, earlier: datetime) -> float:
    """The interval; where only one has an offset from UTC, that is the scanner's own and falls out."""
    if later.tzinfo is None or earlier.tzinfo is None:
        later, earlier = later.replace(tzinfo=None), earlier.replace(tzinfo=None)
    return (later - earlier).total_seconds()


def _number(place: Dataset, keyword: str, words: str) -> float:
    value = place.get(keyword)
    number = float(value) if value not in {None, ""} else 0.0
    if not isfinite(number) or number <= 0:
        raise _missing(f"This PET image does not give {words}.")
    return number


def _philips(dataset: Dataset, element: int) -> float:
    value = _private(dataset, 0x7053, PHILIPS, element)
    return float(value) if value is not None else 0.0


def _private(dataset: Dataset, group: int, creator: str, element: int) -> str | None:
    """A single value of a private block, also of one that was read as bytes (UN)."""
    try:
        value = dataset.private_block(group, creator)[element].value
    except KeyError:
        return None
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text.strip("\0 ") or None


def _missing(said: str) -> InvalidInstance:
    return InvalidInstance(said, INSTEAD)
