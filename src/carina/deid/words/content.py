"""Content items of structured reports (PS3.3 section C.17.3) by Table E.3.4-1 of PS3.15, for Clean Structured Content.

The header's rules clean each item's attributes first; here the item's value is decided by its concept name. A listed
item is removed with all beneath it, or keeps a dummy value, or is cleaned or kept as an option says. Of the others,
texts are cleaned, names replaced, dates and UIDs are as the header's rules left them, numbers and codes stay.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.deid.rules.contents import item_of
from carina.deid.words.cleaning import cleaned
from carina.deid.words.codes import UNKNOWN, coded
from carina.deid.words.texts import REMOVED, names
from carina.deid.words.values import DUMMIES

CONTENT_SEQUENCE = 0x0040A730
REFERENCE = 0x0040DB73
"""Referenced Content Item Identifier: the places of items on the way from the root to the one that is meant."""

_REMOVE, _DUMMY, _CLEAN, _KEEP = "X", "D", "C", "K"
_AGE = ("121033", "DCM")  # Subject Age
_OLDEST, _OLDEST_NAMED = 89, 90  # years
_PER_YEAR = {"a": 1, "mo": 12, "wk": 52.1775, "d": 365.25}  # UCUM
_VALUES = {
    "TEXT": "TextValue",
    "PNAME": "PersonName",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "UIDREF": "UID",
}
_KNOWN = frozenset(
    (*_VALUES, "NUM", "CODE", "CONTAINER", "IMAGE", "COMPOSITE", "WAVEFORM", "SCOORD", "SCOORD3D", "TCOORD", "TABLE")
)
_DUMMY_MOMENTS = {"DATE": DUMMIES["DA"], "TIME": DUMMIES["TM"], "DATETIME": DUMMIES["DT"]}


def clean_items(items: Sequence, clean: Sequence, own: frozenset[str], options: tuple[str, ...]) -> Sequence:
    """A whole content tree: `clean` are its items after the header's rules, with all their children still in place.

    Where items are referenced by their places, none is removed: it keeps its place with a dummy value.
    """
    return _items(items, clean, own, options, removing=not _has_references(items))


def _has_references(items: Sequence) -> bool:
    return any(REFERENCE in item or _has_references(item.get("ContentSequence") or Sequence()) for item in items)


def _items(
    items: Sequence, clean: Sequence, own: frozenset[str], options: tuple[str, ...], *, removing: bool
) -> Sequence:
    kept = Sequence()
    for item, written in zip(items, clean, strict=True):
        action = action_of(item, options)
        if action == _REMOVE and removing:
            continue
        _put_value(item, written, action, own)
        if CONTENT_SEQUENCE in written:
            children = _items(item.ContentSequence, written.ContentSequence, own, options, removing=removing)
            if children:
                written.ContentSequence = children
            else:
                del written.ContentSequence
        kept.append(written)
    return kept


def action_of(item: Dataset, options: tuple[str, ...]) -> str:
    """X, D, C or K for a content item; an item of an unknown value type goes."""
    kind = _text(item, "ValueType")
    if REFERENCE in item and not kind:
        return _KEEP  # a relationship by reference has no value of its own
    if kind not in _KNOWN:
        return _REMOVE
    code, scheme = _concept(item)
    row = item_of(code, scheme, kind)
    if row is None:
        return _DUMMY if kind == "PNAME" else _CLEAN
    chosen = {action for option, action in row.options.items() if option in options}
    if chosen:
        return _KEEP if _KEEP in chosen else _CLEAN
    return _DUMMY if _DUMMY in row.basic else _REMOVE


def _concept(item: Dataset) -> tuple[str, str]:
    named = item.get("ConceptNameCodeSequence")
    return (_text(named[0], "CodeValue"), _text(named[0], "CodingSchemeDesignator")) if named else ("", "")


def _text(item: Dataset, keyword: str) -> str:
    value = item.get(keyword)
    return value.strip(" \0") if isinstance(value, str) else ""


# --- the values -----------------------------------------------------------------------------------------------------


def _put_value(item: Dataset, written: Dataset, action: str, own: frozenset[str]) -> None:
    """Write the item's value as the action asks; what the header's rules have removed is replaced by a dummy."""
    put = _PUT.get(_text(item, "ValueType"))
    if put is not None:
        put(item, written, action, own)


def _put_text(item: Dataset, written: Dataset, action: str, own: frozenset[str]) -> None:
    text = str(item.get("TextValue") or "")
    if action == _KEEP and not names(text, own):
        written.TextValue = text
    elif action in (_KEEP, _CLEAN):
        written.TextValue = cleaned(text, own) or REMOVED
    else:
        written.TextValue = REMOVED


def _put_name(item: Dataset, written: Dataset, action: str, own: frozenset[str]) -> None:
    """A name never stays: none of the options is for names of persons."""
    written.PersonName = REMOVED


def _put_moment(kind: str, item: Dataset, written: Dataset, action: str, own: frozenset[str]) -> None:
    """Moved by the header's rules where the dates stay; else a dummy."""
    keyword = _VALUES[kind]
    if action in (_REMOVE, _DUMMY) or not written.get(keyword):
        setattr(written, keyword, _DUMMY_MOMENTS[kind])


def _put_code(item: Dataset, written: Dataset, action: str, own: frozenset[str]) -> None:
    if action in (_REMOVE, _DUMMY) or not written.get("ConceptCodeSequence"):
        written.ConceptCodeSequence = Sequence([coded(*UNKNOWN)])


def _put_number(item: Dataset, written: Dataset, action: str, own: frozenset[str]) -> None:
    """Without its measured value where it may not stay (type 2); an age over 89 years is 90."""
    if action in (_REMOVE, _DUMMY) or "MeasuredValueSequence" not in written:
        written.MeasuredValueSequence = Sequence()
    elif _concept(item) == _AGE:
        for measured in written.MeasuredValueSequence:
            _cap_age(measured)


def _cap_age(measured: Dataset) -> None:
    units = measured.get("MeasurementUnitsCodeSequence") or Sequence([Dataset()])
    per_year, value = _PER_YEAR.get(_text(units[0], "CodeValue")), measured.get("NumericValue")
    if per_year is None or value is None:
        measured.NumericValue = None
    elif float(value) >= (_OLDEST + 1) * per_year:
        measured.NumericValue = str(int(_OLDEST_NAMED * per_year))
        for keyword in ("FloatingPointValue", "RationalNumeratorValue", "RationalDenominatorValue"):
            if keyword in measured:
                delattr(measured, keyword)


_PUT: dict[str, Callable[[Dataset, Dataset, str, frozenset[str]], None]] = {
    "TEXT": _put_text,
    "PNAME": _put_name,
    **{kind: partial(_put_moment, kind) for kind in _DUMMY_MOMENTS},
    "CODE": _put_code,
    "NUM": _put_number,
}
