"""No planted identifier is found in clear in any file that a node writes."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.sequence import Sequence
from tests.support import LUNG, SCANNER, ct, make_node, part10

from carina.deid.person import Person
from carina.errors import InvalidTable
from carina.model.ids import ProjectId
from carina.model.instance import Source
from carina.node import aliases, arrivals, clinical, datasets, ingest, quarantine, worker
from carina.node.site import Node
from carina.node.status import status
from carina.storage import arrivals as records

PLANT = "Xyzzyplugh"
"""In each planted text; no word of it occurs in anything that Carina or the standard writes."""
TEXTS = {"PN", "LO", "SH", "LT", "ST", "UT", "UC"}
BIRTH = "19530617"
IDENTIFIER = "MRN-XYZZYPLUGH-1"
UID_ROOT = "1.2.826.0.1.3680043.8.498.777555333"
HEADER = "patient_id,issuer,sex,birth_date,topography,morphology,diagnosis_date,stage,treatment,vital_status\n"


def planted(number: int = 1, **changes: object) -> bytes:
    """A CT slice with a planted value in each attribute of the dictionary that holds text, a date, or a UID."""
    dataset = dcmread(DicomBytesIO(ct(IDENTIFIER, number=number)), force=True)
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        dataset[name].value = f"{UID_ROOT}.{number if name == 'SOPInstanceUID' else 1}.{len(name)}"
    inner = Dataset()
    for target in (dataset, inner):
        _fill(target)
    dataset.PatientBirthDate = BIRTH
    dataset.PatientID = IDENTIFIER
    dataset.RequestAttributesSequence = Sequence([inner])
    dataset.OtherPatientIDsSequence = Sequence([inner])
    block = dataset.private_block(0x0029, f"{PLANT} CREATOR", create=True)
    block.add_new(0x01, "LO", f"{PLANT} private")
    block.add_new(0x02, "UN", f"{PLANT} unknown".encode())
    block.add_new(0x03, "SQ", Sequence([inner]))
    dataset.add_new(0x60000022, "LO", f"{PLANT} overlay")
    for name, value in changes.items():
        setattr(dataset, name, value)
    return part10(dataset)


def _fill(dataset: Dataset) -> None:
    for tag, (vr, _, _, retired, keyword) in DicomDictionary.items():
        if not keyword or retired or tag >> 16 in (0x0000, 0x0002, 0x0004) or keyword in dataset:
            continue
        if vr in TEXTS:
            dataset.add_new(tag, vr, f"{PLANT}^{tag:x}"[:16] if vr == "SH" else f"{PLANT}^Name {tag:08x}")
        elif vr == "AE":
            dataset.add_new(tag, vr, PLANT.upper())
        elif vr in ("DA", "DT"):
            dataset.add_new(tag, vr, BIRTH)
        elif vr == "UR":
            dataset.add_new(tag, vr, f"https://{PLANT}.example/")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A node whose folder also holds a log of every word that any library says."""
    node = make_node(tmp_path / "node")
    handler = logging.FileHandler(node.folder / "everything.log")
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield node
    root.removeHandler(handler)
    root.setLevel(level)
    handler.close()
    node.engine.dispose()


def drain(node: Node) -> None:
    """Work until nothing waits."""
    while worker.work(node, "test"):
        pass


def found_in_clear(folder: Path, *plants: str) -> list[str]:
    """Each planted text with the file it is found in: plain, in UTF-16, or in a part that zlib compressed."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        lower = data.lower() + _inflated(data).lower()
        for plant in plants:
            if any(plant.lower().encode(code) in lower for code in ("utf-8", "utf-16-le", "utf-16-be")):
                at = lower.find(plant.lower().encode())
                found.append(f"{plant} in {path.relative_to(folder)}: {lower[max(0, at - 60) : at + 40]!r}")
    return found


def _inflated(data: bytes) -> bytes:
    """What a deflated dataset in the file says."""
    meta = data.find(b"1.2.840.10008.1.2.1.99")
    if meta < 0:
        return b""
    for start in range(meta, min(meta + 400, len(data))):
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[start:])
        except zlib.error:
            continue
    return b""


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(planted())
    assert len(found_in_clear(tmp_path, PLANT, IDENTIFIER, BIRTH, UID_ROOT)) == 4


def test_nothing_planted_is_in_clear_after_ingest_quarantine_and_clinical_import(node: Node) -> None:
    archived = ingest.receive(node, planted(), SCANNER)
    deflated = dcmread(DicomBytesIO(planted(2)), force=True)
    second = ingest.receive(node, part10(deflated, "1.2.840.10008.1.2.1.99"), SCANNER)
    refused = ingest.receive(node, f"Letter about {PLANT}, {IDENTIFIER}".encode(), SCANNER)
    withheld = [
        ingest.receive(node, planted(3, ImageType=["DERIVED", "SECONDARY"]), SCANNER),
        ingest.receive(node, planted(4, Modality=PLANT.upper()), SCANNER),
        ingest.receive(node, planted(5)[:-200], SCANNER),
        ingest.receive(node, planted(6), Source("aet", "STRANGER")),
        ingest.receive(node, planted(1, KVP="90"), SCANNER),
    ]
    assert found_in_clear(node.folder, PLANT, IDENTIFIER, BIRTH, UID_ROOT) == []
    drain(node)
    quarantine.retry(node, "ana", ids=[withheld[0].id])
    drain(node)
    aliases.merge(node, Person("HOSPITAL", f"{IDENTIFIER}-OLD"), Person(PLANT, IDENTIFIER), "ana")
    row = f"{IDENTIFIER},{PLANT},F,1953-06-17,C34.1,8140/3,1999-08-07,IIIA,surgery,alive\n"
    assert clinical.import_table(node, LUNG, HEADER + row).rows == 1
    with pytest.raises(InvalidTable):
        clinical.import_table(node, LUNG, HEADER + row.replace("C34.1", PLANT))
    datasets.publish(node, "ana", datasets.create(node, "ana", ProjectId("lung"), "Lung").iri)
    told = str(
        (
            status(node),
            arrivals.arriving(node),
            arrivals.latest(node),
            arrivals.growing(node),
            quarantine.entries(node),
            node.audit.entries(100),
        )
    )

    with node.engine.connect() as connection:
        states = [records.get(connection, one.id).state for one in (archived, second, refused, *withheld)]
    assert states == ["archived", "archived", "quarantined", "quarantined", "archived", *["quarantined"] * 3]
    assert found_in_clear(node.folder, PLANT, IDENTIFIER, BIRTH, UID_ROOT, "1953-06-17", "1999-08-07") == []
    assert PLANT.lower() not in told.lower()


def test_a_folder_s_name_is_kept_only_when_it_was_configured(node: Node) -> None:
    stray = Source("folder", f"/export/{PLANT}^Maria")
    taken, refused = ingest.receive(node, ct(), stray), ingest.receive(node, b"text", stray)
    drain(node)
    assert found_in_clear(node.folder, PLANT) == []
    assert {held.id for held in quarantine.entries(node)} == {taken.id, refused.id}
    configured = replace(node, project_of={**node.project_of, stray: LUNG})
    quarantine.retry(configured, "ana", ids=[taken.id])
    drain(configured)
    with node.engine.connect() as connection:
        assert records.get(connection, taken.id).state == "archived"


def test_a_file_s_name_is_not_kept(node: Node, tmp_path: Path) -> None:
    path = tmp_path / f"{PLANT}_{IDENTIFIER}.dcm"
    path.write_bytes(ct())
    ingest.receive(node, path.read_bytes(), Source("folder", "inbox"))
    drain(node)
    assert found_in_clear(node.folder, PLANT, IDENTIFIER) == []
    assert not any(PLANT in str(one) for one in node.folder.rglob("*"))
