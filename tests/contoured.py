"""A structure set on the slices of a study, as a planning system would send it (PS3.3 section A.19)."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

RT_STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
RED = [255, 40, 40]
COPIED = (
    "SpecificCharacterSet",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyInstanceUID",
    "AccessionNumber",
    "ReferringPhysicianName",
)


def structure_set(slices: Sequence[bytes], *, radius: float = 30, name: str = "Lesion") -> bytes:
    """A circle of `radius` mm around the middle of each of these slices of one series."""
    images = [pydicom.dcmread(BytesIO(data)) for data in slices]
    first = images[0]
    made = Dataset()
    for keyword in COPIED:
        if keyword in first:
            made[keyword] = first[keyword]
    made.SOPClassUID = RT_STRUCTURE_SET
    made.SOPInstanceUID, made.SeriesInstanceUID = f"{first.SeriesInstanceUID}.77.1", f"{first.SeriesInstanceUID}.77"
    made.Modality, made.SeriesNumber, made.InstanceNumber = "RTSTRUCT", 77, 1
    made.Manufacturer, made.SeriesDescription = "Planner", "Structures"
    made.StructureSetLabel, made.StructureSetDate, made.StructureSetTime = "PLAN", first.StudyDate, "120000"
    made.FrameOfReferenceUID = first.FrameOfReferenceUID
    made.ReferencedFrameOfReferenceSequence = [_frame_of_reference(images)]
    region = Dataset()
    region.ROINumber, region.ROIName, region.ROIGenerationAlgorithm = 1, name, "MANUAL"
    region.ReferencedFrameOfReferenceUID = first.FrameOfReferenceUID
    made.StructureSetROISequence = [region]
    contours = Dataset()
    contours.ReferencedROINumber, contours.ROIDisplayColor = 1, RED
    contours.ContourSequence = [_circle(image, radius) for image in images]
    made.ROIContourSequence = [contours]
    said = Dataset()
    said.ObservationNumber = said.ReferencedROINumber = 1
    said.RTROIInterpretedType, said.ROIInterpreter = "GTV", ""
    made.RTROIObservationsSequence = [said]
    made.ApprovalStatus = "UNAPPROVED"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = (
        RT_STRUCTURE_SET,
        made.SOPInstanceUID,
    )
    out = BytesIO()
    pydicom.dcmwrite(out, made, enforce_file_format=True)
    return out.getvalue()


def _reference(image: Dataset) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID, made.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return made


def _frame_of_reference(images: Sequence[Dataset]) -> Dataset:
    made, study, series = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ContourImageSequence = [_reference(image) for image in images]
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID = images[0].StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    made.FrameOfReferenceUID, made.RTReferencedStudySequence = images[0].FrameOfReferenceUID, [study]
    return made


def _circle(image: Dataset, radius: float) -> Dataset:
    corner = np.array(image.ImagePositionPatient, float)
    along, down = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
    between, apart = (float(value) for value in image.PixelSpacing)
    middle = corner + along * apart * image.Columns / 2 + down * between * image.Rows / 2
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    points = middle + radius * (np.outer(np.cos(angles), along) + np.outer(np.sin(angles), down))
    made = Dataset()
    made.ContourImageSequence = [_reference(image)]
    made.ContourGeometricType, made.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
    made.ContourData = [f"{value:.3f}" for value in points.ravel()]
    return made
