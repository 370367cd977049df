"""A study's files, one after the other: nothing is drawn before it is asked for, and no study is held whole."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from carina.sample import header, pictures, segmentation, slices
from carina.sample.anatomy import Body, Labels
from carina.sample.bodies import paint
from carina.sample.cohort import SampleStudy
from carina.sample.draws import Draws

_MASS_AT = {"kidney": "kidney", "colon": "bowel", "pancreas": "pancreas"}
"""Diseases whose mass is elsewhere in the abdomen than in the liver."""


def instances(study: SampleStudy) -> Iterator[bytes]:
    """The study's instances as DICOM Part 10 files, in the order a scanner would send them."""
    common = header.study_header(study)
    maps: dict[tuple[str, int, int], Labels] = {}
    marked: tuple[list[Dataset], Labels] | None = None
    for number, series in enumerate(study.kind.series, start=1):
        if series.modality in ("MG", "US"):
            yield from pictures.write(study, series, common)
            continue
        anatomy = _anatomy(study, series.anatomy)
        key = (anatomy, series.images, series.size)
        if key not in maps:
            maps[key] = paint(anatomy, _body(study), series.images, series.size)
        headers = []
        for image in slices.write(study, series, number, common, maps[key]):
            headers.append(image.header)
            yield image.data
        if marked is None and study.exam.segmented:
            marked = (headers, maps[key])
    if marked is not None:
        yield segmentation.write(study, *marked)


def _anatomy(study: SampleStudy, anatomy: str) -> str:
    return _MASS_AT.get(study.patient.case.disease, anatomy) if anatomy == "abdomen" else anatomy


def _body(study: SampleStudy) -> Body:
    draws = Draws("body", *study.patient.label)
    return Body(draws.seed(), study.patient.sex == "F", draws.real(0.93, 1.05), study.lesion)
