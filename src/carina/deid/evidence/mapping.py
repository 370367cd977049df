"""The two tables by which the public validator of MIDI-B finds each original's replacement.

`uid_mapping.csv` and `patid_mapping.csv`, each with the columns `id_old` and `id_new`, as
github.com/CBIIT/MIDI_validation_script reads them. They identify persons: for the key holder only, never beside what is
given away.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from pydicom.dataset import Dataset

from carina.deid.pseudonyms import ProjectKeys, new_uid

Kind = Literal["uid", "patient"]
Entry = tuple[Kind, str, str]
"""What kind of identifier, the old one and the new one."""
FILES: dict[Kind, str] = {"uid": "uid_mapping.csv", "patient": "patid_mapping.csv"}
_COLUMNS = ["id_old", "id_new"]
_OF_THE_STANDARD = "1.2.840.10008."


def entries_of(original: Dataset, clean: Dataset, keys: ProjectKeys) -> Iterator[Entry]:
    """What the tables say of one instance: its Patient ID, and each UID that has a replacement in the clean one."""
    if original.get("PatientID"):
        yield "patient", str(original.PatientID).strip(), str(clean.PatientID)
    new = set(_uids(clean))
    for uid in sorted(set(_uids(original))):
        replacement = new_uid(keys, uid)
        if replacement in new:
            yield "uid", uid, replacement


def _uids(dataset: Dataset) -> Iterator[str]:
    """Each UID at any depth that is not the standard's."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _uids(item)
        elif element.VR == "UI" and element.value:
            many = [element.value] if isinstance(element.value, str) else element.value
            for uid in many:
                text = str(uid).strip(" \0")
                if text and not text.startswith(_OF_THE_STANDARD):
                    yield text


class MappingFiles:
    """Both tables in a folder; what is there already is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._rows: dict[Kind, set[tuple[str, str]]] = {kind: set(_read(folder / name)) for kind, name in FILES.items()}

    def add(self, entries: Iterable[Entry]) -> None:
        """Take entries; each is kept once."""
        for kind, old, new in entries:
            self._rows[kind].add((old, new))

    def write(self) -> None:
        """Write both files, sorted, for the owner's eyes only; each is there whole or as it was."""
        for kind, name in FILES.items():
            aside = self._folder / f".new-{name}"
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(_COLUMNS)
                writer.writerows(sorted(self._rows[kind]))
            aside.replace(self._folder / name)


def _read(path: Path) -> Iterator[tuple[str, str]]:
    if path.exists():
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row["id_old"], row["id_new"]
