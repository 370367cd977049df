"""A clean instance under another person's pseudonym, as if it had been that person's when it was de-identified.

What depends on the person is the pseudonym and the days by which dates move; UIDs and all else come from the values
themselves. Every pseudonym has as many letters as every other, and so has every date, so the file is written over in
place: the result has the bytes that the engine would have written.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from typing import Any

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from carina.deid.engine.encode import deflated
from carina.deid.engine.marks import options_in
from carina.deid.profile import MODIFIED_DATES
from carina.deid.pseudonyms import shift_date, shift_date_time
from carina.deid.rules import retained, steps
from carina.deid.rules.compile import RuleSet, rules_of
from carina.deid.rules.rule import Place, Step
from carina.deid.words.values import DUMMIES, dictionary_vr
from carina.errors import InvalidInstance
from carina.model.ids import PatientKey, ProjectId, Uid
from carina.model.instance import CleanInstance, Facts, Version

_NAMES = (0x00100010, 0x00100020)
_PIXELS = 0x7FE00010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG = frozenset(vr.value for vr in EXPLICIT_VR_LENGTH_32)
_META = 132
_WHOLE = re.compile(r"\d{8}")
Header = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """Whose an instance was and is.

    old_days, new_days  by which dates of the two move; equal where dates stay
    """

    old: PatientKey
    new: PatientKey
    old_days: int = field(repr=False)
    new_days: int = field(repr=False)


@dataclass(frozen=True)
class Rekeying:
    """One instance's change, with the rules that it was cleaned by, as its own marks say."""

    change: Change
    rules: RuleSet | None
    sop_class: str

    @classmethod
    def of(cls, change: Change, header: Header, *, moved_here: bool = True) -> Rekeying:
        """For the instance with this DICOM JSON; `moved_here`: whether this node moved its dates."""
        options = options_in(_codes(header))
        moves = moved_here and MODIFIED_DATES in options and change.old_days != change.new_days
        return cls(change, rules_of(tuple(options)) if moves else None, _first(header, "00080016"))

    def is_moved(self, tag: int, vr: str, place: Place, creator: str) -> bool:
        """Whether an attribute in its place is a date that moves."""
        if self.rules is None or vr not in ("DA", "DT", "UN"):
            return False
        private = tag >> 16 & 1
        rule = self.rules.private(creator, tag, vr) if private else self.rules.rule(tag, vr, place)
        return _moves(rule.step)


def _moves(step: Step) -> bool:
    if not isinstance(step, partial):
        return False
    if step.func is retained.as_listed:
        return _moves(step.args[1])
    return step.func is steps.moved_date


def _codes(header: Header) -> set[str]:
    """The codes of the methods by which it was de-identified, (0012,0064)."""
    items = header.get("00120064", {}).get("Value") or []
    return {_first(item, "00080100") for item in items if _first(item, "00080102") == "DCM"}


def _first(header: Header, tag: str) -> str:
    values = header.get(tag, {}).get("Value") or [""]
    return str(values[0])


# --- values -----------------------------------------------------------------------------------------------------------


def moved_again(text: str, vr: str, change: Change) -> str:
    """A date that was moved by the old days, moved by the new ones instead; stand-ins for no date stay.

    A date and time without day is taken back to the year or month that it came from, and moved from there.
    """
    if not text or text == DUMMIES[vr]:
        return text
    days = change.new_days - change.old_days
    if vr == "DA":
        return shift_date(text, days) or text
    if _WHOLE.match(text):
        return shift_date_time(text, days) or text
    for origin in _origins(text, change.old_days):
        if shift_date_time(origin, change.old_days) == text:
            return shift_date_time(origin, change.new_days) or text
    return text


def _origins(text: str, days: int) -> Iterator[str]:
    """The years or months, with the rest of the text, that may have become this one."""
    known = 6 if text[4:6].isdigit() else 4
    try:
        near = date(int(text[:4]), int(text[4:6]) if known == 6 else 7, 15 if known == 6 else 2) - timedelta(days=days)
    except (ValueError, OverflowError):
        return
    for step in (0, 16, -16) if known == 6 else (0, 200, -200):
        yield f"{near + timedelta(days=step):%Y%m%d}"[:known] + text[known:]


# --- DICOM JSON -------------------------------------------------------------------------------------------------------


def rekeyed_header(header: Header, keying: Rekeying) -> dict[str, Any]:
    """DICOM JSON (PS3.18 Annex F) of the instance, or of what belongs to its series or study, after the change."""
    return _item(header, keying, Place(keying.sop_class))


def _item(header: Header, keying: Rekeying, place: Place) -> dict[str, Any]:
    made = dict(header)
    for name, element in header.items():
        values = element.get("Value")
        if not values:
            continue
        tag, vr = int(name, 16), str(element.get("vr", "UN"))
        if vr == "SQ":
            inside = place.inside(tag)
            made[name] = {**element, "Value": [_item(item, keying, inside) for item in values]}
        elif tag in _NAMES:
            made[name] = {**element, "Value": [_renamed(value, keying.change) for value in values]}
        elif vr in ("DA", "DT") and keying.is_moved(tag, vr, place, _creator(header, tag)):
            made[name] = {**element, "Value": [moved_again(str(v), vr, keying.change) if v else v for v in values]}
    return made


def _renamed(value: Any, change: Change) -> Any:
    if isinstance(value, dict):
        return {form: _renamed(name, change) for form, name in value.items()}
    return change.new if value == change.old else value


def _creator(header: Header, tag: int) -> str:
    return _first(header, f"{tag >> 16:04X}{tag >> 8 & 0xFF:04X}") if tag >> 16 & 1 else ""


# --- files ------------------------------------------------------------------------------------------------------------


def rekeyed_instance(data: bytes, keying: Rekeying, project: ProjectId, row: Mapping[str, Any]) -> CleanInstance:
    """The instance after the change, for the store; `row` is its row of the index."""
    syntax = str(row["transfer_syntax_uid"])
    return CleanInstance(
        project=project,
        patient=keying.change.new,
        study_uid=Uid(row["study_uid"]),
        series_uid=Uid(row["series_uid"]),
        uid=Uid(row["uid"]),
        sop_class_uid=str(row["sop_class_uid"]),
        transfer_syntax_uid=syntax,
        modality=_first(row["header"], "00080060"),
        source_digest="",
        version=Version("", ""),
        facts=Facts(),
        data=rekeyed(data, syntax, keying),
    )


def rekeyed(data: bytes, syntax: str, keying: Rekeying) -> bytes:
    """The Part 10 file of a clean instance after the change. Raises `InvalidInstance` for what the engine never wrote.

    syntax  its transfer syntax
    """
    start = _META + 12 + int.from_bytes(data[_META + 8 : _META + 12], "little")
    if data[128:_META] != b"DICM" or start > len(data):
        raise _odd()
    if syntax == DeflatedExplicitVRLittleEndian:
        return data[:start] + deflated(_patched(zlib.decompress(data[start:], -zlib.MAX_WBITS), 0, syntax, keying))
    return _patched(data, start, syntax, keying)


def _patched(data: bytes, start: int, syntax: str, keying: Rekeying) -> bytes:
    order = "big" if syntax == ExplicitVRBigEndian else "little"
    walk = _Walk(data, keying, order == "big", syntax == ImplicitVRLittleEndian)
    made = bytearray(data)
    named = 0
    walk.items(start, len(data), Place(keying.sop_class))
    for place, value, is_name in walk.found:
        made[place : place + len(value)] = value
        named += is_name
    if named < len(_NAMES):
        raise _odd()
    return bytes(made)


class _Walk:
    """Finds what is to be written over: where, and what; and whether it is a name."""

    def __init__(self, data: bytes, keying: Rekeying, big: bool, implicit: bool) -> None:
        self._data, self._keying, self._implicit = data, keying, implicit
        self._order: Any = "big" if big else "little"
        self.found: list[tuple[int, bytes, bool]] = []

    def items(self, at: int, end: int, place: Place) -> int:
        """Walk the elements of the root or of an item, up to `end` or to the mark of an item's end; where it ended."""
        creators: dict[int, str] = {}
        while at < end:
            tag = self._tag(at)
            if tag == _ITEM_END:
                return at + 8
            if tag == _PIXELS and not place.path:
                return end
            vr, value, length = self._head(at, tag)
            if length == _UNDEFINED or vr == "SQ":
                at = self._sequence(value, value + length if length != _UNDEFINED else len(self._data), tag, vr, place)
                continue
            at = value + length
            if at > len(self._data):
                raise _odd()
            if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
                creators[tag & 0xFFFF] = self._text(value, length).strip(" \0")
            if tag in _NAMES:
                self._name(value, length, place)
            elif length and self._keying.is_moved(tag, vr, place, creators.get(tag >> 8 & 0xFF, "")):
                self._date(vr, value, length)
        return at

    def _name(self, value: int, length: int, place: Place) -> None:
        change = self._keying.change
        if self._text(value, length).strip(" \0") == change.old:
            self.found.append((value, change.new.encode("ascii"), not place.path))

    def _date(self, vr: str, value: int, length: int) -> None:
        old = self._text(value, length)
        known = vr if vr != "UN" else "DT" if len(old.strip(" \0")) > len("YYYYMMDD") else "DA"
        new = "\\".join(moved_again(part.strip(" \0"), known, self._keying.change) for part in old.split("\\"))
        if len(new) > length:
            raise _odd()
        self.found.append((value, new.ljust(length).encode("latin-1"), False))

    def _sequence(self, at: int, end: int, tag: int, vr: str, place: Place) -> int:
        inside = place.inside(tag)
        while at < end:
            mark, length = self._tag(at), self._number(at + 4, 4)
            at += 8
            if mark == _SEQUENCE_END:
                return at
            if mark != _ITEM:
                raise _odd()
            if vr != "SQ":  # fragments
                at += length
            elif length == _UNDEFINED:
                at = self.items(at, len(self._data), inside)
            else:
                at = self.items(at, at + length, inside)
        return at

    def _head(self, at: int, tag: int) -> tuple[str, int, int]:
        """VR, start of the value, length."""
        if self._implicit:
            length = self._number(at + 4, 4)
            known = (dictionary_vr(tag) or ("SQ" if length == _UNDEFINED else "UN")).split(" or ")[0]
            return known, at + 8, length
        vr = self._text(at + 4, 2)
        if vr in _LONG:
            return vr, at + 12, self._number(at + 8, 4)
        return vr, at + 8, self._number(at + 6, 2)

    def _tag(self, at: int) -> int:
        return self._number(at, 2) << 16 | self._number(at + 2, 2)

    def _number(self, at: int, size: int) -> int:
        if at + size > len(self._data):
            raise _odd()
        return int.from_bytes(self._data[at : at + size], self._order)

    def _text(self, at: int, length: int) -> str:
        return self._data[at : at + length].decode("latin-1")


def _odd() -> InvalidInstance:
    return InvalidInstance("A stored file does not have the form in which it was written.", "Run carina node verify.")
