"""Which texts may go from one service to another: what could not be shown, or would look like another text, may not.

And what a text becomes in a table, where programs would run it.
"""

from __future__ import annotations

import re
import unicodedata

_REORDERING = r"\u202a-\u202e\u2066-\u2069"  # UAX #9: embeddings, overrides and isolates
_HALVES = r"\ud800-\udfff"  # surrogates, which UTF-8 cannot write
_NO_LINE = re.compile(rf"[\x00-\x1f\x7f-\x9f\u2028\u2029{_REORDERING}{_HALVES}]")
_NO_PROSE = re.compile(rf"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_REORDERING}{_HALVES}]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_UNSEEN = " \u200b\u2060\ufeff"


def is_line(text: str) -> bool:
    """Whether it is one line without control characters and without those that change the order of letters.

    >>> is_line("Lung CT"), is_line("two\\nlines"), is_line("txt\\u202egnp")
    (True, False, False)
    """
    return _NO_LINE.search(text) is None


def is_prose(text: str) -> bool:
    """The same for a text that may have ends of lines and tabs.

    >>> is_prose("two\\nlines"), is_prose("\\x9b31m")
    (True, False)
    """
    return _NO_PROSE.search(text) is None


def plain_cell(text: str) -> str:
    """Text that no spreadsheet runs: CSV knows no types, and `=`, `+`, `-` and `@`, wide ones too, begin formulas.

    >>> plain_cell("=1+1"), plain_cell(" ＝1"), plain_cell("chest")
    ("'=1+1", "' ＝1", 'chest')
    """
    seen = unicodedata.normalize("NFKC", text).lstrip(_UNSEEN)
    return f"'{text}" if seen.startswith(_FORMULA) else text
