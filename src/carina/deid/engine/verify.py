"""Verification: a clean file is read again and searched for what identified its original. See `Sought` for the rule.

What is found is told by place and kind, never by its text. `docs/decisions/deid-verification.md` gives the reasons.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import pairwise

from pydicom._uid_dict import UID_dictionary
from pydicom.charset import python_encoding
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from carina.deid.engine.needles import Kind, Needle, folded, needles_in, patterns_of, uids_in, words_of
from carina.deid.pseudonyms import shift_date
from carina.deid.rules import table
from carina.deid.words.values import DUMMIES, dictionary_vr
from carina.deid.words.vocabulary import kind_of
from carina.dicom.makers import maker
from carina.dicom.reader import MAX_DEPTH, Encoding, elements, is_pixels, items, opened

LONG = 4
"""Characters from which on a needle is looked for inside other words and in any bytes; shorter ones as whole words."""

LONG_NUMBER = 5
"""Digits from which on a number may be somebody's identifier."""

_MANY = 1 << 16  # bytes of a value, in which four may be like a needle by chance
_LONG_IN_MANY = 6
_FEW_NUMBERS = 16  # more values are a list of coordinates or measurements
_REMEMBERED = 1 << 14, 1 << 10  # elements, and the bytes of the longest

_OPTION_KEEPS = {
    "retain_institution_identity": Kind.PLACE,
    "retain_device_identity": Kind.DEVICE,
    "retain_longitudinal_full_dates": Kind.DATE,
    "retain_uids": Kind.UID,
}


@dataclass(frozen=True)
class Leftover:
    """Something that may identify: its tags from the root inwards, and what kind of thing it is. No text of it."""

    path: tuple[int, ...]
    kind: str

    def __str__(self) -> str:
        return "/".join(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in self.path) + f" {self.kind}"


@dataclass(frozen=True, eq=False)
class Sought:
    """What is looked for in the outputs of one person's originals, and where. Made by `sought`; shared and remembered.

    texts      folded texts of `LONG` characters and more: anywhere in a text. Not counted: an occurrence of letters
               inside a longer word of the vocabulary (Tran in TRANSVERSE)
    joined     texts with digits, without what is between: the same
    words      shorter ones: whole words of a text; numbers of one or two digits name nobody
    numbers    digits: a number that is equal to one, zeros before it aside, and is no list of more than 16
    dates      YYYYMMDD that no date may be; without those that another date of the original is moved to
    patterns   bytes, in every encoding: anywhere in binary values, and in texts that are not ASCII. In values of more
               than 64 KiB, and for UTF-16 in them, from 6 characters on; not where the characters go up or down in
               steps of one (1234), as any lookup table's values do
    keeps      kinds that the options retain
    made       what the project's key made for this person, folded: pseudonym and its like, which may stand

    Words of technique and anatomy that are nobody's name are not sought, so a patient called HEAD keeps a body part and
    a patient whose identifier is 1234 their numbers. Excused where they are found: standard codes and meanings in coded
    entries, dummies of the profile, makers, character sets, the engine's own marks.
    """

    texts: tuple[tuple[str, Kind], ...] = field(repr=False)
    joined: tuple[tuple[str, Kind], ...] = field(repr=False)
    words: dict[str, Kind] = field(repr=False)
    numbers: frozenset[str] = field(repr=False)
    dates: frozenset[str] = field(repr=False)
    patterns: tuple[tuple[bytes, Kind], ...] = field(repr=False)
    keeps: frozenset[Kind]
    made: frozenset[str]
    clean: set[bytes] = field(default_factory=set, repr=False)  # root elements found to be clean; changes no result


def sought_in(element: DataElement) -> frozenset[Needle]:
    """What one element of an original names, with all that it holds: persons, identifiers, places, devices, dates."""
    return frozenset(needles_in(element))


def sought_in_all(dataset: Dataset) -> frozenset[Needle]:
    """What a whole original names."""
    return frozenset(needle for element in dataset for needle in needles_in(element))


def uids_of(dataset: Dataset) -> frozenset[str]:
    """All UIDs of an original; `reread` does not count those of the standard."""
    return frozenset(uid for element in dataset for uid in uids_in(element))


@lru_cache(maxsize=64)
def sought(needles: frozenset[Needle], options: tuple[str, ...], made: frozenset[str], days: int) -> Sought:
    """What is to be looked for.

    options   of the profile; what they retain is not sought
    made      values made by key that stand in the output for this person: the pseudonym
    days      the person's shift of dates; 0 where dates stay
    """
    keeps = frozenset(kind for option, kind in _OPTION_KEEPS.items() if option in options)
    made = frozenset(text.lower() for text in made)
    found = {word: needle.kind for needle in sorted(needles) if needle.kind not in keeps for word in words_of(needle)}
    found = {word: kind for word, kind in found.items() if word not in made}
    dates = {needle.text for needle in needles if needle.kind is Kind.DATE and Kind.DATE not in keeps}
    long = {word: kind for word, kind in found.items() if _is_long(word)}
    patterns = {data: kind for word, kind in long.items() for data in patterns_of(word)}
    for needle in needles:  # as written, before accents were folded
        if needle.kind is Kind.NAME and not needle.text.isascii():
            for word in re.findall(r"[^\W_]+", needle.text):
                if folded(word) in found:
                    patterns |= dict.fromkeys(patterns_of(word), needle.kind)
    return Sought(
        texts=tuple(long.items()),
        joined=tuple((word, kind) for word, kind in long.items() if word.isalnum() and not word.isalpha()),
        words={word: kind for word, kind in found.items() if not _is_long(word) and not _is_small_number(word)},
        numbers=frozenset(word.lstrip("0") for word in found if word.isdecimal() and len(word) >= LONG_NUMBER),
        dates=frozenset(dates - {shift_date(text, days) for text in dates} - {str(DUMMIES["DA"])}),
        patterns=tuple(patterns.items()),
        keeps=keeps,
        made=made,
    )


def _is_long(word: str) -> bool:
    """Four characters; two where each is a word or a syllable, as in Chinese, Japanese and Korean."""
    return len(word) >= LONG or (len(word) > 1 and all(ord(sign) >= 0x2E80 for sign in word))


def _is_small_number(word: str) -> bool:
    return word.isdecimal() and len(word) < 3


# --- one element ----------------------------------------------------------------------------------------------------

_NUMBERS = {"FD": "d", "FL": "f", "SL": "i", "UL": "I", "SS": "h", "US": "H", "SV": "q", "UV": "Q"}
_TEXTS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_FORMS = {
    "AS": re.compile(rb"\d{3}[DWMY] ?"),
    "TM": re.compile(rb"[\d:.\\ -]*"),
    "DA": re.compile(rb"[\d.\\ -]*"),
    "DT": re.compile(rb"[\d.+\\ -]*"),
    "DS": re.compile(rb"[\dEe.+\\ -]*"),
    "IS": re.compile(rb"[\d+\\ -]*"),
}


def check_element(
    tag: int, vr: str, value: bytes, sought: Sought, *, uids: frozenset[str] = frozenset(), big: bool = False
) -> str | None:
    """What kind of thing an element's value holds that it must not; None if it is clean. For all VRs but SQ.

    value   as written: texts in the character set of the file, padding included
    uids    the original's UIDs, where they are not retained
    """
    if not value or is_pixels(tag):
        return None
    if tag in _never_kept():
        kind: str | None = Kind.NEVER
    elif vr == "UI":
        return _uid_left(tag, value, sought, uids)
    elif vr in _FORMS and _FORMS[vr].fullmatch(value.rstrip(b"\0")):
        return _number_left(vr, value, sought)
    elif vr in _NUMBERS and _packed_left(vr, value, sought, big):
        kind = Kind.IDENTIFIER
    elif vr in _TEXTS or vr in _FORMS:
        kind = _text_left(value, sought)
    else:
        kind = _bytes_left(value, sought) or (_text_left(value, sought) if vr == "UN" else None)
    return None if kind is None or _is_constant(tag, vr, value, sought) else kind


_HIGH_AGE = re.compile(r"(?:09[1-9]|[1-9]\d\d)Y")  # all above 89 are said to be 90


@cache
def _never_kept() -> frozenset[int]:
    """Texts of Table E.1-1 that no option retains; birth date and time, address and rank are among them."""
    listed = {int(row.tag, 16) for row in table.ROWS if not row.options and not set(row.tag) & set("xPRIVATE")}
    return frozenset(tag for tag in listed if dictionary_vr(tag) in _TEXTS | set(_FORMS))


_OWN_UID = re.compile(r"2\.25\.([1-9]\d{30,38})", re.ASCII)
_OF_THE_STANDARD = re.compile(r"1\.2\.840\.10008(\.\d{1,4}){1,9}", re.ASCII)
_LIKE_A_UID = re.compile(r"\d+(?:\.\d+){4,}", re.ASCII)
_SHORTEST_UID = 16  # characters; less is a version
_IMPLEMENTATION = "2.25.276730125451314215964182458534966934860"


@cache
def _device_uids() -> frozenset[int]:
    """UIDs of devices, which stay under Retain Device Identity."""
    kept = (int(row.tag, 16) for row in table.ROWS if row.options.get("retain_device_identity") == "K")
    return frozenset(tag for tag in kept if dictionary_vr(tag) == "UI")


def _uid_left(tag: int, value: bytes, sought: Sought, uids: frozenset[str]) -> str | None:
    """Each UID is one of the standard or made by key; where it is retained, one that holds no identifier as a part."""
    retained = Kind.UID in sought.keeps or (Kind.DEVICE in sought.keeps and tag in _device_uids())
    for text in value.decode("latin-1").split("\\"):
        uid = text.strip(" \0")
        if not uid or uid in UID_dictionary or uid == _IMPLEMENTATION or _OF_THE_STANDARD.fullmatch(uid):
            continue
        if retained:
            if any(part.lstrip("0") in sought.numbers for part in uid.split(".")):
                return Kind.IDENTIFIER
        elif uid in uids or not _made_by_key(uid):
            return Kind.UID
    return None


def _made_by_key(uid: str) -> bool:
    """Whether a UID has the form that `pseudonyms.new_uid` gives: a UUID of version 8, RFC 9562."""
    found = _OWN_UID.fullmatch(uid)
    if found is None:
        return False
    number = int(found[1])
    return number < 1 << 128 and number >> 76 & 0xF == 8 and number >> 62 & 0b11 == 0b10


def _number_left(vr: str, value: bytes, sought: Sought) -> str | None:
    """Numbers, dates and times that have their VR's form."""
    texts = value.decode("ascii").rstrip("\0").split("\\")
    if vr in ("DA", "DT"):
        dates = sought.dates
        return Kind.DATE if dates and any(text.replace(".", "")[:8] in dates for text in texts) else None
    if vr == "AS":
        return Kind.AGE if any(_HIGH_AGE.match(text) for text in texts) else None
    if vr in ("DS", "IS") and sought.numbers and len(texts) <= _FEW_NUMBERS:
        for text in texts:
            whole, _, fraction = text.strip(" +-").partition(".")
            if len(whole) >= LONG_NUMBER and not fraction.strip("0") and whole.lstrip("0") in sought.numbers:
                return Kind.IDENTIFIER
    return None


def _packed_left(vr: str, value: bytes, sought: Sought, big: bool) -> bool:
    """Whether one of few binary numbers is equal to an identifier."""
    size = struct.calcsize(_NUMBERS[vr])
    count = len(value) // size
    if not sought.numbers or count > _FEW_NUMBERS or len(value) % size:
        return False
    found = struct.unpack(f"{'>' if big else '<'}{count}{_NUMBERS[vr]}", value)
    whole = (abs(number) for number in found if abs(number) >= 10**4 and number % 1 == 0)
    return any(f"{number:.0f}" in sought.numbers for number in whole)


def _text_left(value: bytes, sought: Sought) -> Kind | None:
    if value.isascii() and b"\x1b" not in value and b"\0" not in value[:-1]:
        return _words_left(value.decode("ascii").lower(), sought)
    return _bytes_left(value, sought, texts=True) or next(
        (kind for text in _readings(value) if (kind := _words_left(folded(text), sought))), None
    )


def _readings(value: bytes) -> list[str]:
    """A text that is not ASCII, as it may be meant; other encodings are found by `Sought.patterns`."""
    found = [value.decode("latin-1")]
    try:
        found.append(value.decode("utf-8"))
        found.append(found[-1].encode("latin-1").decode("utf-8"))
    except UnicodeError:
        pass
    if b"\0" in value:
        found += [value.decode("utf-16-le", "ignore"), value.decode("utf-16-be", "ignore")]
    return found


_LETTERS = re.compile(r"[^\W\d_]+")
_WORD = re.compile(r"[^\W_]+")


def _words_left(text: str, sought: Sought) -> Kind | None:
    """The kind of the first needle in a folded text."""
    for word, kind in sought.texts:
        if word in text and not _is_inside_a_word(word, text):
            return kind
    pieces = _WORD.findall(text)
    if sought.joined and any(map(str.isdecimal, text)):
        squeezed = "".join(pieces)
        for word, kind in sought.joined:
            if word in squeezed:
                return kind
    for word in pieces:
        if word in sought.words:
            return sought.words[word]
    if text.count(".") > 3 and Kind.UID not in sought.keeps:
        return Kind.UID if any(_is_foreign_uid(found) for found in _LIKE_A_UID.findall(text)) else None
    return None


def _is_foreign_uid(text: str) -> bool:
    known = text in UID_dictionary or _OF_THE_STANDARD.fullmatch(text) or _made_by_key(text)
    return len(text) >= _SHORTEST_UID and not known


def _is_inside_a_word(word: str, text: str) -> bool:
    """Whether a needle of letters occurs only inside longer words that the vocabulary has."""
    if not word.isalpha():
        return False
    runs = {run for run in _LETTERS.findall(text) if word in run}
    return bool(runs) and all(run != word and kind_of(run.upper()) is not None for run in runs)


def _bytes_left(value: bytes, sought: Sought, texts: bool = False) -> Kind | None:
    """The kind of the first pattern among any bytes; see `Sought.patterns`."""
    lower = value.lower()
    shortest = _LONG_IN_MANY if len(value) > _MANY and not texts else LONG
    for data, kind in sought.patterns:
        if len(data) >= shortest and data in lower and (texts or _is_no_chance(data, len(value))):
            return kind
    return None


def _is_no_chance(data: bytes, size: int) -> bool:
    """Whether a pattern among numbers is a text, and not a run of a lookup table's or of a signal's values."""
    wide = data[1::2].strip(b"\0") == b"" or data[::2].strip(b"\0") == b""  # UTF-16 of ASCII
    signs = data.replace(b"\0", b"") if wide else data
    if wide and len(signs) < _LONG_IN_MANY and size > _FEW_NUMBERS * 2:
        return False
    return len({second - first for first, second in pairwise(signs)} - {0}) > 1


# --- what is excused ------------------------------------------------------------------------------------------------

_CODE_PARTS = frozenset((0x00080100, 0x00080102, 0x00080103, 0x00080104, 0x00080119))
_METHOD = re.compile(r"Carina engine \d+|PS3\.15 \d{4}[a-z] Basic Profile")
_ACCESSION = re.compile(r"A[A-Z2-7]{15}")


def _is_constant(tag: int, vr: str, value: bytes, sought: Sought) -> bool:
    """Whether all of a text's values are fixed ones, which say nothing of anybody."""
    texts = [text.strip(" \0") for text in value.decode("latin-1").split("\\")]
    return all(_is_fixed(tag, vr, text, sought) for text in texts if text)


def _is_fixed(tag: int, vr: str, text: str, sought: Sought) -> bool:
    if text == str(DUMMIES.get(vr)) or text.lower() in sought.made:
        return True
    if tag in _CODE_PARTS:
        return text in _code_texts()
    of_tag = {
        0x00080005: text in python_encoding,
        0x00080050: _ACCESSION.fullmatch(text) is not None and text.lower() not in dict(sought.texts),
        0x00080070: text == maker(text),
        0x00120063: _METHOD.fullmatch(text) is not None,
    }
    return of_tag.get(tag, False) or (tag >> 16 & 1 == 1 and tag & 0xFF00 == 0 and text in _safe_creators())


@cache
def _code_texts() -> frozenset[str]:
    """Codes, meanings and schemes of the concepts that pydicom has of PS3.16."""
    from pydicom.sr import _concepts_dict, _snomed_dict

    concepts: dict[str, dict[str, dict[str, tuple[str, list[int]]]]] = _concepts_dict.concepts  # type: ignore[assignment]
    found = set(concepts) | {"SRT", "SNM3", "Unknown", "261665006"}
    for keywords in concepts.values():
        for codes in keywords.values():
            for code, (meaning, _) in codes.items():
                found |= {code, meaning, meaning[:64]}
    return frozenset(found | set(_snomed_dict.mapping["SRT"]))


@cache
def _safe_creators() -> frozenset[str]:
    """Private creators of which some element is listed as safe."""
    import json
    from importlib import resources

    content = json.loads((resources.files("carina.deid") / "data" / "private_safe.json").read_text("utf-8"))
    return frozenset(str(row[0]).strip() for row in content["elements"])


# --- a whole file ---------------------------------------------------------------------------------------------------

_META = frozenset((0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012))


def reread(data: bytes, sought: Sought, uids: frozenset[str] = frozenset()) -> list[Leftover]:
    """All that is left in a clean Part 10 file, read from its bytes alone; empty if nothing is.

    Also found: a preamble that is not empty, file meta information beyond what must be, elements below group 8, and
    bytes that are no dataset. Remembers clean elements in `sought.clean`.
    """
    uids = frozenset(uid for uid in uids if _made_by_key(uid))  # all others show by their form
    try:
        file = opened(data)
        search = _Search(file.data, file.encoding, sought, uids)
        found = [Leftover((), "a preamble")] if any(file.preamble) else []
        for tag, vr, value in file.meta:
            if tag not in _META:
                found.append(Leftover((tag,), "file meta information"))
            elif kind := check_element(tag, vr.decode(), value, sought, uids=uids):
                found.append(Leftover((tag,), kind))
        return found + search.root(file.start)
    except (ValueError, struct.error):
        return [Leftover((), "bytes that are no dataset")]


@dataclass(frozen=True)
class _Search:
    """A search in one dataset's bytes."""

    data: bytes = field(repr=False)
    encoding: Encoding
    sought: Sought
    uids: frozenset[str] = field(repr=False)

    def root(self, place: int) -> list[Leftover]:
        """What is left in the elements from `place` to the end."""
        found: list[Leftover] = []
        data, clean, (most, longest) = self.data, self.sought.clean, _REMEMBERED
        unremembered = (b"UI", b"SQ") if self.uids else (b"UI",)
        if len(clean) > most:
            clean.clear()
        for tag, vr, start, first, last in elements(data, place, len(data), self.encoding):
            if last - start > longest or vr in unremembered:
                found += self.element((tag,), vr, first, last)
            elif (raw := data[start:last]) not in clean:
                left = self.element((tag,), vr, first, last)
                found += left
                if not left:
                    clean.add(raw)
        return found

    def element(self, path: tuple[int, ...], vr: bytes, first: int, last: int) -> list[Leftover]:
        """What is left in the value between two places, and in what it holds."""
        tag = path[-1]
        if tag >> 16 < 8 or len(path) > MAX_DEPTH:
            return [Leftover(path, "an element in no place of its own")]
        if is_pixels(tag):
            return []
        if vr == b"SQ":
            spans = items(self.data, first, last, self.encoding)
            return [left for start, end in spans for left in self.item(path, start, end)]
        value = self.data[first:last]
        kind = check_element(tag, vr.decode(), value, self.sought, uids=self.uids, big=self.encoding.big)
        return [] if kind is None else [Leftover(path, kind)]

    def item(self, path: tuple[int, ...], start: int, end: int) -> list[Leftover]:
        """What is left in one item's elements."""
        found = []
        for tag, vr, _, first, last in elements(self.data, start, end, self.encoding):
            found += self.element((*path, tag), vr, first, last)
        return found
