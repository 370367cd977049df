"""What a list of studies is narrowed to, as its form and its address say: modality, words of the description, days,
and inside a person's pseudonym."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlencode

from carina.dicom.levels import tag_of
from carina.dicom.query import Match
from carina.errors import InvalidQuery

NAMES = ("modality", "text", "from", "to", "person")
MODALITIES = ("CT", "MR", "PT", "NM", "CR", "DX", "MG", "US", "XA", "SEG", "RTSTRUCT", "SR")
"""Those that the form offers; an address may name any other."""
_LONGEST = 64  # characters of a text


@dataclass(frozen=True)
class Filter:
    """One search. Days as ISO dates, all else as typed; empty: not narrowed.

    begins, ends   first and last day of the study, shifted as all dates are
    person         the beginning of a pseudonym
    """

    modality: str = ""
    text: str = ""
    begins: str = ""
    ends: str = ""
    person: str = ""

    @property
    def matches(self) -> tuple[Match, ...]:
        """What a study must be. Words are found in any case (as names are, PS3.4 section C.2.2.2.1.1)."""
        found = []
        if self.modality:
            found.append(Match(tag_of("ModalitiesInStudy"), "CS", "one-of", (self.modality,)))
        if self.text:
            found.append(Match(tag_of("StudyDescription"), "PN", "like", (f"*{self.text}*",)))
        if self.begins or self.ends:
            days = (self.begins.replace("-", ""), self.ends.replace("-", ""))
            found.append(Match(tag_of("StudyDate"), "DA", "range", days))
        if self.person:
            found.append(Match(tag_of("PatientID"), "LO", "like", (f"{self.person}*",)))
        return tuple(found)

    def address(self, path: str, page: int = 1) -> str:
        """The list with this filter, at a page."""
        values = (self.modality, self.text, self.begins, self.ends, self.person)
        said = {name: value for name, value in zip(NAMES, values, strict=True) if value}
        query = urlencode(said | ({"page": str(page)} if page > 1 else {}))
        return f"{path}?{query}" if query else path


def filter_of(asked: Mapping[str, str]) -> Filter:
    """The filter of an address. Raises `InvalidQuery` for what no form of ours sends."""
    modality, text, begins, ends, person = (asked.get(name, "").strip() for name in NAMES)
    if len(text) > _LONGEST or re.search(r"[\\\x00-\x1f]", text):
        raise InvalidQuery("The words of the search are too long, or have signs that no description has.", "")
    if not re.fullmatch(r"[A-Z]{0,16}", modality):
        raise InvalidQuery("A modality is a few capital letters, as CT or MR.", "Choose one from the list.")
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,64}", person):
        raise InvalidQuery("A pseudonym has letters and digits only.", "Copy it from a study, or its beginning.")
    for day in (begins, ends):
        _require_day(day)
    return Filter(modality, text.replace("*", "").replace("?", ""), begins, ends, person)


def _require_day(text: str) -> None:
    try:
        if text and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            raise ValueError
        date.fromisoformat(text or "2000-01-01")
    except ValueError:
        raise InvalidQuery("A day of the search is no date.", "Write it as 2026-01-31.") from None
