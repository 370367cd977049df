"""What stays of a person in a clean instance, by which people could be told apart: quasi-identifiers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from carina.deid.evidence.anonymity import band
from carina.dicom.makers import maker
from carina.dicom.quiet import quiet

EXACT: Mapping[str, tuple[int, ...]] = {
    "ethnic_group": (0x00102160, 0x00102162, 0x00102161),  # Ethnic Group, Ethnic Groups, and its Code Sequence
    "smoking_status": (0x001021A0,),
    "pregnancy_status": (0x001021C0,),
    "sex_neutered": (0x00102203,),
    "institution": (0x00080080, 0x00080082),  # its name, and its Code Sequence
    "institution_address": (0x00080081,),
}
"""The tags of what counts as it stays, by the name under which `anonymity` has it."""
KEYWORDS = (
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "BodyPartExamined",
    "Manufacturer",
    "DeviceSerialNumber",
)
_TAGS = [*(BaseTag(tag_for_keyword(keyword) or 0) for keyword in KEYWORDS), *map(BaseTag, chain(*EXACT.values()))]
SIZE_BAND, WEIGHT_BAND = 0.05, 5.0
"""Metres and kilograms: what somebody who knows a person may know."""


def quasi_identifiers(path: Path) -> dict[str, str]:
    """Those of a clean file."""
    with quiet():
        return of_dataset(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS))


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
        **{name: ";".join(filter(None, (_text(clean, tag) for tag in tags))) for name, tags in EXACT.items()},
    }


def _text(clean: Dataset, tag: int) -> str:
    """The values of an attribute; of coded ones their codes."""
    value = clean[tag].value if tag in clean else None
    if isinstance(value, Sequence):
        return ";".join(f"{item.get('CodingSchemeDesignator', '')}:{item.get('CodeValue', '')}" for item in value)
    values = value if isinstance(value, MultiValue) else [value]
    return ";".join(str(one).strip() for one in values if one is not None)
