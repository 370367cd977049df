"""Texts outside the table of PS3.15: which may stay, and in what form.

No free text stays as it is. A technical text stays when each of its words is in `data/words.txt` or is a short
designation with a digit (`B30f`, `epfid2d1_64`), and when none of them is one of this person's identifiers. A code
string stays by the same rule.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum
from functools import lru_cache
from importlib import resources

REMOVED = "REMOVED"
"""Stands where a text must stand and ours was taken away."""


class Otherwise(Enum):
    """What becomes of a technical text that may not stay, by the attribute's type in its IODs."""

    REMOVE = "type 3"
    EMPTY = "type 2"
    DUMMY = "type 1 or 1C in one of the kinds that pass"


TECHNICAL: dict[int, Otherwise] = {
    0x00080070: Otherwise.DUMMY,  # Manufacturer: research compares vendors; type 1 in enhanced images
    0x00081090: Otherwise.DUMMY,  # Manufacturer's Model Name: harmonisation needs it; type 1 in enhanced images
    0x00180024: Otherwise.REMOVE,  # Sequence Name: MR technique
    0x00180031: Otherwise.REMOVE,  # Radiopharmaceutical: the tracer
    0x00180085: Otherwise.REMOVE,  # Imaged Nucleus
    0x00181020: Otherwise.DUMMY,  # Software Versions: reproducibility; type 1 in enhanced images
    0x00181040: Otherwise.REMOVE,  # Contrast/Bolus Route
    0x00181064: Otherwise.REMOVE,  # Cardiac Framing Type
    0x00181070: Otherwise.REMOVE,  # Radiopharmaceutical Route
    0x00181160: Otherwise.REMOVE,  # Filter Type: CT technique
    0x00181180: Otherwise.REMOVE,  # Collimator/Grid Name
    0x001811B0: Otherwise.REMOVE,  # Acquisition Mode
    0x00181210: Otherwise.DUMMY,  # Convolution Kernel: radiomics; type 1C in Enhanced CT
    0x00181250: Otherwise.DUMMY,  # Receive Coil Name: MR technique; type 1C in Enhanced MR
    0x00181251: Otherwise.DUMMY,  # Transmit Coil Name: as above
    0x00189005: Otherwise.DUMMY,  # Pulse Sequence Name: as above
    0x00189041: Otherwise.EMPTY,  # Receive Coil Manufacturer Name: type 2
    0x00189047: Otherwise.DUMMY,  # Multi-Coil Element Name: type 1C
    0x00189050: Otherwise.EMPTY,  # Transmit Coil Manufacturer Name: type 2
    0x00189320: Otherwise.REMOVE,  # Image Filter
    0x00201040: Otherwise.EMPTY,  # Position Reference Indicator: type 2, an anatomical landmark
    0x00209056: Otherwise.DUMMY,  # Stack ID: orders frames; type 1C
    0x00209421: Otherwise.REMOVE,  # Dimension Description Label
    0x00281054: Otherwise.DUMMY,  # Rescale Type: the unit of pixel values; type 1 in functional groups
    0x00281055: Otherwise.REMOVE,  # Window Center & Width Explanation
    0x00283003: Otherwise.DUMMY,  # LUT Explanation: type 1 in real world value maps
    0x00409210: Otherwise.DUMMY,  # LUT Label: as above
    0x00540018: Otherwise.REMOVE,  # Energy Window Name
    0x00541101: Otherwise.REMOVE,  # Attenuation Correction Method: PET technique
    0x00541103: Otherwise.REMOVE,  # Reconstruction Method: as above
    0x00541104: Otherwise.REMOVE,  # Detector Lines of Response Used: as above
    0x00541105: Otherwise.REMOVE,  # Scatter Correction Method: as above
    0x00620005: Otherwise.DUMMY,  # Segment Label: type 1; `rewrite` puts "Segment 1" where it may not stay
    0x00620009: Otherwise.DUMMY,  # Segment Algorithm Name: type 1C
    0x00620020: Otherwise.DUMMY,  # Tracking ID: type 1C
    0x00660031: Otherwise.DUMMY,  # Algorithm Version: type 1
    0x00660036: Otherwise.DUMMY,  # Algorithm Name: type 1
    0x00700081: Otherwise.EMPTY,  # Content Description: type 2
}
"""The attributes that are not in the table, hold text, and say something about technique that research needs."""

_LONGEST = 64
_LINES = (resources.files("carina.deid") / "data" / "words.txt").read_text("utf-8").splitlines()
_LISTED = [word for line in _LINES if not line.startswith("#") for word in line.split()]
_WORDS = frozenset(word.removesuffix("?") for word in _LISTED)
_ORDINARY = frozenset(word for word in _LISTED if not word.endswith("?"))
_PIECE = re.compile(r"[A-Z0-9]+", re.ASCII)
_TECHNICAL = re.compile(r"[A-Za-z0-9 _*+./,;:#%&<>=()\[\]{}'^-]*", re.ASCII)
_RUN = re.compile(r"[A-Z]+|[0-9]+", re.ASCII)
_CALENDAR_OR_TELEPHONE = re.compile(r"\d{3}[- ]\d{3}|(?<!\d)(19\d\d(?!\d)|20\d\d(?![\dA-E]))|\d{5}", re.ASCII)
_GROUPS = re.compile(r"\d+(?:[^A-Za-z0-9]+\d+){2,}", re.ASCII)
_DAY = re.compile(r"(?:^|\D)(?:0?[1-9]|[12]\d|3[01])\D+(?:0?[1-9]|1[0-2])\D+(?:\d\d|\d{4})(?:\D|$)", re.ASCII)
_BYTE = r"(25[0-5]|2[0-4]\d|1?\d?\d)"
_KNOWN_FORMS = re.compile(
    rf"MR Software release:[A-Z]{{2}}\d\d\.\d_R\d\d_\d{{4}}\.[a-z]|RGB\({_BYTE}, {_BYTE}, {_BYTE}\)", re.ASCII
)
_MOST_LETTERS = 2  # single ones in a text: more may spell a name
_MOST_DIGITS = 5  # in groups with marks between, and in a code string
_CODE_STRING = re.compile(r"[A-Z0-9_ ]{0,16}", re.ASCII)
_LETTER_OF = str.maketrans(dict(zip("ßøæœłđðþı", ("ss", "o", "ae", "oe", "l", "d", "d", "th", "i"), strict=True)))
_SPELT_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})


def pieces(text: str) -> list[str]:
    """The runs of letters and digits in a text, as capitals without accents."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", unicodedata.normalize("NFC", text).lower().translate(_LETTER_OF))
        text = "".join(mark for mark in text if not unicodedata.combining(mark))
    return _PIECE.findall(text.upper())


def is_latin(text: str) -> bool:
    """Whether all letters of a text are Latin ones, so that its `pieces` say all that it says."""
    return text.isascii() or all(unicodedata.name(sign, "").startswith("LATIN") for sign in text if sign.isalpha())


def spellings(text: str) -> set[str]:
    """The `pieces` of a text and of the other ways to write it: with ä as ae, and where UTF-8 was read as Latin-1."""
    if text.isascii():
        return set(pieces(text))
    found = set(pieces(text)) | set(pieces(unicodedata.normalize("NFC", text).lower().translate(_SPELT_OUT)))
    try:
        return found | spellings(text.encode("latin-1").decode("utf-8"))
    except UnicodeError:
        return found


def is_ordinary(word: str) -> bool:
    """Whether a word, in capitals, names technique or anatomy and is no name of persons: it identifies nobody."""
    return word in _ORDINARY


@lru_cache(maxsize=4096)
def is_technical(text: str) -> bool:
    """Whether a text says nothing but technique: known words and short designations, 64 ASCII characters at most."""
    if _KNOWN_FORMS.fullmatch(text):
        return True
    if len(text) > _LONGEST or not _TECHNICAL.fullmatch(text) or _CALENDAR_OR_TELEPHONE.search(text):
        return False
    if any(_is_day_or_number(groups) for groups in _GROUPS.findall(text)):
        return False
    return _says_technique(pieces(text))


def _is_day_or_number(groups: str) -> bool:
    """Whether groups of digits, with marks between, may be a date or a telephone number, and not only a version."""
    return sum(map(str.isdecimal, groups)) > _MOST_DIGITS or _DAY.search(groups) is not None


def _says_technique(found: list[str]) -> bool:
    """Whether each piece is a listed word or a short designation, and single letters are few."""
    if sum(len(piece) == 1 and piece.isalpha() for piece in found) > _MOST_LETTERS:
        return False
    return all(piece in _WORDS or len(piece) == 1 or _is_designation(piece) for piece in found)


def _is_designation(piece: str) -> bool:
    """Digits, alone two at most, or with letters: MR750, EPFID2D1. Three letters and more must be a listed word."""
    if piece.isdecimal():
        return len(piece) <= 2
    return any(map(str.isdecimal, piece)) and all(
        run in _WORDS or len(run) <= 2 for run in _RUN.findall(piece) if run.isalpha()
    )


@lru_cache(maxsize=4096)
def is_code_string(text: str) -> bool:
    """Whether a text is a value of VR CS (PS3.5 section 6.2, 16 characters at most) made of words of defined terms."""
    if _CODE_STRING.fullmatch(text.strip(" ")) is None or sum(map(str.isdecimal, text)) >= _MOST_DIGITS:
        return False
    return not _CALENDAR_OR_TELEPHONE.search(text) and _says_technique(pieces(text.replace("_", " ")))


_LONG = 4  # characters of an identifier that is looked for inside words, too


@lru_cache(maxsize=4096)
def _joined(text: str) -> tuple[tuple[str, ...], str]:
    """A text's pieces, also without their digits; and all of it without what is between, with and without digits.

    Listed words of four letters and more are left out of the joined forms: a name is not to be found inside them.
    """
    found = pieces(text)
    bare = [piece.strip("0123456789") for piece in found]
    joined = "".join("|" if len(piece) >= _LONG and piece in _WORDS else piece for piece in found)
    letters = "".join(sign for sign in joined if not sign.isdecimal())
    return tuple({*found, *bare} - {""}), f"{joined}|{letters}"


@lru_cache(maxsize=64)
def _long_words(own: frozenset[str]) -> tuple[str, ...]:
    return tuple(word for word in own if len(word) >= _LONG)


def names(text: str, own: frozenset[str]) -> bool:
    """Whether a text has one of these identifiers (capitals, not ordinary words) as a word, or a longer one inside."""
    if not own or not text:
        return False
    found, joined = _joined(text)
    if not own.isdisjoint(found):
        return True
    return any(word in joined for word in _long_words(own)) if len(joined) > _LONG else False


ALSO_ORDINARY = "?"
"""After a word of `own` that is a person's name and an ordinary word as well: it counts in free text only."""


def names_in_free_text(text: str, own: frozenset[str]) -> bool:
    """The same for a text that somebody may have typed: there a patient called Head is named by his name."""
    return names(text, own) or any(piece + ALSO_ORDINARY in own for piece in pieces(text))
