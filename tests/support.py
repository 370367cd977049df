"""Builders for tests: a node in a folder, and small DICOM files full of identifying data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from tests.records import new_records

from carina.deid.profile import load_profile
from carina.federation.permitkeys import PermitKey
from carina.federation.signing import SigningKey, party_id
from carina.model.ids import NodeId, ProjectId
from carina.model.instance import Source
from carina.model.keys import KeyRing, derive
from carina.node.site import Node, Project
from carina.storage.audit import AuditTrail
from carina.storage.instances import FileInstances
from carina.storage.sealed import SealedFolder

ROOT = Path(__file__).resolve().parents[1]
CORPUS = Path(os.environ.get("CARINA_CORPUS", ROOT.parent / "shared" / "corpus"))
SCANNER = Source("aet", "SCANNER")
FOLDER = Source("folder", "inbox")
LUNG = ProjectId("lung")
BREAST = ProjectId("breast")


def ring(seed: int = 1) -> KeyRing:
    """A key ring that is the same in each process; for tests only."""
    return KeyRing(
        *(derive(bytes([seed]) * 32, "test", name) for name in ("pseudonym", "storage", "signing", "permits"))
    )


def make_node(folder: Path, *, keys: KeyRing | None = None, threshold: int = 10, **changes: Any) -> Node:
    """A node in `folder`: project `lung` fed by AE SCANNER and the folder `inbox`, project `breast` by AE MAMMO."""
    keys = keys or ring()
    folder.mkdir(parents=True, exist_ok=True)
    engine = new_records(folder / "records.sqlite", "node")
    signing = SigningKey.from_seed(keys.signing)
    profile = load_profile("basic")
    node = Node(
        id=NodeId(party_id(signing.public_jwk, "n")),
        title="Test node",
        institution="Hospital Ficticio",
        country="ES",
        public_url=None,
        threshold=threshold,
        largest_instance=64 * 2**20,
        folder=folder,
        keys=keys,
        signing=signing,
        permit_key=PermitKey.from_master(keys.permits),
        projects={
            LUNG: Project(LUNG, "Lung", profile, "HOSPITAL"),
            BREAST: Project(BREAST, "Breast", profile, "HOSPITAL"),
        },
        project_of={SCANNER: LUNG, FOLDER: LUNG, Source("aet", "MAMMO"): BREAST},
        engine=engine,
        spool=SealedFolder(folder / "spool", derive(keys.storage, "spool")),
        quarantine=SealedFolder(folder / "quarantine", derive(keys.storage, "quarantine")),
        instances=FileInstances(folder / "store"),
        audit=AuditTrail(engine),
    )
    return replace(node, **changes)


@contextmanager
def open_test_node(folder: Path, **changes: Any) -> Any:
    """`make_node`, closed at the end."""
    node = make_node(folder, **changes)
    try:
        yield node
    finally:
        node.engine.dispose()


def ct(
    patient: str = "MRN-0001",
    study: int = 1,
    series: int = 1,
    number: int = 1,
    *,
    elements: Mapping[str, Any] | None = None,
    size: int = 32,
) -> bytes:
    """A CT slice as a scanner would send it; `elements` sets or (with None) removes attributes by keyword."""
    root = f"1.2.826.0.1.3680043.8.498.{int.from_bytes(patient.encode(), 'big') % 10**12}"
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"{root}.{study}.{series}.{number}"
    dataset.StudyInstanceUID = f"{root}.{study}"
    dataset.SeriesInstanceUID = f"{root}.{study}.{series}"
    dataset.FrameOfReferenceUID = f"{root}.{study}.9"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20240311"
    dataset.StudyTime = dataset.ContentTime = "101500"
    dataset.Modality = "CT"
    dataset.Manufacturer = "SIEMENS"
    dataset.ManufacturerModelName = "SOMATOM Force"
    dataset.DeviceSerialNumber = "SN-4711"
    dataset.InstitutionName = "Hospital Ficticio"
    dataset.ReferringPhysicianName = "Referring^Doctor"
    dataset.AccessionNumber = "ACC-77"
    dataset.PatientName = "Garcia^Maria"
    dataset.PatientID = patient
    dataset.PatientBirthDate = "19600102"
    dataset.PatientSex = "F"
    dataset.PatientAge = "064Y"
    dataset.StudyID = "S1"
    dataset.StudyDescription = "CT chest"
    dataset.SeriesDescription = "Thorax 1.0"
    dataset.SeriesNumber = series
    dataset.InstanceNumber = number
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientPosition = "HFS"
    dataset.KVP = "120"
    dataset.PositionReferenceIndicator = ""
    dataset.AcquisitionNumber = 1
    dataset.ImagePositionPatient = [0, 0, number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing = [1, 1]
    dataset.SliceThickness = 1
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows = dataset.Columns = size
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleIntercept = -1024
    dataset.RescaleSlope = 1
    dataset.RescaleType = "HU"
    pixels = np.random.default_rng(number).integers(0, 2000, (size, size), dtype=np.int16)
    dataset.PixelData = pixels.tobytes()
    for keyword, value in (elements or {}).items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return part10(dataset)


def part10(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The dataset as a DICOM file."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def corpus() -> Path:
    """The folder of real files, or a skip that says what is missing."""
    if not CORPUS.is_dir():
        pytest.skip(f"the corpus of real files is not at {CORPUS}; set CARINA_CORPUS")
    return CORPUS


def corpus_files() -> list[Path]:
    """Each real file, without the sets' own texts."""
    texts = {"SOURCE.txt", "LICENSE.txt", "README.md", "MANIFEST.tsv"}
    return sorted(path for path in corpus().rglob("*") if path.is_file() and path.name not in texts)
