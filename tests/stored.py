"""Builders for tests of what is stored: records in a folder, and de-identified instances made by hand."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, insert
from tests.records import new_records

from carina.dicom.levels import BELONGS
from carina.errors import Conflict
from carina.model.ids import PatientKey, ProjectId, Uid
from carina.model.instance import CleanInstance, Facts, Version
from carina.storage.database import Role
from carina.storage.indexing import Added, Entry, add_all, whole_number
from carina.storage.schema import clinical

LUNG = ProjectId("lung")
BREAST = ProjectId("breast")
FIRST = Version("engine-1", "a" * 64)
SECOND = Version("engine-2", "a" * 64)


@contextmanager
def records(folder: Path, role: Role = "node") -> Iterator[Engine]:
    """New records of a service, closed at the end."""
    engine = new_records(folder / "records.sqlite", role)
    try:
        yield engine
    finally:
        engine.dispose()


def clean(
    number: int = 1,
    *,
    series: int = 1,
    study: int = 1,
    patient: str = "PATIENT1",
    project: ProjectId = LUNG,
    modality: str = "CT",
    version: Version = FIRST,
    source: str | None = None,
    data: bytes | None = None,
    **facts: Any,
) -> CleanInstance:
    """Instance `number` of a series of a study; all UIDs differ by project."""
    root = f"2.25.{int.from_bytes(project.encode(), 'big')}.{study}"
    uid = f"{root}.{series}.{number}"
    return CleanInstance(
        project=project,
        patient=PatientKey(patient),
        study_uid=Uid(root),
        series_uid=Uid(f"{root}.{series}"),
        uid=Uid(uid),
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality=modality,
        source_digest=hashlib.sha256((source or uid).encode()).hexdigest(),
        version=version,
        facts=Facts(**facts),
        data=data if data is not None else f"{uid} {version.engine}".encode(),
    )


def index(connection: Connection, instance: CleanInstance, **changes: Any) -> Added:
    """Take the instance into the index, with the headers that its fields imply; `changes` are of its `Entry`."""
    study: dict[str, Any] = {
        "00100020": {"vr": "LO", "Value": [instance.patient]},
        "0020000D": {"vr": "UI", "Value": [instance.study_uid]},
    }
    if instance.facts.study_date is not None:
        study["00080020"] = {"vr": "DA", "Value": [instance.facts.study_date]}
    series = {
        "00080060": {"vr": "CS", "Value": [instance.modality]},
        "0020000E": {"vr": "UI", "Value": [instance.series_uid]},
        "00200011": {"vr": "IS", "Value": [int(instance.series_uid.split(".")[-1])]},
    }
    study |= changes.pop("study", {})
    series |= changes.pop("series", {})
    own = {
        "00080016": {"vr": "UI", "Value": [instance.sop_class_uid]},
        "00080018": {"vr": "UI", "Value": [instance.uid]},
        "00200013": {"vr": "IS", "Value": [int(instance.uid.split(".")[-1])]},
    }
    header = {**study, **series, **own} | changes.pop("header", {})
    brief = {tag: header[tag] for level in ("study", "series", "instance") for tag in BELONGS[level] if tag in header}
    entry = Entry(
        clean=instance,
        content=hashlib.sha256(instance.data).hexdigest(),
        size=len(instance.data),
        frames=1,
        study=study,
        series=series,
        header=json.dumps(header),
        brief=json.dumps(brief),
        instance_number=whole_number(header, "00200013"),
    )
    [result], _ = add_all(connection, [replace(entry, **changes)])
    if isinstance(result, Conflict):
        raise result
    return result


def diagnose(
    connection: Connection,
    patient: str,
    topography: str,
    *,
    sex: str | None = None,
    number: int = 1,
    project: ProjectId = LUNG,
) -> None:
    """A row of the clinical table."""
    row = {"project": project, "patient": patient, "number": number, "sex": sex}
    connection.execute(insert(clinical), {**row, "topography": topography, "site": topography[:3]})


def process(code: str, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Another process that runs `code`, which finds `folder` and `arguments`; what it prints can be read."""
    start = "import sys; from pathlib import Path; folder = Path(sys.argv[1]); arguments = sys.argv[2:]\n"
    command = [sys.executable, "-c", start + code, str(folder), *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
