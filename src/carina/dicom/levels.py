"""Which attributes belong to a study, a series and an instance, PS3.3 annex A and PS3.18 section 10.6.3.3."""

from __future__ import annotations

from typing import Any as Json
from typing import Literal

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword

from carina.dicom.json import to_json

Level = Literal["study", "series", "instance"]
LEVELS: tuple[Level, ...] = ("study", "series", "instance")

_STUDY = """
    SpecificCharacterSet StudyDate StudyTime AccessionNumber InstanceAvailability ModalitiesInStudy
    ReferringPhysicianName TimezoneOffsetFromUTC RetrieveURL PatientName PatientID PatientBirthDate PatientSex
    StudyInstanceUID StudyID NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances
"""
_STUDY_MORE = """
    StudyDescription IssuerOfPatientID PatientAge PatientSize PatientWeight PatientIdentityRemoved
    DeidentificationMethod DeidentificationMethodCodeSequence LongitudinalTemporalInformationModified
    ClinicalTrialProtocolID ClinicalTrialSubjectID
"""
_SERIES = """
    SpecificCharacterSet Modality TimezoneOffsetFromUTC SeriesDescription RetrieveURL SeriesInstanceUID SeriesNumber
    NumberOfSeriesRelatedInstances PerformedProcedureStepStartDate PerformedProcedureStepStartTime
    RequestAttributesSequence
"""
_SERIES_MORE = """
    SeriesDate SeriesTime BodyPartExamined Laterality PatientPosition ProtocolName Manufacturer ManufacturerModelName
    FrameOfReferenceUID SynchronizationFrameOfReferenceUID
"""
_INSTANCE = """
    SpecificCharacterSet SOPClassUID SOPInstanceUID InstanceAvailability TimezoneOffsetFromUTC RetrieveURL
    InstanceNumber Rows Columns BitsAllocated NumberOfFrames
"""
_INSTANCE_MORE = """
    AvailableTransferSyntaxUID ImageType AcquisitionNumber AcquisitionDate AcquisitionTime ContentDate ContentTime
    ImagePositionPatient ImageOrientationPatient SliceLocation
"""
_COMPUTED = """
    InstanceAvailability ModalitiesInStudy RetrieveURL NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances
    NumberOfSeriesRelatedInstances AvailableTransferSyntaxUID
"""


def tag_of(keyword: str) -> str:
    """A keyword's tag as in DICOM JSON: `StudyDate` is `00080020`."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"no such keyword: {keyword}")
    return f"{tag:08X}"


def _tags(*keywords: str) -> dict[str, str]:
    return {tag_of(keyword): keyword for keyword in " ".join(keywords).split()}


RETURNED: dict[Level, dict[str, str]] = {
    "study": _tags(_STUDY),
    "series": _tags(_SERIES),
    "instance": _tags(_INSTANCE),
}
"""Tag → keyword of what an answer at this level holds unasked, tables 10.6.3-3 to -5."""

BELONGS: dict[Level, dict[str, str]] = {
    "study": _tags(_STUDY, _STUDY_MORE),
    "series": _tags(_SERIES, _SERIES_MORE),
    "instance": _tags(_INSTANCE, _INSTANCE_MORE),
}
"""Tag → keyword of what is kept, and can be searched, at this level."""

COMPUTED = frozenset(_tags(_COMPUTED))
"""Tags that the archive works out; no file states them."""


def study_header(dataset: Dataset) -> dict[str, Json]:
    """The study's and patient's attributes of an instance, as DICOM JSON."""
    return _header(dataset, "study")


def series_header(dataset: Dataset) -> dict[str, Json]:
    """The series' attributes of an instance, as DICOM JSON."""
    return _header(dataset, "series")


def instance_header(dataset: Dataset) -> dict[str, Json]:
    """All attributes of an instance, as DICOM JSON; the answer to "metadata"."""
    return to_json(dataset)


def _header(dataset: Dataset, level: Level) -> dict[str, Json]:
    kept = Dataset()
    for tag in BELONGS[level]:
        number = int(tag, 16)
        if tag not in COMPUTED and number in dataset:
            kept[number] = dataset[number]
    return to_json(kept)


def empty_element(tag: str) -> dict[str, Json]:
    """An element without value, for an attribute that must be there."""
    return {"vr": dictionary_VR(int(tag, 16))}
