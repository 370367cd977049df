"""Texts in pictures that say nothing of a person: sides, settings of the machine, measures, anatomy.

A text stays in a picture only when all of it is of these forms. Dates, times, names, numbers without a unit, and words
that no form here has never are.
"""

from __future__ import annotations

import re

from carina.deid.words.texts import is_ordinary

SURE = 0.85  # how sure the recogniser must be of a text that stays, from 0 to 1

_NUMBER = r"[<>]?[-+]?\d{1,3}(?:[.,]\d{1,2})?"
_UNIT = r"(?:cm/s|m/s|cm2|cm|mmHg|mm|[kM]?Hz|dB|%|kVp?|mAs?|[um]Gy|fps|bpm|ms|um|deg)"  # no years and months: ages
_SETTING = (
    r"(?:[MH][IL]|T[IL][SBC]?|A[O0]|Gn|Gain|DR|FR|PRF|WF|Pwr|Frq|Freq|Depth|Zoom|Dyn ?R|Map|Comp|Filt|kVp?|mAs?|FOV|"
    r"DF[O0]V|WL|WW|TR|TE|ST|SL|THK|Dist|Tilt|ASC|2D|3D|CF|PW)"
)
"""M, I and O are read as H, l and 0 in the small fonts of ultrasound machines."""
_SIGN = (
    r"(?:R|L|RT|LT|ANT|POST|SUP|INF|2D|3D|4D|B-?mode|M-?mode|PW|CW|CF|CPA|P[WU]R|THI|H?Gen|H?Res|H?Pen|Harm|SonoCT|XRes|"
    r"General|[CLSVX]\d{1,2}-\d{1,2})"  # at last a transducer: C5-1
)
_MEASURED = rf"H?{_NUMBER} ?{_UNIT}"
_SET = rf"{_SETTING} ?[-:=]{{0,2}} ?{_NUMBER} ?{_UNIT}?"
_ONE = re.compile(
    rf"(?:{_SET}|{_MEASURED}|{_SIGN})(?![A-Za-z0-9.,])|(?:{_SET}|{_MEASURED})(?=[A-Za-z])", re.ASCII | re.IGNORECASE
)
_WORD = re.compile(r"[A-Za-z]{3,}(?![A-Za-z0-9])", re.ASCII)
_MAKERS = frozenset(("PHILIPS", "SIEMENS"))  # persons are called so, too
_BETWEEN = re.compile(r"[ ,/*+-]*", re.ASCII)


def is_technical(text: str) -> bool:
    """Whether all of a text in a picture is sides, settings of the machine, measures with their units, and anatomy.

    >>> [is_technical(text) for text in ("R", "Gn 60", "MI 1.1", "28Hz", "TIS<0.4HI=0.8A0=100%", "Sag Liver")]
    [True, True, True, True, True, True]
    >>> [is_technical(text) for text in ("M", "3/3/4", "24-Dec-2019", "63 Y", "OR 12", "MRN 4711")]
    [False, False, False, False, False, False]
    """
    text = text.strip()
    place = 0
    while place < len(text):
        found = _ONE.match(text, place) or _ordinary(text, place)
        if found is None:
            return False
        place = _behind(text, found.end())
    return place > 0


def _ordinary(text: str, place: int) -> re.Match[str] | None:
    """A word that names anatomy or technique and is no name of persons."""
    found = _WORD.match(text, place)
    word = found[0].upper() if found is not None else ""
    return found if is_ordinary(word) and word not in _MAKERS else None


def _behind(text: str, place: int) -> int:
    found = _BETWEEN.match(text, place)
    return place if found is None else found.end()
