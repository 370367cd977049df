"""Numbers that stay: as their attribute says, no identifier, no birth date, no text in disguise.

Numbers are kept because geometry and technique are made of them. What a number may hide is removed as a whole value.
"""

from __future__ import annotations

import math
import re
import struct
from functools import cache

from pydicom.datadict import dictionary_has_tag, dictionary_VM
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import DSfloat

VRS = frozenset(("AT", "DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV", "US or SS"))
_FORMATS = {"FD": "d", "FL": "f", "SL": "i", "UL": "I", "SS": "h", "US": "H", "SV": "q", "UV": "Q", "AT": "I"}
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,10}", re.ASCII)
_PRINTABLE = re.compile(rb"[ -~]*")
_LETTERS = re.compile(rb"[A-Za-z]")
_OF_WORDS = re.compile(rb"[A-Za-z0-9 ]")
_FEWEST_LETTERS = 4
_EXPONENT = re.compile(r"[eE].*")
_LONGEST = 16  # characters of VR DS
_WHOLE_DIGITS, _DECIMAL_DIGITS = 5, 6  # shorter ones are like an identifier by chance


def kept_number(element: DataElement, own: frozenset[str]) -> DataElement | None:
    """The element, its texts in their plain form; None if it is not what its name says or holds one of `own`."""
    tag, vr, value = int(element.tag), str(element.VR), element.value
    if value is None or value == "":
        return element
    if isinstance(value, bytes):  # US or SS, of which only the pixels could tell
        fits = len(value) % 2 == 0 and _fits(tag, len(value) // 2)
        return element if fits and not is_text(value) else None
    found = list(value) if isinstance(value, MultiValue | list | tuple) else [value]
    if not _fits(tag, len(found)):
        return None
    if vr in ("DS", "IS"):
        return _kept_texts(element, found, own)
    return _kept_binary(element, found, own)


def _kept_binary(element: DataElement, found: list[float], own: frozenset[str]) -> DataElement | None:
    if is_text(_packed(element.VR, found)):
        return None
    if any(_names(str(int(number)), own) for number in found if math.isfinite(number) and number == int(number)):
        return None
    if any(map(math.isnan, found)):  # the bits of a NaN are free
        return DataElement(element.tag, element.VR, [math.nan if math.isnan(number) else number for number in found])
    return element


def is_text(data: bytes) -> bool:
    """Whether bytes are all printable, mostly letters, digits and blanks, and four are letters; numbers seldom are."""
    told = data.rstrip(b"\0")
    return _PRINTABLE.fullmatch(told) is not None and (
        len(_LETTERS.findall(told)) >= _FEWEST_LETTERS and 3 * len(_OF_WORDS.findall(told)) >= 2 * len(told)
    )


def _kept_texts(element: DataElement, found: list[object], own: frozenset[str]) -> DataElement | None:
    """VR DS or IS: each value of the VR's form, PS3.5 section 6.2."""
    changed = False
    for place, number in enumerate(found):
        if number is None or number == "":
            continue
        text = str(getattr(number, "original_string", number))
        if (_DECIMAL if element.VR == "DS" else _WHOLE).fullmatch(text) is None or not math.isfinite(float(text)):
            if element.VR != "IS" or not isinstance(number, int | float) or _DECIMAL.fullmatch(text) is None:
                return None
            found[place], changed = int(number), True  # an IS with a decimal point
        if _names(text, own):
            return None
        if element.VR == "DS" and len(text) > _LONGEST:
            found[place], changed = DSfloat(float(text), auto_format=True), True
    return DataElement(element.tag, element.VR, found) if changed else element


def _names(text: str, own: frozenset[str]) -> bool:
    """Whether the digits of a number are one of these."""
    mantissa = _EXPONENT.sub("", text).lstrip("+-")
    if len(mantissa) < _WHOLE_DIGITS:
        return False
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    if not fraction:
        return len(whole) >= _WHOLE_DIGITS and (whole in own or whole.lstrip("0") in own)
    digits = whole + fraction
    return len(digits) >= _DECIMAL_DIGITS and (digits in own or digits.lstrip("0") in own)


def _packed(vr: str, found: list[float]) -> bytes:
    numbers = found if vr in ("FD", "FL") else [int(number) for number in found]
    if vr == "AT":
        numbers = [BaseTag(number) >> 16 | (int(number) & 0xFFFF) << 16 for number in numbers]
    try:
        return struct.pack(f"<{len(numbers)}{_FORMATS.get(vr, 'q')}", *numbers)
    except (struct.error, OverflowError):
        return b"TEXT"  # no number of this VR


@cache
def _multiplicity(tag: int) -> tuple[int, int, int]:
    """The fewest values, the most (0: no end) and the step between, PS3.5 section 6.4."""
    if not dictionary_has_tag(tag):
        return 1, 1, 1
    first, _, last = dictionary_VM(tag).partition("-")
    if not last:
        return int(first), int(first), 1
    step = int(last[:-1] or 1) if last.endswith("n") else 1
    return int(first), 0 if last.endswith("n") else int(last), step


def _fits(tag: int, count: int) -> bool:
    fewest, most, step = _multiplicity(tag)
    return count == 0 or (count >= fewest and (not most or count <= most) and (most > 0 or count % step == 0))
