"""What stays of devices, of institutions and of private elements: steps that look at the form of a value.

A device's number and an institution's name are no words of the patient's, though `words.identifiers` takes them from
the header: they are looked for in `Subject.persons`, from which they are left out.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.values import convert_value

from carina.deid.pseudonyms import device_key, shift_date
from carina.deid.rules.rule import Step, Subject
from carina.deid.rules.steps import values_of, vr_of
from carina.deid.words import numbers, texts
from carina.deid.words.identifiers import identifying_words, own_of

_RUN = re.compile(r"[A-Z]+", re.ASCII)
_ADDRESS = re.compile(r"@|://|\\\\|www\.", re.IGNORECASE)
_FORGE = re.compile(r"https?://(www\.)?(github|gitlab|bitbucket|sourceforge)\.(com|net|org)/[\w./-]*", re.ASCII)
"""Where open software lives: some of it gives its address as its name."""

_LISTED_HOUSES = """
CLINIC CLINICS CLINICA CLINICO CLINIQUE HOSPITAL HOSPITALS HOSPITALIER HOPITAL HOPITAUX OSPEDALE OSPEDALIERO SZPITAL
SZPITALA KRANKENHAUS KLINIK KLINIKEN KLINIKUM UNIVERSITATSKLINIKUM UNIVERSITAETSKLINIKUM UNIKLINIK UNIKLINIKUM SPITAL
ZIEKENHUIS INFIRMARY UNIVERSITY UNIVERSITAT UNIVERSITAET UNIVERSITE UNIVERSITA UNIVERSIDAD UNIVERSIDADE UNIWERSYTET
UNIVERSITEIT POLIKLINIK POLICLINICO POLYCLINIC PRAXIS PRAXISKLINIK SANATORIUM
"""
_HOUSES = frozenset(_LISTED_HOUSES.split())
"""What a hospital is called and a product is not."""

_SHORT, _TELLING = 3, 4  # letters: a designation has few, a name or its beginning more


def device_number(element: DataElement, subject: Subject) -> DataElement | None:
    """K of Retain Device Identity for a serial number, an ID or a station: as it is, where it looks like one.

    People name stations and rooms after hospitals. So a value with a longer word that is no word of technique, or with
    a word of the person's, becomes a keyed number: equal devices stay equal.
    """
    own = _others(element, subject)
    found = [text if not text or _is_number(text, own) else _keyed(text, subject) for text in values_of(element)]
    return DataElement(element.tag, vr_of(element), found)


def device_title(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """A model's name or a software's version, under Retain Device Identity: any words, but none akin to a person's."""
    own = _others(element, subject)
    found = values_of(element)
    if all(_is_title(text, own) for text in found):
        return DataElement(element.tag, vr_of(element), found)
    return otherwise(element, subject)


def _is_title(text: str, own: frozenset[str]) -> bool:
    if not texts.is_latin(text) or not _HOUSES.isdisjoint(texts.pieces(text)):
        return False
    if _ADDRESS.search(text):
        if not _FORGE.fullmatch(text):
            return False
        text = text.partition("://")[2]  # https is a word of any address in the header
    return not texts.names(text, own) and not _is_akin(text, own)


def application_title(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """C of Retain Device Identity for an AE title: a word of technique with its number stays."""
    if all(_is_number(text, subject.own) for text in values_of(element) if text):
        return DataElement(element.tag, vr_of(element), values_of(element))
    return otherwise(element, subject)


def institution(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """K of Retain Institution Identity: stays unless it has a word of a person's."""
    own = _others(element, subject)
    found = values_of(element)
    if any("@" in text or texts.names(text, own) for text in found):
        return otherwise(element, subject)
    return DataElement(element.tag, vr_of(element), found)


def ethnic_group(otherwise: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """K of Retain Patient Characteristics for a short text: letters only, two words at most, none of the person's."""
    found = values_of(element)
    for text in found:
        words = text.replace("-", " ").replace("/", " ").split()
        if len(words) > 2 or not all(map(str.isalpha, words)) or texts.names(text, subject.own):
            return otherwise(element, subject)
    return DataElement(element.tag, vr_of(element), found)


def _others(element: DataElement, subject: Subject) -> frozenset[str]:
    """The words to look for in what the device or the institution is called."""
    if subject.persons is not None:
        return subject.persons
    return subject.own - own_of(identifying_words(element))


def _is_number(text: str, own: frozenset[str]) -> bool:
    if _ADDRESS.search(text) or not text.isascii() or texts.names(text, own):
        return False
    runs = _RUN.findall(text.upper())
    return all(len(run) <= _SHORT or texts.is_ordinary(run) for run in runs) and not _is_akin(text, own)


def _is_akin(text: str, own: frozenset[str]) -> bool:
    """Whether a word of the text begins one of `own`, or begins with one."""
    runs = [piece for piece in texts.pieces(text) if len(piece) >= _TELLING and piece.isalpha()]
    return any(_share_a_start(run, word) for run in runs for word in own) if runs else False


def _share_a_start(run: str, word: str) -> bool:
    return len(word) >= _TELLING and (word.startswith(run) or run.startswith(word))


def _keyed(text: str, subject: Subject) -> str:
    return device_key(subject.keys, text)[:16]


# --- private elements -----------------------------------------------------------------------------------------------

_FORMATS = {"FD": "d", "FL": "f", "SL": "i", "UL": "I", "SS": "h", "US": "H", "SV": "q", "UV": "Q"}
_SECONDS = range(10**8 * 3, 10**8 * 43)  # since 1970, up to what four bytes hold; and the same in milliseconds
_DIGITS = re.compile(r"[+-]?\d+(\.0*)?", re.ASCII)


def private_number(element: DataElement, subject: Subject) -> DataElement | None:
    """A private number: each value as of a listed attribute, and none that is a day or the seconds since 1970."""
    value = element.value
    many = list(value) if isinstance(value, MultiValue | list | tuple) else [value]
    for part in many:
        single = DataElement(element.tag, element.VR, part)
        if numbers.kept_number(single, subject.own) is None or _is_moment(part):
            return None
    return None if numbers.is_text(_packed(str(element.VR), many)) else element


def private_term(element: DataElement, subject: Subject) -> DataElement | None:
    """A private code string: words of defined terms, none of this person's."""
    found = values_of(element)
    stays = all(texts.is_code_string(text) and not texts.names(text, subject.own) for text in found)
    return DataElement(element.tag, "CS", found) if stays else None


def private_text(element: DataElement, subject: Subject) -> DataElement | None:
    """A private short text that speaks of technique only."""
    found = values_of(element)
    stays = all(texts.is_technical(text) and not texts.names(text, subject.own) for text in found)
    return DataElement(element.tag, element.VR, found) if stays else None


def as_listed(vr: str, step: Step, element: DataElement, subject: Subject) -> DataElement | None:
    """An element that came without VR (UN: little endian, PS3.5 section 6.2.2), read by the one it is listed with."""
    value = element.value
    if not isinstance(value, bytes):
        return None
    raw = RawDataElement(BaseTag(element.tag), vr, len(value), value, 0, False, True)
    try:
        read = DataElement(element.tag, vr, convert_value(vr, raw))
    except Exception:  # noqa: BLE001  pydicom raises many kinds; what cannot be read does not stay
        return None
    return step(read, subject)


def _is_moment(value: object) -> bool:
    text = str(getattr(value, "original_string", value)).strip()
    if _DIGITS.fullmatch(text) is None:
        return False
    whole = abs(int(float(text)))
    return whole in _SECONDS or whole // 1000 in _SECONDS or _is_day(str(whole))


def _is_day(digits: str) -> bool:
    return len(digits) == len("YYYYMMDD") and digits[:2] in ("19", "20") and shift_date(digits, 0) is not None


def _packed(vr: str, many: Iterable[object]) -> bytes:
    """Binary numbers as they stand in a file, where several may spell a text; nothing for numbers told in digits."""
    form = _FORMATS.get(vr)
    parts = [part for part in many if isinstance(part, int | float)]
    return struct.pack(f"<{len(parts)}{form}", *parts) if form else b""
