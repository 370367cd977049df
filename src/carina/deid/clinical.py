"""Clinical tables: one diagnosis a line, under the same pseudonym and date shift as the person's images.

Columns are described in docs/how-to/clinical-data.md. Errors name lines and columns, never a value.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

from carina.deid.facts import whole_years
from carina.deid.person import Person, merged, person
from carina.deid.pseudonyms import ProjectKeys, patient_key, shift_days
from carina.errors import InvalidTable
from carina.model.ids import PatientKey

COLUMNS = (
    "patient_id",
    "issuer",
    "sex",
    "birth_date",
    "topography",
    "morphology",
    "diagnosis_date",
    "stage",
    "treatment",
    "vital_status",
)
OPTIONAL = ("issuer",)
"""Columns that the header may leave out."""
TREATMENTS = ("surgery", "chemotherapy", "radiotherapy", "immunotherapy", "hormone", "targeted", "none")

_SHOWN = 10  # problems that one error names
_EARLIEST = date(1850, 1, 1)
_Fault: TypeAlias = tuple[int, str]
"""A line's number, and what is wrong with it in words that quote nothing."""
_NO_ALIASES: Mapping[Person, Person] = MappingProxyType({})


@dataclass(frozen=True)
class ClinicalRow:
    """One diagnosis of one pseudonymous person; None where the table says nothing.

    number             1, 2, … per person, in the order of the dates
    topography, site   ICD-O-3 ("C34.1") and its first three characters
    morphology         ICD-O-3 ("8140/3")
    diagnosis_date     shifted, YYYY-MM-DD
    age_at_diagnosis   whole years, at most 90
    treatment          words of `TREATMENTS` in their order, joined by ";"
    """

    patient: PatientKey
    number: int
    sex: str | None
    topography: str
    site: str
    morphology: str | None
    diagnosis_date: str | None
    age_at_diagnosis: int | None
    stage: str | None
    treatment: str | None
    vital_status: str | None


class _Problem(Exception):
    """What is wrong with one cell, in words that quote nothing of it."""


@dataclass(frozen=True)
class _Line:
    """One line as read, identifying; None where a cell is empty."""

    line: int
    person: Person
    sex: str | None
    birth: date | None
    topography: str
    morphology: str | None
    diagnosis: date | None
    stage: str | None
    treatment: str | None
    vital_status: str | None


def deidentify_rows(
    text: str,
    keys: ProjectKeys,
    aliases: Mapping[Person, Person] = _NO_ALIASES,
    *,
    default_issuer: str = "",
    strip_leading_zeros: bool = False,
) -> list[ClinicalRow]:
    """The rows of a CSV text, pseudonymous, by person and number. All or none: raises `InvalidTable` for any fault."""

    def person_named(issuer: str, identifier: str) -> Person:
        found = person(issuer, identifier, default_issuer, strip_leading_zeros)
        if found is None:
            raise _Problem("empty")
        return merged(found, aliases)

    lines, problems = _read(text, person_named)
    problems += _disagreements(lines)
    if problems:
        shown = [f"line {line}, {what}" for line, what in sorted(problems)[:_SHOWN]]
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise InvalidTable(f"The clinical table cannot be used: {'; '.join(shown)}{more}.")
    return _pseudonymous(lines, keys)


# --- reading --------------------------------------------------------------------------------------------------------


def _read(text: str, person_named: Callable[[str, str], Person]) -> tuple[list[_Line], list[_Fault]]:
    records = _records(text)
    header = [name.strip().lower() for name in next(records, (1, []))[1]]
    _check_header(header)
    lines: list[_Line] = []
    problems: list[_Fault] = []
    for number, record in records:
        if len(record) != len(header):
            problems.append((number, f"it has {len(record)} cells, the header has {len(header)}"))
            continue
        line, faults = _line(number, dict(zip(header, record, strict=True)), person_named)
        problems += faults
        if line is not None:
            lines.append(line)
    return lines, problems


def _records(text: str) -> Iterator[tuple[int, list[str]]]:
    """Each record that is not blank, with the number of its last line."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        for record in reader:
            if any(cell.strip() for cell in record):
                yield reader.line_num, record
    except csv.Error:
        raise InvalidTable(f"The clinical table is no CSV: line {reader.line_num} cannot be read.") from None


def _check_header(header: list[str]) -> None:
    missing = [name for name in COLUMNS if name not in header and name not in OPTIONAL]
    if missing:
        raise InvalidTable(
            f"The clinical table's first line lacks: {', '.join(missing)}.",
            "The first line names the columns, separated by commas; see docs/how-to/clinical-data.md.",
        )
    unknown = [str(place) for place, name in enumerate(header, 1) if name not in COLUMNS]
    if unknown:
        raise InvalidTable(
            f"The clinical table has columns that are not known, at {', '.join(unknown)} from the left.",
            "Take them out: no other data of a person is wanted.",
        )
    if len(set(header)) != len(header):
        raise InvalidTable("The clinical table names a column twice.")


def _line(
    number: int, cells: dict[str, str], person_named: Callable[[str, str], Person]
) -> tuple[_Line | None, list[_Fault]]:
    faults: list[_Fault] = []
    found: dict[str, Any] = {}
    readers: dict[str, Callable[[str], object]] = {
        "patient_id": partial(person_named, cells.get("issuer", "")),
        **_READERS,
    }
    for column, read in readers.items():
        try:
            found[column] = read(cells[column].strip())
        except _Problem as problem:
            faults.append((number, f"{column}: {problem}"))
    birth, diagnosis = found.get("birth_date"), found.get("diagnosis_date")
    if birth and diagnosis and whole_years(birth, diagnosis) is None:
        faults.append((number, "diagnosis_date: before birth, or more than 130 years after it"))
    if faults:
        return None, faults
    return _Line(
        number,
        found["patient_id"],
        found["sex"],
        birth,
        found["topography"],
        found["morphology"],
        diagnosis,
        found["stage"],
        found["treatment"],
        found["vital_status"],
    ), []


def _word(*known: str) -> Callable[[str], str | None]:
    def read(cell: str) -> str | None:
        if not cell:
            return None
        for word in known:
            if cell.lower() == word.lower():
                return word
        raise _Problem(f"none of {', '.join(known)}")

    return read


def _form(pattern: str, words: str) -> Callable[[str], str | None]:
    compiled = re.compile(pattern, re.ASCII)

    def read(cell: str) -> str | None:
        if cell and compiled.fullmatch(cell) is None:
            raise _Problem(words)
        return cell or None

    return read


def _day(cell: str) -> date | None:
    if not cell:
        return None
    try:
        day = date.fromisoformat(cell) if len(cell) == len("YYYY-MM-DD") else None
    except ValueError:
        day = None
    if day is None or day < _EARLIEST:
        raise _Problem("no date, YYYY-MM-DD")
    return day


_TOPOGRAPHY = re.compile(r"C([0-7]\d|80)(\.\d)?", re.ASCII)


def _topography(cell: str) -> str:
    if _TOPOGRAPHY.fullmatch(cell.upper()) is None:
        raise _Problem("no topography of ICD-O-3, as C34.1")
    return cell.upper()


def _treatments(cell: str) -> str | None:
    words = {word.strip().lower() for word in cell.split(";")} - {""}
    if words - set(TREATMENTS):
        raise _Problem(f"a word is none of {', '.join(TREATMENTS)}")
    if "none" in words and len(words) > 1:
        raise _Problem("'none' beside another treatment")
    return ";".join(word for word in TREATMENTS if word in words) or None


_READERS: dict[str, Callable[[str], object]] = {
    "sex": _word("F", "M", "O"),
    "birth_date": _day,
    "topography": _topography,
    "morphology": _form(r"[89]\d{3}/[012369]", "no morphology of ICD-O-3, as 8140/3"),
    "diagnosis_date": _day,
    "stage": _form(
        r"[cpyra]{0,2} ?(0|0is|0a|I{1,3}|IV)([A-D][1-3]?|[ES])?|[1-4][A-D]?[1-3]?|X|unknown|occult|limited|extensive"
        r"|[cpyra]{0,2}T([0-4][a-d]?|is|[xXa]) ?[cpyra]?N([0-3][a-c]?|[xX]) ?[cpyra]?M([01][a-c]?|[xX])",
        "no stage such as IIIA, limited, or T2 N1 M0",
    ),
    "treatment": _treatments,
    "vital_status": _word("alive", "dead", "unknown"),
}


# --- what lines say together ----------------------------------------------------------------------------------------


def _disagreements(lines: list[_Line]) -> list[_Fault]:
    """Lines that say the same twice, or give one person two sexes or birth dates."""
    faults: list[_Fault] = []
    first_sex: dict[Person, _Line] = {}
    first_birth: dict[Person, _Line] = {}
    seen: dict[tuple[object, ...], int] = {}
    for line in lines:
        if line.sex and first_sex.setdefault(line.person, line).sex != line.sex:
            faults.append((line.line, f"sex: not the one of line {first_sex[line.person].line}, the same person"))
        if line.birth and first_birth.setdefault(line.person, line).birth != line.birth:
            before = first_birth[line.person].line
            faults.append((line.line, f"birth_date: not the one of line {before}, the same person"))
        same = seen.setdefault((line.person, line.topography, line.morphology, line.diagnosis), line.line)
        if same != line.line:
            faults.append((line.line, f"topography: the same diagnosis as line {same}"))
    return faults


def _pseudonymous(lines: list[_Line], keys: ProjectKeys) -> list[ClinicalRow]:
    """Rows in the order of pseudonyms and dates; the sex and birth date that one line gives hold for all."""
    by_person: dict[Person, list[_Line]] = {}
    for line in lines:
        by_person.setdefault(line.person, []).append(line)
    rows = [row for person, own in by_person.items() for row in _rows_of(person, own, keys)]
    return sorted(rows, key=lambda row: (row.patient, row.number))


def _rows_of(person: Person, lines: list[_Line], keys: ProjectKeys) -> Iterator[ClinicalRow]:
    patient, shift = patient_key(keys, person), timedelta(days=shift_days(keys, person))
    sex = next((line.sex for line in lines if line.sex), None)
    birth = next((line.birth for line in lines if line.birth), None)
    ordered = sorted(lines, key=lambda line: (line.diagnosis or date.max, line.topography, line.morphology or ""))
    for number, line in enumerate(ordered, 1):
        yield ClinicalRow(
            patient=patient,
            number=number,
            sex=sex,
            topography=line.topography,
            site=line.topography[:3],
            morphology=line.morphology,
            diagnosis_date=(line.diagnosis + shift).isoformat() if line.diagnosis else None,
            age_at_diagnosis=whole_years(birth, line.diagnosis) if birth and line.diagnosis else None,
            stage=line.stage,
            treatment=line.treatment,
            vital_status=line.vital_status,
        )
