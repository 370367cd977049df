"""Which cancers the cohort holds, who has them and how they are imaged, as data.

Every site has `COMMON` in this order, then its own `extra` cases. The order is mixed so that the first dozen patients
already show most kinds. What holds at each site then: 12 persons with a CT of the chest, 11 with MR, 11 women with
CT, MR or PET, 11 with lung cancer at an age of 50 to 80, two over 89.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Disease:
    """One cancer in ICD-O-3 (topography, morphology), with stages and treatments that occur."""

    topographies: tuple[str, ...]
    morphologies: tuple[str, ...]
    stages: tuple[str, ...]
    treatments: tuple[str, ...]
    words: str


@dataclass(frozen=True)
class Exam:
    """One study of a patient: `kind` is a key of `exams.KINDS`, `months` after the diagnosis."""

    kind: str
    months: int = 0
    segmented: bool = False


@dataclass(frozen=True)
class Case:
    """One person to be: the disease, sex, age at diagnosis (the person's own differs by up to 2 years) and studies."""

    disease: str
    sex: str
    age: int
    exams: tuple[Exam, ...]


DISEASES = {
    "lung": Disease(
        ("C34.1", "C34.3", "C34.1", "C34.9"), ("8140/3", "8070/3", "8041/3"), ("IA", "IIB", "IIIA", "IIIB", "IV"),
        ("surgery", "chemotherapy;radiotherapy", "chemotherapy;immunotherapy", "targeted", "radiotherapy"),
        "lung carcinoma",
    ),
    "breast": Disease(
        ("C50.4", "C50.2", "C50.8"), ("8500/3", "8520/3"), ("IA", "IIA", "IIB", "IIIA"),
        ("surgery;radiotherapy;hormone", "chemotherapy;surgery", "surgery;hormone"), "breast carcinoma",
    ),
    "prostate": Disease(
        ("C61.9",), ("8140/3",), ("IIA", "IIB", "IIIB", "IVA"),
        ("radiotherapy;hormone", "surgery", "none", "hormone"), "prostate carcinoma",
    ),
    "brain": Disease(
        ("C71.1", "C71.2", "C71.3"), ("9440/3", "9401/3"), ("4", "3"),
        ("surgery;radiotherapy;chemotherapy", "radiotherapy;chemotherapy"), "malignant glioma",
    ),
    "liver": Disease(
        ("C22.0",), ("8170/3",), ("I", "II", "IIIA"), ("surgery", "targeted", "none"), "hepatocellular carcinoma",
    ),
    "colon": Disease(
        ("C18.7", "C18.2"), ("8140/3",), ("IIA", "IIIB", "IVA"), ("surgery", "surgery;chemotherapy"),
        "colon carcinoma",
    ),
    "rectum": Disease(
        ("C20.9",), ("8140/3",), ("IIA", "IIIB"), ("radiotherapy;chemotherapy;surgery",), "rectal carcinoma",
    ),
    "kidney": Disease(
        ("C64.9",), ("8310/3",), ("I", "II", "III"), ("surgery", "immunotherapy"), "renal cell carcinoma",
    ),
    "pancreas": Disease(
        ("C25.0",), ("8500/3",), ("IIB", "III", "IV"), ("chemotherapy", "surgery;chemotherapy"),
        "pancreatic carcinoma",
    ),
    "lymphoma": Disease(
        ("C77.8",), ("9663/3", "9680/3"), ("IIA", "IIIB"), ("chemotherapy", "chemotherapy;radiotherapy"), "lymphoma",
    ),
}  # fmt: skip

_CT, _PET, _BODY, _ABDOMEN = "ct-chest", "pet-ct-chest", "pet-ct-body", "ct-abdomen"
_BRAIN, _PROSTATE, _BREAST, _LIVER, _RECTUM = "mr-brain", "mr-prostate", "mr-breast", "mr-liver", "mr-rectum"

COMMON: tuple[Case, ...] = (
    Case("lung", "F", 63, (Exam(_CT, 0, True), Exam(_CT, 5, True))),
    Case("brain", "M", 58, (Exam(_BRAIN, 0, True), Exam(_BRAIN, 4, True))),
    Case("lung", "M", 71, (Exam(_CT, 0, True), Exam(_CT, 6, True))),
    Case("breast", "F", 52, (Exam("mg"), Exam(_BREAST, 0, True))),
    Case("lung", "M", 66, (Exam(_PET, 0, True),)),
    Case("prostate", "M", 67, (Exam(_PROSTATE, 0, True), Exam(_PROSTATE, 9, True))),
    Case("lung", "F", 58, (Exam(_CT),)),
    Case("liver", "M", 64, (Exam("us-liver"), Exam(_ABDOMEN, 0, True))),
    Case("lung", "F", 74, (Exam(_CT, 0, True), Exam(_CT, 6, True))),
    Case("brain", "F", 41, (Exam(_BRAIN, 0, True),)),
    Case("lung", "M", 76, (Exam(_CT),)),
    Case("prostate", "M", 72, (Exam(_PROSTATE),)),
    Case("lung", "F", 69, (Exam(_PET, 0, True), Exam(_PET, 4, True))),
    Case("breast", "F", 44, (Exam(_BREAST, 0, True),)),
    Case("lung", "M", 61, (Exam(_CT, 0, True), Exam(_BRAIN))),
    Case("colon", "F", 70, (Exam(_ABDOMEN, 0, True),)),
    Case("lung", "F", 55, (Exam(_CT), Exam(_CT, 7))),
    Case("lymphoma", "O", 33, (Exam(_BODY), Exam(_BODY, 3))),
    Case("lung", "M", 75, (Exam(_CT, 0, True),)),
    Case("prostate", "M", 61, (Exam(_PROSTATE, 0, True),)),
    Case("breast", "F", 37, (Exam("us-breast"), Exam(_BREAST))),
    Case("lung", "F", 67, (Exam(_CT),)),
    Case("brain", "M", 92, (Exam(_BRAIN),)),
    Case("lung", "M", 64, (Exam(_CT, 0, True), Exam(_CT, 3, True))),
    Case("rectum", "M", 59, (Exam(_RECTUM, 0, True),)),
    Case("kidney", "F", 62, (Exam(_ABDOMEN, 0, True), Exam(_ABDOMEN, 8, True))),
    Case("lung", "F", 93, (Exam(_CT),)),
    Case("brain", "F", 32, (Exam(_BRAIN, 0, True), Exam(_BRAIN, 6, True))),
    Case("liver", "F", 68, (Exam(_LIVER),)),
    Case("pancreas", "M", 75, (Exam(_ABDOMEN),)),
)

EXTRA: dict[str, Case] = {
    "lung-f-follow": Case("lung", "F", 60, (Exam(_CT, 0, True), Exam(_CT, 4, True))),
    "lung-f-pet": Case("lung", "F", 59, (Exam(_PET, 0, True), Exam(_PET, 5))),
    "lung-m": Case("lung", "M", 68, (Exam(_CT),)),
    "liver-m": Case("liver", "M", 57, (Exam(_LIVER, 0, True),)),
    "colon-m": Case("colon", "M", 73, (Exam(_ABDOMEN),)),
    "breast-f": Case("breast", "F", 49, (Exam(_BREAST, 0, True), Exam(_BREAST, 5, True))),
    "breast-f-old": Case("breast", "F", 66, (Exam(_BREAST),)),
    "prostate-m": Case("prostate", "M", 69, (Exam(_PROSTATE),)),
    "prostate-m-follow": Case("prostate", "M", 64, (Exam(_PROSTATE, 0, True), Exam(_PROSTATE, 12))),
    "brain-f": Case("brain", "F", 54, (Exam(_BRAIN, 0, True),)),
    "kidney-m": Case("kidney", "M", 48, (Exam(_ABDOMEN),)),
}
