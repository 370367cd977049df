"""Identifiers of C-FIND, C-GET and C-MOVE in the Patient and Study Root models, PS3.4 annex C: what is asked for, and
what is answered.

The archive has no level of patients: a search for them is one for studies, of which each person's first is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydicom import DataElement, Dataset
from pydicom.multival import MultiValue

from carina.dicom.levels import BELONGS, LEVELS, Level
from carina.dicom.query import Query, parse_query
from carina.dicom.quiet import quiet
from carina.errors import InvalidQuery
from carina.storage.search import Found

_LEVELS: dict[str, Level] = {"STUDY": "study", "SERIES": "series", "IMAGE": "instance"}
_PATIENT = "PATIENT"
_PATIENT_ID = "00100020"
_OF_PATIENTS = frozenset(tag for tag in BELONGS["study"] if tag.startswith("0010")) - {
    "00101010",
    "00101020",
    "00101030",
}
"""Of the attributes kept of a study those of its person; age, size and weight are the study's own."""
_UNIQUE: dict[Level, str] = {"study": "0020000D", "series": "0020000E", "instance": "00080018"}
_NO_KEYS = frozenset(("00080005", "00080052", "00080053", "00080054"))
"""Specific Character Set, Query/Retrieve Level, Query/Retrieve View, Retrieve AE Title: said of the request itself."""
_TIMEZONE = "00080201"  # of the request's times; nothing is matched by it
_ONE = re.compile(r"[0-9.]{1,64}")
_SOME = re.compile(r"[0-9.]{1,64}(\\[0-9.]{1,64})*")


@dataclass(frozen=True)
class Asked:
    """What an identifier asks for.

    level      as the identifier names it
    keys       tag, as in DICOM JSON, and value representation of each attribute that the answer has
    unmatched  whether some key cannot be matched
    patients   whether it is asked in the Patient Root model
    """

    query: Query
    level: str
    keys: dict[str, str]
    unmatched: bool = False
    patients: bool = False

    @property
    def of_persons(self) -> bool:
        """Whether persons are looked for; then of each only one study counts."""
        return self.level == _PATIENT


def read_identifier(identifier: Dataset, *, retrieve: bool = False, patients: bool = False) -> Asked:
    """The search that an identifier stands for.

    retrieve  to fetch what is found
    patients  in the Patient Root model, whose uppermost level is PATIENT, by Patient ID

    The unique keys of the levels above are needed, one each; to fetch, also those of the level itself, and no key that
    cannot be matched, for else more would be given than is asked for. Raises `InvalidQuery`.
    """
    with quiet():
        word = str(identifier.get("QueryRetrieveLevel", "")).strip()
        of_persons = patients and word == _PATIENT
        level: Level | None = "study" if of_persons else _LEVELS.get(word)
        if level is None:
            raise _not_understood()
        if patients and (retrieve or not of_persons):
            _require_patient(identifier)
        if not of_persons:
            _require_unique(identifier, level, retrieve)
        pairs = list(_pairs(identifier))
        of_level = [pair for pair in pairs if not of_persons or pair[0][:8] in _OF_PATIENTS]
        query = parse_query(of_level, level)
        unmatched = bool(query.unsupported) or any(value for _, value in set(pairs) - set(of_level))
        if retrieve and unmatched:
            raise _not_understood()
        keys = {_name(element): str(element.VR)[:2] for element in _keys(identifier)}
    return Asked(query, word, keys, unmatched, patients)


def answer(asked: Asked, found: Found, title: str) -> Dataset:
    """One match as C-FIND tells of it: the attributes that were asked for, empty where there is no value.

    title  the AE that it can be fetched from
    """
    place = LEVELS.index(asked.query.level)
    uids = [] if asked.of_persons else [_UNIQUE[level] for level in LEVELS[: place + 1]]
    if asked.patients:
        uids.insert(0, _PATIENT_ID)
    made = Dataset()
    with quiet():
        for tag in (*asked.keys, *uids):
            told = not asked.of_persons or tag in _OF_PATIENTS
            if told and "BulkDataURI" not in found.header.get(tag, {"BulkDataURI": ""}):
                _add(made, tag, found.header[tag])
        for tag, vr in asked.keys.items():
            if int(tag, 16) not in made:
                made.add_new(int(tag, 16), vr, [] if vr == "SQ" else None)
        made.SpecificCharacterSet = "ISO_IR 192"
        made.QueryRetrieveLevel = asked.level
        made.RetrieveAETitle = title
    return made


def _add(made: Dataset, tag: str, element: Mapping[str, Any]) -> None:
    """Add an element of DICOM JSON; not one whose value does not fit its representation."""
    with suppress(ValueError, TypeError, KeyError, OverflowError):
        made.update(Dataset.from_json({tag: dict(element)}))


def _keys(dataset: Dataset) -> Iterator[DataElement]:
    for element in dataset:
        if element.tag.group > 2 and element.tag.element != 0 and _name(element) not in _NO_KEYS:
            yield element


def _pairs(dataset: Dataset, above: str = "") -> Iterator[tuple[str, str]]:
    """Keys and what they must be, as addresses of searches have them."""
    for element in _keys(dataset):
        tag = above + _name(element)
        if element.VR == "SQ":
            inner = list(_pairs(element.value[0], f"{tag}.")) if element.value else []
            yield from inner or [(tag, "")]
        else:
            yield tag, "" if tag == _TIMEZONE else _text(element)


def _text(element: DataElement) -> str:
    if element.is_empty:
        return ""
    if isinstance(element.value, bytes):
        if element.tag.is_private:  # none of which can be matched, as the answer says
            return "*"
        raise _not_understood()
    several = isinstance(element.value, MultiValue | list)
    return "\\".join(str(value) for value in (element.value if several else [element.value]))


def _require_unique(identifier: Dataset, level: Level, retrieve: bool) -> None:
    """PS3.4 sections C.4.1.1.3.1 and C.4.3.1.3.1: which levels' UIDs must be there."""
    place = LEVELS.index(level)
    needed = [(above, _ONE) for above in LEVELS[:place]] + ([(level, _SOME)] if retrieve else [])
    for which, form in needed:
        tag = int(_UNIQUE[which], 16)
        if tag not in identifier or not form.fullmatch(_text(identifier[tag])):
            raise _not_understood()


def _require_patient(identifier: Dataset) -> None:
    """One Patient ID, without a pattern."""
    tag = int(_PATIENT_ID, 16)
    text = _text(identifier[tag]).strip() if tag in identifier else ""
    if not text or any(sign in text for sign in "*?\\"):
        raise _not_understood()


def _name(element: DataElement) -> str:
    return f"{element.tag:08X}"


def _not_understood() -> InvalidQuery:
    return InvalidQuery(
        "The identifier is none of the model that it is asked in.", "See docs/conformance.md for its keys."
    )
