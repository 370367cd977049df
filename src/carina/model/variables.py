"""The variables that a cohort query may speak of, and what each means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from carina.errors import InvalidQuery
from carina.model.cohort import All, AnyOf, Between, OneOf, Query
from carina.model.topography import SITES


@dataclass(frozen=True)
class Variable:
    """One thing that every node can be asked for.

    kind    "code": one of a set of words; "number": a whole number in `unit`
    values  words with their labels, in the order people expect; empty where the set is open
    level   what the value belongs to: the study's series, the study or the patient
    source  the standard's name for it
    """

    name: str
    label: str
    kind: Literal["code", "number"]
    level: Literal["series", "study", "patient"]
    source: str
    unit: str = ""
    values: tuple[tuple[str, str], ...] = ()


VARIABLES: tuple[Variable, ...] = (
    Variable(
        "modality",
        "Modality",
        "code",
        "series",
        "Modality (0008,0060)",
        values=(
            ("CT", "Computed tomography"),
            ("MR", "Magnetic resonance"),
            ("PT", "Positron emission tomography"),
            ("MG", "Mammography"),
            ("US", "Ultrasound"),
            ("SEG", "Segmentation"),
            ("NM", "Nuclear medicine"),
            ("RTSTRUCT", "Radiotherapy structures"),
            ("RTDOSE", "Radiotherapy dose"),
            ("CR", "Computed radiography"),
            ("DX", "Digital radiography"),
            ("XA", "Angiography"),
            ("SM", "Slide microscopy"),
            ("SR", "Report"),
        ),
    ),
    Variable(
        "body_part",
        "Body part",
        "code",
        "series",
        "Body Part Examined (0018,0015), PS3.16 Annex L",
        values=(
            ("ABDOMEN", "Abdomen"),
            ("BRAIN", "Brain"),
            ("BREAST", "Breast"),
            ("CHEST", "Chest"),
            ("COLON", "Colon"),
            ("HEAD", "Head"),
            ("LIVER", "Liver"),
            ("LUNG", "Lung"),
            ("NECK", "Neck"),
            ("PELVIS", "Pelvis"),
            ("PROSTATE", "Prostate"),
            ("SPINE", "Spine"),
            ("WHOLEBODY", "Whole body"),
        ),
    ),
    Variable(
        "sex",
        "Sex",
        "code",
        "patient",
        "Patient's Sex (0010,0040)",
        values=(("F", "Female"), ("M", "Male"), ("O", "Other")),
    ),
    Variable("age", "Age at the study", "number", "study", "Patient's Age (0010,1010)", unit="years"),
    Variable(
        "manufacturer",
        "Manufacturer",
        "code",
        "series",
        "Manufacturer (0008,0070), one spelling per maker",
        values=(
            ("CANON", "Canon (Toshiba)"),
            ("GE", "GE HealthCare"),
            ("HOLOGIC", "Hologic"),
            ("PHILIPS", "Philips"),
            ("SIEMENS", "Siemens Healthineers"),
            ("UNITED IMAGING", "United Imaging"),
            ("OTHER", "Other makers"),
        ),
    ),
    Variable(
        "diagnosis",
        "Diagnosis",
        "code",
        "patient",
        "ICD-O-3 topography (WHO), three characters",
        values=SITES,
    ),
)
BY_NAME = {variable.name: variable for variable in VARIABLES}
RANGES = tuple(variable.name for variable in VARIABLES if variable.kind == "number")


def unknown_terms(query: Query) -> list[str]:
    """What of the query has no meaning here: `pirads`, or `modality=XYZ`. Empty when all of it has."""
    match query:
        case OneOf(name, values):
            variable = BY_NAME.get(name)
            if variable is None or variable.kind != "code":
                return [name]
            known = {value for value, _ in variable.values}
            return [f"{name}={value}" for value in values if value not in known]
        case Between(name, _, _):
            variable = BY_NAME.get(name)
            return [] if variable is not None and variable.kind == "number" else [name]
        case All(parts) | AnyOf(parts):
            return [term for part in parts for term in unknown_terms(part)]


def require_known(query: Query) -> None:
    """Raise `InvalidQuery` that names each unknown term; none is ever dropped in silence."""
    unknown = unknown_terms(query)
    if unknown:
        named = ", ".join(f"'{term}'" for term in dict.fromkeys(unknown))
        raise InvalidQuery(
            f"Not known here: {named}.", "Remove it; the explorer and `carina search --help` list the terms."
        )
