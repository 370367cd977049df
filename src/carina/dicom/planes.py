"""Where each frame of an image lies in the patient and what its values mean, from pydicom datasets.

PS3.3 sections C.7.6.2 (classic images), C.7.6.16 (functional groups), C.8.4.15 (nuclear medicine), C.8.8.3.2 (dose).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import CTImageStorage

from carina.errors import InvalidInstance

Triple = tuple[float, float, float]
Mark = str | float | tuple[float, ...]
INSTEAD = "Take the datasets one by one with `datasets()`."
NOWHERE = "The images of this series do not say where they lie in the patient."
MARKS = (
    ("TemporalPositionIdentifier", ""),
    ("TemporalPositionIndex", "FrameContentSequence"),
    ("EffectiveEchoTime", "MREchoSequence"),
    ("EchoTime", ""),
    ("DiffusionBValue", "MRDiffusionSequence"),
    ("DiffusionGradientOrientation", "MRDiffusionSequence.DiffusionGradientDirectionSequence"),
    ("ComplexImageComponent", "MRImageFrameTypeSequence"),
    ("FrameType", "MRImageFrameTypeSequence"),
    ("FrameType", "CTImageFrameTypeSequence"),
    ("NominalCardiacTriggerDelayTime", "CardiacSynchronizationSequence"),
    ("InversionTime", ""),
    ("FrameReferenceTime", ""),
    ("TriggerTime", ""),
    ("ImageType", ""),
    ("FrameAcquisitionNumber", "FrameContentSequence"),
    ("AcquisitionNumber", ""),
)
"""What tells frames at one place apart, and the functional group that it stands in; the most telling ones first."""


@dataclass(frozen=True)
class Plane:
    """A frame of an image. Positions in mm, in the patient's system: x to the left, y to the back, z to the head.

    instance   SOP Instance UID
    frame      from 1
    position   the centre of the first pixel
    axes       unit vectors (x, y, z) in which the columns' and the rows' index grow
    spacing    mm between rows, between columns; 0 where the header does not say
    thickness  mm, or None
    slope, intercept  of the rescale (PS3.3 section C.11.1)
    unit       of the rescaled values, as the header names it
    marks      what tells it from others at its place, by keyword
    """

    instance: str
    frame: int
    position: Triple
    axes: tuple[Triple, Triple]
    spacing: tuple[float, float]
    thickness: float | None
    slope: float
    intercept: float
    unit: str
    marks: dict[str, Mark] = field(repr=False)

    @property
    def normal(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Cross product of the two directions, of length 1."""
        normal = np.cross(*np.array(self.axes))
        return np.asarray(normal / np.linalg.norm(normal))


def planes_of(dataset: Dataset) -> list[Plane]:
    """The frames of an image. Raises `InvalidInstance` in a sentence when it does not say where one of them lies."""
    frames = _frames(dataset)
    offsets = _offsets(dataset, frames)
    return [_plane(dataset, number, offsets) for number in range(frames)]


def places(dataset: Dataset, number: int, group: str) -> Iterator[Dataset]:
    """The items of a functional group that hold for frame `number`, from 0: its own, the shared; then the image.

    group  keyword of the sequence; a dot leads into one inside
    """
    for keyword, item in (("PerFrameFunctionalGroupsSequence", number), ("SharedFunctionalGroupsSequence", 0)):
        items = dataset.get(keyword) or ()
        place: Dataset | None = items[item] if item < len(items) else None
        for inner in group.split("."):
            found = place.get(inner) if place is not None and inner else None
            place = found[0] if found else None
        if place is not None:
            yield place
    yield dataset


def value_of(dataset: Dataset, number: int, group: str, keyword: str) -> Any:
    """An attribute that holds for frame `number`, from 0, or None."""
    values = (place.get(keyword) for place in places(dataset, number, group))
    return next((value for value in values if value is not None and value != ""), None)


def numbers(value: Any, count: int) -> list[float]:
    """So many finite numbers, or `InvalidInstance`."""
    try:
        found = [float(part) for part in value] if value is not None else []
    except (TypeError, ValueError):
        found = []
    if len(found) != count or not all(abs(part) < 1e9 for part in found):  # NaN is not below
        raise InvalidInstance(NOWHERE, INSTEAD)
    return found


def _frames(dataset: Dataset) -> int:
    try:
        return max(1, int(dataset.get("NumberOfFrames") or 1))
    except (TypeError, ValueError):
        raise InvalidInstance("An image of this series does not say how many frames it has.", INSTEAD) from None


def _plane(dataset: Dataset, number: int, offsets: Sequence[float]) -> Plane:
    whole = _detector(dataset)
    position = value_of(dataset, number, "PlanePositionSequence", "ImagePositionPatient")
    axes = value_of(dataset, number, "PlaneOrientationSequence", "ImageOrientationPatient")
    corner = np.array(numbers(position if position is not None else whole.get("ImagePositionPatient"), 3))
    turn = np.array(numbers(axes if axes is not None else whole.get("ImageOrientationPatient"), 6)).reshape(2, 3)
    if np.abs(turn @ turn.T - np.eye(2)).max() > 1e-3:
        raise InvalidInstance("The directions of an image's rows and columns are no right angle.", INSTEAD)
    turn /= np.linalg.norm(turn, axis=1, keepdims=True)
    if offsets:
        normal = np.cross(turn[0], turn[1])
        corner = corner + offsets[number] * normal / np.linalg.norm(normal)
    spacing = value_of(dataset, number, "PixelMeasuresSequence", "PixelSpacing")
    rows, columns = numbers(spacing, 2)
    slope, intercept, unit = _values(dataset, number)
    return Plane(
        instance=str(dataset.get("SOPInstanceUID") or ""),
        frame=number + 1,
        position=_triple(corner),
        axes=(_triple(turn[0]), _triple(turn[1])),
        spacing=(rows, columns),
        thickness=_number(value_of(dataset, number, "PixelMeasuresSequence", "SliceThickness")),
        slope=slope,
        intercept=intercept,
        unit=unit,
        marks=dict(_marks(dataset, number)),
    )


def _values(dataset: Dataset, number: int) -> tuple[float, float, str]:
    """Slope, intercept and unit."""
    if (scaling := _number(dataset.get("DoseGridScaling"))) is not None:
        return scaling, 0.0, {"GY": "Gy"}.get(str(dataset.get("DoseUnits") or ""), "")
    group = "PixelValueTransformationSequence"
    slope, intercept = (
        _finite(value_of(dataset, number, group, keyword)) for keyword in ("RescaleSlope", "RescaleIntercept")
    )
    unit = value_of(dataset, number, group, "RescaleType") or dataset.get("Units") or ""
    if not unit and slope is not None and _hounsfield(dataset):
        unit = "HU"
    return (1.0 if slope is None else slope), intercept or 0.0, str(unit)


def _hounsfield(dataset: Dataset) -> bool:
    """Whether a CT image that names no unit has this one (PS3.3 section C.8.2.1.1, Rescale Type)."""
    return bool(dataset.get("SOPClassUID") == CTImageStorage and dataset.get("MultienergyCTAcquisition") != "YES")


def _marks(dataset: Dataset, number: int) -> Iterator[tuple[str, Mark]]:
    for keyword, group in MARKS:
        value = value_of(dataset, number, group, keyword)
        if value is None:
            continue
        if isinstance(value, MultiValue | list | tuple):
            words = [_plain(part) for part in value]
            plain = tuple(part for part in words if isinstance(part, float))
            yield keyword, plain if len(plain) == len(words) else "\\".join(map(str, words))
        else:
            yield keyword, _plain(value)


def _plain(value: Any) -> str | float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return str(value)


def _offsets(dataset: Dataset, frames: int) -> list[float]:
    """Of several frames without functional groups: how far each lies along the normal; a sentence where none says."""
    if frames == 1 or "PerFrameFunctionalGroupsSequence" in dataset:
        return []
    if (vector := dataset.get("GridFrameOffsetVector")) is not None:  # PS3.3 section C.8.8.3.2
        found = numbers(vector, frames)
        return [value - found[0] for value in found]
    gap, vector = _number(dataset.get("SpacingBetweenSlices")), dataset.get("SliceVector")
    if gap and vector is not None and str(dataset.get("FrameIncrementPointer")).find("0054,0080") > 0:
        return [(value - 1) * gap for value in numbers(vector, frames)]
    raise InvalidInstance("The series has images of several frames, whose places they do not tell.", INSTEAD)


def _detector(dataset: Dataset) -> Dataset:
    """Where nuclear medicine keeps the place of its first frame (PS3.3 section C.8.4.11)."""
    detectors = list(dataset.get("DetectorInformationSequence") or [])
    return detectors[0] if len(detectors) == 1 else Dataset()


def _triple(values: np.ndarray[Any, np.dtype[np.float64]]) -> Triple:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _finite(value: Any) -> float | None:
    """A number that is there, and can be reckoned with."""
    number = _number(value)
    if number is None and value is not None:
        raise InvalidInstance("The scale of an image's values (Rescale Slope and Intercept) is no number.", INSTEAD)
    return number


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None
