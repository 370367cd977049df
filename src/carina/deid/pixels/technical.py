"""Texts that machines write into pictures and that say nothing of a person: sides, settings of the machine, measures.

A text stays in a picture only when all of it is of these forms. Dates, times, names, numbers without a unit, and words
that no form here has never are.
"""

from __future__ import annotations

import re

SURE = 0.85  # how sure the recogniser must be of a text that stays, from 0 to 1

_NUMBER = r"[<>]?[-+]?\d{1,3}(?:[.,]\d{1,2})?"
_UNIT = (
    r"(?:cm/s|m/s|cm2|cm|mmHg|mm|[kM]?Hz|dB|%|kVp?|mAs?|uGy|mGy|dpi|fps|bpm|ms|um|deg)"  # no s, y, m: ages are written so
)
_SETTING = (
    r"(?:[MH]I|TIS|TIB|TIC|TI|A[O0]|Gn|Gain|DR|FR|PRF|WF|Pwr|Frq|Freq|Depth|Zoom|Dyn ?R|Map|Comp|Filt|kVp?|mAs?|FOV|"
    r"WL|WW|TR|TE|ST|SL|THK|Dist)"
)
"""M and O are read as H and 0 in the small fonts of ultrasound machines."""
_SIGN = (
    r"(?:R|L|RT|LT|ANT|POST|SUP|INF|2D|3D|4D|B-?mode|M-?mode|PW|CW|CF|CPA|P[WU]R|THI|H?Gen|H?Res|H?Pen|Harm|SonoCT|XRes|"
    r"[CLSVX]\d{1,2}-\d{1,2})"  # at last a transducer: C5-1
)
_MEASURED = rf"{_NUMBER} ?{_UNIT}"
_SET = rf"{_SETTING} ?[:=]? ?{_NUMBER} ?{_UNIT}?"
_ONE = rf"(?:{_SET}|{_MEASURED}|{_SIGN})"
_WHOLE = re.compile(rf"{_ONE}(?:(?:[ ,/]+|(?<=[0-9%])){_ONE}){{0,5}}", re.ASCII | re.IGNORECASE)


def is_technical(text: str) -> bool:
    """Whether all of a text that stands in a picture is a side, a setting of the machine, or a measure with its unit.

    >>> [is_technical(text) for text in ("R", "Gn 60", "MI 1.1", "28Hz", "TIS<0.4 MI=0.8 AO=100%")]
    [True, True, True, True, True]
    >>> [is_technical(text) for text in ("M", "3/3/4", "24-Dec-2019", "63 Y", "OR 12", "MRN 4711")]
    [False, False, False, False, False, False]
    """
    return _WHOLE.fullmatch(text.strip().translate(_PLAIN)) is not None


_PLAIN = str.maketrans({"≤": "<", "：": ":", "，": ",", "（": "(", "）": ")"})
