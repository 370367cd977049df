"""What stands beside images in a study, and what can be done with it, in words; by Modality (0008,0060)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from carina.interfaces.language import gettext as _
from carina.interfaces.language import mark
from carina.node.look import SeriesSeen

WHAT: dict[str, tuple[str, str]] = {
    "SEG": (
        mark("Segmentation (SEG)"),
        mark("Its outlines can be ticked below the images it belongs to. Programs fetch it for the masks."),
    ),
    "RTSTRUCT": (
        mark("Contours (RTSTRUCT)"),
        mark("They can be ticked below the images they belong to. Programs fetch it for the points."),
    ),
    "RTDOSE": (mark("Dose (RTDOSE)"), mark("Shown slice by slice. Programs fetch it for the dose in Gy.")),
    "RTPLAN": (mark("Plan (RTPLAN)"), mark("It has no pictures; its content is in its header.")),
    "SR": (mark("Report (SR)"), mark("It has no pictures; its content is in its header, and programs fetch it.")),
    "DOC": (mark("Document (PDF)"), mark("It is not shown here; programs fetch it as a DICOM object.")),
    "PR": (mark("Presentation (PR)"), mark("How somebody arranged images; the quick look does not apply it.")),
    "KO": (mark("Key objects (KO)"), mark("A list of chosen images; it is in its header.")),
    "REG": (
        mark("Registration (REG)"),
        mark("How images lie to each other; programs fetch it. It is not applied here."),
    ),
    "ECG": (mark("Waveform (ECG)"), mark("It is not drawn here; programs fetch it.")),
}
"""What people call it, and a sentence."""

_WITHOUT = frozenset(("RTSTRUCT", "RTPLAN", "SR", "DOC", "PR", "KO", "REG", "ECG", "HD", "EPS", "AU", "PLAN"))


def has_pictures(modalities: Iterable[str]) -> bool:
    """Whether a small picture is worth asking for."""
    return any(one and one not in _WITHOUT for one in modalities)


def first_images(series: Sequence[SeriesSeen]) -> str:
    """UID of the series that stands for a study: the first of images, else the first with pictures; or nothing."""
    shown = [one for one in series if has_pictures([one.modality])]
    images = [one for one in shown if one.modality not in WHAT]
    return next((one.uid for one in (*images, *shown)), "")


def has_images(series: Iterable[SeriesSeen]) -> bool:
    """Whether a radiology viewer finds something to show: what belongs to images elsewhere is nothing by itself."""
    return any(one.modality == "RTDOSE" or one.modality not in WHAT for one in series)


def objects(series: Sequence[SeriesSeen]) -> list[tuple[str, str]]:
    """What the study holds beside images: each kind once."""
    held = dict.fromkeys(one.modality for one in series)
    return [(_(WHAT[kind][0]), _(WHAT[kind][1])) for kind in held if kind in WHAT]
