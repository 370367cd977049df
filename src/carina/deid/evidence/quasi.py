"""What stays of a person in a clean instance, by which people could be told apart: quasi-identifiers."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from carina.deid.evidence.anonymity import band
from carina.dicom.makers import maker
from carina.dicom.quiet import quiet

KEYWORDS = (
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "BodyPartExamined",
    "Manufacturer",
    "DeviceSerialNumber",
)
SIZE_BAND, WEIGHT_BAND = 0.05, 5.0
"""Metres and kilograms: what somebody who knows a person may know."""


def quasi_identifiers(path: Path) -> dict[str, str]:
    """Those of a clean file."""
    with quiet():
        return of_dataset(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(KEYWORDS)))


def of_dataset(clean: Dataset) -> dict[str, str]:
    """Those of a clean header, as `anonymity` wants them."""
    text = {keyword: str(clean.get(keyword) or "").strip() for keyword in KEYWORDS}
    return {
        "sex": text["PatientSex"],
        "age": text["PatientAge"],
        "size": band(text["PatientSize"], SIZE_BAND),
        "weight": band(text["PatientWeight"], WEIGHT_BAND),
        "body_part": text["BodyPartExamined"],
        "manufacturer": maker(text["Manufacturer"]) or "",
        "device": text["DeviceSerialNumber"],
    }
