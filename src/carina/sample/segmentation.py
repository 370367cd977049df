"""DICOM SEG of the lesion on a CT or MR series, by highdicom. Source: PS3.3 section A.51."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from highdicom.seg import SegmentAlgorithmTypeValues, SegmentationTypeValues, SegmentDescription
from highdicom.seg import Segmentation as Segment
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from carina.sample import header
from carina.sample.anatomy import Labels, Tissue
from carina.sample.cohort import SampleStudy
from carina.sample.draws import uid

_CREATION_DATE, _CREATION_TIME, _CONTRIBUTION = 0x00080012, 0x00080013, 0x0018A002
SERIES = 9
"""The number `header.series_uid` knows the segmentation's series by."""


def write(study: SampleStudy, images: Sequence[Dataset], labels: Labels) -> bytes:
    """The file of one binary segmentation: the lesion, its necrosis included, on those `images` that show it."""
    mask = (labels == Tissue.LESION) | (labels == Tissue.NECROSIS)
    shown = np.flatnonzero(mask.any(axis=(1, 2))).tolist()
    description = SegmentDescription(
        segment_number=1,
        segment_label="Lesion 1",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Neoplasm,
        algorithm_type=SegmentAlgorithmTypeValues.MANUAL,
        tracking_uid=uid("lesion", *study.patient.label),
        tracking_id=f"{study.patient.patient_id}-L1",
    )
    made = header.clock(study, 5400)
    segmentation = Segment(
        source_images=[images[index] for index in shown],
        pixel_array=mask[shown].astype(np.uint8),
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[description],
        series_instance_uid=header.series_uid(study, SERIES),
        series_number=100,
        sop_instance_uid=header.instance_uid(study, SERIES, 1),
        instance_number=1,
        manufacturer="Sierra Workstations",
        manufacturer_model_name="LesionTrace",
        software_versions="3.4",
        device_serial_number=f"LT-{study.patient.site.issuer}-02",
        content_label="LESION",
        content_description=f"Lesion of {study.patient.spoken}"[:64],
        content_creator_name=study.physician,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        content_date=header.day(study.day),
        content_time=made,
        series_date=header.day(study.day),
        series_time=made,
        series_description="Lesion segmentation",
    )
    segmentation.DimensionOrganizationSequence[0].DimensionOrganizationUID = _organization(study)
    for item in segmentation.DimensionIndexSequence:
        item.DimensionOrganizationUID = _organization(study)
    segmentation[_CREATION_DATE].value = header.day(study.day)
    segmentation[_CREATION_TIME].value = made
    for item in segmentation.ContributingEquipmentSequence:
        if _CONTRIBUTION in item:
            item[_CONTRIBUTION].value = header.day(study.day) + made
    segmentation.InstitutionName = study.patient.site.name
    segmentation.OperatorsName = study.operator
    segmentation.StationName = study.scanner.station
    out = io.BytesIO()
    segmentation.save_as(out)
    return out.getvalue()


def _organization(study: SampleStudy) -> str:
    return uid("dimensions", *study.label)
