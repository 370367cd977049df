"""What the index keeps of a clean file, made ready to send while its bytes are at hand.

The header is DICOM JSON as `to_json` gives it of what `parse` reads; but each element's text is remembered by its
bytes, for most are the same in all instances of a series, and plain values are written without an object of pydicom's.
What is unusual is left to pydicom, element by element or as a whole.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any as Json

import orjson
from pydicom._dicom_dict import DicomDictionary
from pydicom.datadict import dictionary_VR
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from carina.dicom.frametable import Frames, frames_in
from carina.dicom.json import BINARY, to_json
from carina.dicom.levels import BELONGS, COMPUTED, Level
from carina.dicom.parse import KNOWN_TRANSFER_SYNTAXES, parse, read_elements
from carina.dicom.quiet import quiet
from carina.dicom.reader import File, elements, opened

_AVAILABLE_SYNTAX = "00083002"
_CHARACTER_SET = 0x00080005
_PIXEL_DATA = 0x7FE00010
_PIXEL_TAGS = frozenset((0x7FE00010, 0x7FE00008, 0x7FE00009))
_BRIEF = tuple(dict.fromkeys(tag for level in ("study", "series", "instance") for tag in BELONGS[level]))
_LARGEST = 1 << 14  # bytes of an element that is remembered
_MEMORY = 1 << 23  # bytes of all that are
_BINARY = frozenset(vr.encode() for vr in BINARY)


@dataclass(frozen=True)
class Described:
    """What is kept of an instance beside its file.

    header   all its attributes as DICOM JSON, compact, bulk data by relative address, and its transfer syntax
    brief    of these what `dicom.levels` says that studies, series and instances are searched by
    values   the attributes of `brief`, as objects
    frames   at least 1; as the header says
    layout   where its frames lie in the file
    """

    header: bytes = field(repr=False)
    brief: bytes = field(repr=False)
    values: Mapping[str, Json] = field(repr=False)
    frames: int
    layout: Frames

    def of_level(self, level: Level) -> dict[str, Json]:
        """The part of the header that belongs to its study or series; never what the archive works out itself."""
        return {tag: self.values[tag] for tag in BELONGS[level] if tag in self.values and tag not in COMPUTED}


def described(data: bytes) -> Described:
    """What the index keeps of a clean Part 10 file. Raises as `parse` for what only that can read, and cannot."""
    try:
        file = opened(data)
        found, pixels = _walked(file)
        return _joined(found, pixels, file)
    except (_Unusual, ValueError, struct.error, OverflowError, RecursionError):
        return _parsed(data)


def _parsed(data: bytes) -> Described:
    dataset = parse(data)
    found = {tag: _Element(_fragment(tag, element), element) for tag, element in to_json(dataset).items()}
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    found[_AVAILABLE_SYNTAX] = _syntax(syntax)
    return _made(found, Frames())


@dataclass(frozen=True, slots=True)
class _Element:
    """An element as text, `"00080020":{…}`, and as an object."""

    text: bytes
    value: Json


class _Unusual(Exception):
    """Something that pydicom must read with all that is around it."""


_known: dict[tuple[bytes, bool, bytes], _Element] = {}
_held = [0]


_AMBIGUOUS = frozenset(tag for tag, entry in DicomDictionary.items() if " or " in entry[0]) - _PIXEL_TAGS
_BY_SIGN = frozenset((0x00280106, 0x00280107, 0x00280120, 0x00280121))
"""Smallest and largest pixel value, padding value and its limit: signed or not as Pixel Representation says."""


def _walked(file: File) -> tuple[dict[str, _Element], tuple[str, int, int] | None]:
    """The elements, and of the pixels tag, first and last byte."""
    if file.encoding.big:
        raise _Unusual
    implicit, characters = file.encoding.implicit, b""
    found: dict[str, _Element] = {}
    data, last, pixels = file.data, -1, None
    for tag, vr, begins, first, ends in elements(data, file.start, len(data), file.encoding):
        if tag <= last:
            raise _Unusual
        last = tag
        if tag & 0xFFFF == 0 or tag >> 16 in (0, 2):
            continue
        name = f"{tag:08X}"
        if vr in _BINARY or tag in _PIXEL_TAGS:
            found[name] = _binary(name, (tag, vr, first, ends), data[begins:ends], (implicit, characters))
            pixels = (name, first, ends) if tag in _PIXEL_TAGS else pixels
            continue
        if implicit:
            vr = _implied(tag, vr, found)  # noqa: PLW2901
        raw = data[begins:ends]
        if tag == _CHARACTER_SET:
            characters = raw
        known = _known.get((characters, implicit, raw))
        found[name] = known or _made_of(raw, name, (vr, data[first:ends]), (implicit, characters))
    found[_AVAILABLE_SYNTAX] = _syntax(_syntax_of(file))
    return found, pixels


def _implied(tag: int, vr: bytes, found: Mapping[str, _Element]) -> bytes:
    """The representation of an element without one. Raises `_Unusual` when others say that, or a private creator."""
    if tag >> 16 & 1:
        raise _Unusual
    if tag in _BY_SIGN:
        return b"SS" if _whole(found, "00280103") == 1 else b"US"
    if tag in _AMBIGUOUS:
        raise _Unusual
    return vr


def _binary(name: str, place: tuple[int, bytes, int, int], raw: bytes, context: tuple[bool, bytes]) -> _Element:
    """An element whose value is not in the header."""
    tag, vr, first, ends = place
    if vr == b"UN" and tag not in _PIXEL_TAGS:
        if tag >> 16 & 1:
            raise _Unusual  # its creator may say what it is
        return _made_of(raw, name, (vr, raw), context)
    kind = (
        vr.decode() if not context[0] else "OW" if tag == _PIXEL_DATA else dictionary_VR(tag)[:2]
    )  # PS3.5 section A.1
    value: Json = {"vr": kind, "BulkDataURI": name} if ends > first else {"vr": kind}
    return _Element(_fragment(name, value), value)


def _made_of(raw: bytes, name: str, content: tuple[bytes, bytes], context: tuple[bool, bytes]) -> _Element:
    """An element from its bytes, and of these the representation and the value."""
    implicit, characters = context
    value = None if raw == characters else _plain(*content)
    if value is None:
        value = _read(raw if raw == characters else characters + raw, implicit)[name]
    made = _Element(_fragment(name, value), value)
    if len(raw) <= _LARGEST:
        _held[0] += 2 * len(raw) + 400
        if _held[0] > _MEMORY:
            _known.clear()
            _held[0] = 0
        _known[characters, implicit, raw] = made
    return made


def _read(raw: bytes, implicit: bool) -> dict[str, Json]:
    """Elements as pydicom reads them. Raises `_Unusual`: what is damaged only `parse` can say."""
    with quiet():
        try:
            return to_json(read_elements(raw, implicit))
        except Exception:  # noqa: BLE001  pydicom raises many kinds
            raise _Unusual from None


def _plain(vr: bytes, content: bytes) -> Json | None:
    """An element whose value is of the plainest form; None for all others."""
    if not content:
        return {"vr": vr.decode()} if vr not in (b"SQ", b"UN") else None
    packed = _PACKED.get(vr)
    if packed is not None:
        return _numbers(vr, content, packed)
    form = _FORMS.get(vr)
    if form is None or form.fullmatch(content) is None:
        return None
    text = content.rstrip(b"\0" if vr == b"UI" else b" ").decode("ascii")
    if vr in _WHOLE_TEXT:
        return {"vr": vr.decode(), "Value": [text]}
    read = _READ.get(vr, str)
    return {"vr": vr.decode(), "Value": [read(part) for part in text.split("\\")]}


def _numbers(vr: bytes, content: bytes, packed: tuple[str, int]) -> Json | None:
    letter, size = packed
    if len(content) % size:
        return None
    values: list[Json] = list(struct.unpack(f"<{len(content) // size}{letter}", content))
    if vr in (b"FL", b"FD"):
        if any(value - value != 0 for value in values):  # infinite, or no number
            return None
        values = [_real(value) for value in values]
    return {"vr": vr.decode(), "Value": values}


def _real(value: float) -> float | int:
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _decimal(text: str) -> float | int:
    return _real(float(text))


_PACKED = {
    b"US": ("H", 2),
    b"SS": ("h", 2),
    b"UL": ("L", 4),
    b"SL": ("l", 4),
    b"UV": ("Q", 8),
    b"SV": ("q", 8),
    b"FL": ("f", 4),
    b"FD": ("d", 8),
}
_NUMBER, _SIGNED = rb"-?\d{1,12}(\.\d{1,12})?([eE][+-]?\d{1,2})?", rb"-?\d{1,9}"
_WORD = rb"[A-Za-z0-9_.,:;()+/=*%^&#<>-]+( [A-Za-z0-9_.,:;()+/=*%^&#<>-]+)*"
_CODE = rb"[A-Z0-9_]+( [A-Z0-9_]+)*"
_FORMS: dict[bytes, re.Pattern[bytes]] = {
    b"UI": re.compile(rb"[0-9.]+\0?"),
    b"DS": re.compile(_NUMBER + rb"(\\" + _NUMBER + rb")* ?"),
    b"IS": re.compile(_SIGNED + rb"(\\" + _SIGNED + rb")* ?"),
    b"CS": re.compile(_CODE + rb"(\\" + _CODE + rb")* ?"),
    b"DA": re.compile(rb"\d{8}"),
    b"TM": re.compile(rb"\d{2,6}(\.\d{1,6})? ?"),
    b"AS": re.compile(rb"\d{3}[DWMY]"),
    b"SH": re.compile(_WORD + rb" ?"),
    b"LO": re.compile(_WORD + rb" ?"),
    b"ST": re.compile(_WORD + rb" ?"),
    b"LT": re.compile(_WORD + rb" ?"),
    b"UT": re.compile(_WORD + rb" ?"),
}
_WHOLE_TEXT = frozenset((b"SH", b"LO", b"ST", b"LT", b"UT", b"DA", b"TM", b"AS"))
_READ: dict[bytes, Callable[[str], Json]] = {b"DS": _decimal, b"IS": int}


def _syntax_of(file: File) -> str:
    contents = [value for tag, _, value in file.meta if tag == 0x00020010]
    if not contents:
        raise _Unusual
    return contents[-1].rstrip(b"\0 ").decode("ascii")  # pydicom believes the last


def _syntax(uid: str) -> _Element:
    value = {"vr": "UI", "Value": [uid]}
    return _Element(_fragment(_AVAILABLE_SYNTAX, value), value)


def _fragment(name: str, value: Json) -> bytes:
    try:
        text = orjson.dumps(value)
    except TypeError:  # half a surrogate pair, or a number of more than 64 bits
        text = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    return b'"' + name.encode() + b'":' + text


def _joined(found: dict[str, _Element], pixels: tuple[str, int, int] | None, file: File) -> Described:
    name = _syntax_of(file)
    if name not in KNOWN_TRANSFER_SYNTAXES:
        raise _Unusual
    syntax = UID(name)
    if pixels is None or syntax == DeflatedExplicitVRLittleEndian:
        return _made(found, Frames())
    bits = _bits_of_a_frame(found, pixels[0])
    return _made(found, frames_in(file.data, pixels[1:], bits, _count(found), syntax.is_encapsulated))


def _bits_of_a_frame(found: dict[str, _Element], pixels: str) -> int:
    """0 when the header does not say."""
    bits = {"7FE00008": 32, "7FE00009": 64}.get(pixels) or _whole(found, "00280100")
    size = _whole(found, "00280010") * _whole(found, "00280011") * (_whole(found, "00280002") or 1) * bits
    return size * 2 // 3 if _first(found, "00280004") == "YBR_FULL_422" else size


def _made(found: dict[str, _Element], layout: Frames) -> Described:
    brief = [found[tag] for tag in _BRIEF if tag in found]
    return Described(
        header=b"{" + b",".join([found[tag].text for tag in sorted(found)]) + b"}",
        brief=b"{" + b",".join([element.text for element in brief]) + b"}",
        values={tag: found[tag].value for tag in _BRIEF if tag in found},
        frames=_count(found),
        layout=layout,
    )


def _count(found: dict[str, _Element]) -> int:
    return max(1, _whole(found, "00280008"))


def _whole(found: Mapping[str, _Element], tag: str) -> int:
    value = _first(found, tag)
    return value if isinstance(value, int) else 0


def _first(found: Mapping[str, _Element], tag: str) -> Json:
    element = found.get(tag)
    values = element.value.get("Value") if element is not None else None
    return values[0] if values else None
