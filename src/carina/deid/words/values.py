"""Dummy values for each value representation (PS3.5 section 6.2), and what the data dictionary says of an attribute."""

from __future__ import annotations

from functools import cache

from pydicom.datadict import dictionary_has_tag, dictionary_VR

from carina.deid.words.texts import REMOVED

_TEXT = ("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT")
DUMMIES: dict[str, object] = {
    **dict.fromkeys(_TEXT, REMOVED),
    **dict.fromkeys(("DS", "IS"), "0"),
    **dict.fromkeys(("US", "SS", "UL", "SL", "UV", "SV", "AT"), 0),
    **dict.fromkeys(("FL", "FD"), 0.0),
    **dict.fromkeys(("OB", "OW", "UN"), b"\0\0"),
    **dict.fromkeys(("OF", "OL"), bytes(4)),
    **dict.fromkeys(("OD", "OV"), bytes(8)),
    "AS": "000D",
    "DA": "19000101",
    "DT": "19000101000000",
    "TM": "000000",
    "UR": "about:blank",
}
"""What stands for a value that must be there and must not be told; UI and SQ have rules of their own."""

_WHOLE_NUMBERS = frozenset(("US", "SS", "UL", "SL", "UV", "SV"))
_INTERCHANGEABLE = (_WHOLE_NUMBERS, frozenset(("DS", "IS")), frozenset(("FL", "FD")), frozenset(("OB", "OW")))
_SHORT_TEXTS = frozenset(("LO", "SH"))


@cache
def dictionary_vr(tag: int) -> str | None:
    """The VR that PS3.6 gives this tag (perhaps a choice, `US or SS`); None for a tag that PS3.6 does not list."""
    return dictionary_VR(tag) if dictionary_has_tag(tag) else None


@cache
def agrees(vr: str, tag: int) -> bool:
    """Whether an element that says it has `vr` may be what PS3.6 says of its tag.

    A text in an attribute that is a number, or the other way round, is not what its name says.
    """
    listed = dictionary_vr(tag)
    if listed is None:
        return False
    choices = listed.split(" or ")
    if vr in choices or vr == listed:
        return True
    return any(vr in group and not group.isdisjoint(choices) for group in _INTERCHANGEABLE)


def are_alike(vr: str, listed: str) -> bool:
    """Whether two VRs hold the same kind of value, so that a list of private elements may name one for the other."""
    return vr == listed or any(vr in group and listed in group for group in (*_INTERCHANGEABLE[:3], _SHORT_TEXTS))
