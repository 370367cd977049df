"""The DICOM JSON Model, PS3.18 annex F.

Binary values are left out: where one was, stands a `BulkDataURI` that is relative to the instance: the element's tag,
or inside sequences the path to it, as in `00880200/0/7FE00010`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any as Json

from pydicom import DataElement, Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import VR, PersonName

from carina.dicom.quiet import quiet
from carina.errors import NotFound

BINARY = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
_REALS = frozenset(("DS", "FD", "FL"))
_WHOLE = frozenset(("IS", "SL", "SS", "SV", "UL", "US", "UV"))
_CHARACTER_SET = 0x00080005


def to_json(dataset: Dataset) -> dict[str, Json]:
    """The dataset as DICOM JSON: keys are tags of eight hexadecimal digits, in order; text is Unicode.

    Groups 0 and 2 and group lengths are left out, and an element whose value does not fit its representation keeps
    its `vr` alone.
    """
    with quiet():
        return _dataset(dataset, "")


def _dataset(dataset: Dataset, path: str) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for element in dataset:
        if element.tag.group in (0, 2) or element.tag.element == 0:
            continue
        key = f"{element.tag:08X}"
        found[key] = {"vr": "CS", "Value": ["ISO_IR 192"]} if element.tag == _CHARACTER_SET else _element(element, path)
    return found


def _element(element: DataElement, path: str) -> dict[str, Json]:
    vr = element.VR.value if isinstance(element.VR, VR) else str(element.VR)
    vr = vr[:2] if len(vr) > 2 else vr  # "OB or OW" of a value that nothing has settled
    here = f"{path}{element.tag:08X}"
    if vr == "SQ":
        items = [_dataset(item, f"{here}/{number}/") for number, item in enumerate(element.value or ())]
        return {"vr": vr, "Value": items} if items else {"vr": vr}
    if element.is_empty:
        return {"vr": vr}
    if vr in BINARY or isinstance(element.value, bytes):
        return {"vr": vr, "BulkDataURI": here}
    values = [_value(value, vr) for value in _each(element.value)]
    return {"vr": vr, "Value": values} if any(value is not None for value in values) else {"vr": vr}


def _each(value: object) -> list[object]:
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _value(value: Json, vr: str) -> Json:
    if value is None or value == "":
        return None
    if vr == "PN":
        return _name(value)
    if vr == "AT":
        return f"{int(value):08X}"
    if vr in _WHOLE:
        return _whole(value)
    if vr in _REALS:
        return _real(value)
    return str(value)


def _name(value: PersonName | str) -> dict[str, str] | None:
    groups = str(value).split("=")
    named = zip(("Alphabetic", "Ideographic", "Phonetic"), groups, strict=False)
    return {kind: text for kind, text in named if text} or None


def _whole(value: Json) -> int | str | None:
    try:
        return int(value)
    except (ValueError, OverflowError):
        return None


def _real(value: Json) -> float | int | str | None:
    """A number; what JSON has no number for as the words of annex F.2.3."""
    try:
        number = float(value)
    except ValueError:
        return None
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def bulk_data(dataset: Dataset, path: str) -> bytes:
    """The value at a relative `BulkDataURI`; raises `NotFound`."""
    with quiet():
        inner = dataset
        *steps, last = path.split("/")
        for tag, number in zip(steps[::2], steps[1::2], strict=False):
            items = inner.get(_tag(tag))
            if items is None or items.VR != VR.SQ or not number.isdecimal() or int(number) >= len(items.value):
                raise _no_bulk_data()
            inner = items.value[int(number)]
        element = inner.get(_tag(last))
        if len(steps) % 2 or element is None or not isinstance(element.value, bytes):
            raise _no_bulk_data()
        return bytes(element.value)


def _tag(text: str) -> int:
    if len(text) != 8 or any(digit not in "0123456789ABCDEFabcdef" for digit in text):
        raise _no_bulk_data()
    return int(text, 16)


def _no_bulk_data() -> NotFound:
    return NotFound("There is no binary value at this address.", "The instance's metadata names those there are.")


def values_of(header: dict[str, Json], tag: str) -> Iterator[Json]:
    """The values of an element of DICOM JSON, names as one text; nothing when it is absent or empty."""
    for value in (header.get(tag) or {}).get("Value") or ():
        if isinstance(value, dict) and not value.keys() - {"Alphabetic", "Ideographic", "Phonetic"}:
            yield "=".join(value.get(part, "") for part in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
        elif value is not None:
            yield value
