"""The kinds of study the sample knows, and the series each has, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """One series of a study.

    anatomy    a painter of `bodies.PAINTERS`, or what `pictures` draws
    contrast   tissue table the pixels follow: a key of `pixels.CT`, `pixels.MR` or "fdg"
    size       rows and columns
    field_mm   width of the field of view
    """

    modality: str
    body_part: str
    anatomy: str
    contrast: str
    description: str
    images: int
    size: int
    field_mm: float


@dataclass(frozen=True)
class Kind:
    """One kind of study: the machine it needs, its description and series."""

    machine: str
    description: str
    series: tuple[Series, ...]


KINDS: dict[str, Kind] = {
    "ct-chest": Kind(
        "CT", "CT Thorax with contrast", (Series("CT", "CHEST", "chest", "venous", "Thorax 5.0 C+", 10, 192, 380.0),)
    ),
    "ct-abdomen": Kind(
        "CT", "CT Abdomen portal venous",
        (Series("CT", "ABDOMEN", "abdomen", "portal", "Abdomen PV 5.0", 10, 192, 400.0),),
    ),
    "pet-ct-chest": Kind(
        "PT", "PET/CT FDG thorax",
        (
            Series("CT", "CHEST", "chest", "plain", "CT AC 5.0", 5, 192, 400.0),
            Series("PT", "CHEST", "chest", "fdg", "PET AC FDG", 5, 128, 400.0),
        ),
    ),
    "pet-ct-body": Kind(
        "PT", "PET/CT FDG whole body",
        (
            Series("CT", "WHOLEBODY", "body", "plain", "CT WB AC 5.0", 6, 192, 440.0),
            Series("PT", "WHOLEBODY", "body", "fdg", "PET WB AC FDG", 6, 128, 440.0),
        ),
    ),
    "mr-brain": Kind(
        "MR", "MR Brain with gadolinium",
        (
            Series("MR", "BRAIN", "brain", "t1", "T1 SE ax Gd", 5, 192, 230.0),
            Series("MR", "BRAIN", "brain", "flair", "FLAIR ax", 5, 192, 230.0),
        ),
    ),
    "mr-prostate": Kind(
        "MR", "MR Prostate multiparametric",
        (
            Series("MR", "PROSTATE", "pelvis", "t2", "T2 TSE ax", 5, 192, 320.0),
            Series("MR", "PROSTATE", "pelvis", "dwi", "DWI b800 ax", 5, 128, 320.0),
        ),
    ),
    "mr-rectum": Kind(
        "MR", "MR Rectum staging",
        (
            Series("MR", "PELVIS", "rectum", "t2", "T2 TSE ax", 6, 192, 320.0),
            Series("MR", "PELVIS", "rectum", "t1", "T1 TSE ax", 5, 192, 320.0),
        ),
    ),
    "mr-breast": Kind(
        "MR", "MR Breast bilateral dynamic",
        (
            Series("MR", "BREAST", "breast", "t1fs", "T1 dyn C+ 90s", 6, 192, 340.0),
            Series("MR", "BREAST", "breast", "t2", "T2 TSE ax", 5, 192, 340.0),
        ),
    ),
    "mr-liver": Kind(
        "MR", "MR Liver",
        (
            Series("MR", "LIVER", "abdomen", "t2", "T2 HASTE ax", 5, 192, 400.0),
            Series("MR", "LIVER", "abdomen", "t1fs", "T1 VIBE ax PV", 5, 192, 400.0),
        ),
    ),
    "mg": Kind(
        "MG", "Bilateral mammogram", (Series("MG", "BREAST", "mammogram", "mg", "Standard views", 4, 256, 240.0),)
    ),
    "us-breast": Kind("US", "Breast ultrasound", (Series("US", "BREAST", "us-breast", "us", "Breast", 2, 240, 50.0),)),
    "us-liver": Kind("US", "Abdominal ultrasound", (Series("US", "LIVER", "us-liver", "us", "Liver", 2, 240, 160.0),)),
}  # fmt: skip
