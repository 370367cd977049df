"""Keyed pseudonyms: what replaces a person, a UID, an accession number, a device and a date.

Each is HMAC-SHA-256 under a key of its own, derived from the node's master, the project and the purpose. So the same
original gives the same replacement in every process and on every day, no table of them exists, and two projects share
none.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Self

from carina.deid.person import Person
from carina.errors import BadSettings
from carina.model.ids import PatientKey, ProjectId, Uid
from carina.model.keys import KEY_BYTES, derive

SHORTEST_SHIFT = 30
LONGEST_SHIFT = 1825


@dataclass(frozen=True)
class ProjectKeys:
    """The keys of one project, 32 bytes each; `source` recognises bytes that came before."""

    patient: bytes = field(repr=False)
    uid: bytes = field(repr=False)
    accession: bytes = field(repr=False)
    device: bytes = field(repr=False)
    dates: bytes = field(repr=False)
    source: bytes = field(repr=False)

    @classmethod
    def of(cls, master: bytes, project: ProjectId) -> Self:
        """The keys that a master of 32 bytes or more gives this project: a node's, or `read_key` of a key file.

        Raises `BadSettings` for a shorter one.
        """
        if len(master) < KEY_BYTES:
            hint = "A node has its own; for a key file use `carina.deid.read_key`."
            raise BadSettings(f"The master of a project's keys has less than {KEY_BYTES} bytes.", hint)
        purposes = ("patient", "uid", "accession", "device", "dates", "source")
        return cls(*(derive(master, "project", project, purpose) for purpose in purposes))


def patient_key(keys: ProjectKeys, person: Person) -> PatientKey:
    """`P` and 16 capitals and digits: what stands for the person in Patient's Name and Patient ID."""
    return PatientKey("P" + _letters(_digest(keys.patient, person.issuer, person.identifier), 16))


def new_uid(keys: ProjectKeys, uid: str) -> Uid:
    """What replaces a UID: `2.25.` and a UUID, version 8 (RFC 9562), PS3.5 section B.2; blanks around do not count."""
    number = int.from_bytes(_digest(keys.uid, uid.strip(" \0"))[:16], "big")
    number = number & ~(0xF << 76) & ~(0b11 << 62) | 8 << 76 | 0b10 << 62
    return Uid(f"2.25.{number}")


_PATIENT_KEY = re.compile(r"P[A-Z2-7]{16}", re.ASCII)
_UUID_UID = re.compile(r"2\.25\.([1-9]\d{22,38})", re.ASCII)


def is_pseudonym(text: str) -> bool:
    """Whether a text has the form of what `patient_key` or `new_uid` makes.

    >>> is_pseudonym("P234567ABCDEFGHIJ"), is_pseudonym("2.25.1"), is_pseudonym("Garcia^Maria")
    (True, False, False)
    """
    if _PATIENT_KEY.fullmatch(text):
        return True
    found = _UUID_UID.fullmatch(text)
    number = int(found[1]) if found else 0
    return number < 1 << 128 and number >> 76 & 0xF == 8 and number >> 62 & 0b11 == 0b10


def accession_number(keys: ProjectKeys, text: str) -> str:
    """What replaces an accession number: 16 characters, the most that the VR SH holds."""
    return "A" + _letters(_digest(keys.accession, text.strip()), 15)


def device_key(keys: ProjectKeys, *parts: str) -> str:
    """A pseudonym of the device that has these properties: `D` and 16 characters."""
    return "D" + _letters(_digest(keys.device, *(part.strip().upper() for part in parts)), 16)


def source_digest(keys: ProjectKeys, *data: bytes | memoryview) -> str:
    """64 hex digits that recognise the same bytes again, and mean nothing without the key."""
    return source_digest_of(keys, data)


def source_digest_of(keys: ProjectKeys, data: Iterable[bytes | memoryview]) -> str:
    """The same of bytes that come one after the other."""
    digest = hmac.new(keys.source, digestmod=hashlib.sha256)
    for part in data:
        digest.update(part)
    return digest.hexdigest()


def shift_days(keys: ProjectKeys, person: Person) -> int:
    """By how many whole days all dates of this person move: -30 to -1825, never 0."""
    number = int.from_bytes(_digest(keys.dates, person.issuer, person.identifier)[:8], "big")
    return -(SHORTEST_SHIFT + number % (LONGEST_SHIFT - SHORTEST_SHIFT + 1))


_DATE = re.compile(r"(\d{4})(?:(\d\d)(\d\d)|\.(\d\d)\.(\d\d))", re.ASCII)
_DATE_TIME = re.compile(
    r"(?P<year>\d{4})(?P<month>\d\d)?(?P<day>\d\d)?"
    r"(?P<time>(?:[01]\d|2[0-3])(?:[0-5]\d(?:(?:[0-5]\d|60)(?:\.\d{1,6})?)?)?)?"
    r"(?P<offset>[+-](?:0\d|1[0-4])[0-5]\d)?",
    re.ASCII,
)


def shift_date(text: str, days: int) -> str | None:
    """A DICOM date (VR DA, YYYYMMDD, or the old YYYY.MM.DD) moved by `days`, as YYYYMMDD; None if it is no date."""
    found = _DATE.fullmatch(text.strip(" \0"))
    if found is None:
        return None
    year, month, day, old_month, old_day = found.groups()
    moved = _moved(int(year), int(month or old_month), int(day or old_day), days)
    return None if moved is None else _compact(moved)


def shift_date_time(text: str, days: int) -> str | None:
    """A DICOM date and time (VR DT) moved by `days`; time of day and offset from UTC stay. None if it is none.

    A year or a month alone moves from its middle and stays a year or a month.
    """
    found = _DATE_TIME.fullmatch(text.strip(" \0"))
    if found is None:
        return None
    year, month, day = found["year"], found["month"], found["day"]
    moved = _moved(int(year), int(month or 7), int(day or (15 if month else 2)), days)
    if moved is None:
        return None
    known = 8 if day else 6 if month else 4
    return _compact(moved)[:known] + (found["time"] or "") + (found["offset"] or "")


def _moved(year: int, month: int, day: int, days: int) -> date | None:
    try:
        return date(year, month, day) + timedelta(days=days)
    except (ValueError, OverflowError):  # 30 February, or before the year 1
        return None


def _compact(day: date) -> str:
    return f"{day.year:04}{day.month:02}{day.day:02}"


def _digest(key: bytes, *parts: str) -> bytes:
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def _letters(digest: bytes, count: int) -> str:
    return base64.b32encode(digest).decode()[:count]
