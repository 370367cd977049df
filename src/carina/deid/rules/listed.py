"""The rule of an attribute that Table E.1-1 of PS3.15 lists: its row, the chosen options, its type in the IOD."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from types import MappingProxyType

from carina.deid.profile import (
    DESCRIPTORS,
    DEVICE_IDENTITY,
    FULL_DATES,
    GRAPHICS,
    INSTITUTION_IDENTITY,
    MODIFIED_DATES,
    PATIENT_CHARACTERISTICS,
    SAFE_PRIVATE,
    STRUCTURED_CONTENT,
    UIDS,
)
from carina.deid.rules import retained, steps, table
from carina.deid.rules.iods import Type, type_of
from carina.deid.rules.rule import Action, Place, Rule, Step
from carina.deid.words import numbers
from carina.deid.words.values import agrees, dictionary_vr

FIRST_TAG = 0x00080000
"""Below are commands, file meta information and directories, which have no place in a dataset of an image."""

TITLES = {
    SAFE_PRIVATE: "Retain Safe Private",
    UIDS: "Retain UIDs",
    DEVICE_IDENTITY: "Retain Device Identity",
    INSTITUTION_IDENTITY: "Retain Institution Identity",
    PATIENT_CHARACTERISTICS: "Retain Patient Characteristics",
    FULL_DATES: "Retain Longitudinal Full Dates",
    MODIFIED_DATES: "Retain Longitudinal Modified Dates",
    DESCRIPTORS: "Clean Descriptors",
    STRUCTURED_CONTENT: "Clean Structured Content",
    GRAPHICS: "Clean Graphics",
}
"""The options as PS3.15 E.3 calls them."""

ORDER = (
    FULL_DATES,
    MODIFIED_DATES,
    UIDS,
    PATIENT_CHARACTERISTICS,
    DEVICE_IDENTITY,
    INSTITUTION_IDENTITY,
    DESCRIPTORS,
    STRUCTURED_CONTENT,
    GRAPHICS,
)
"""Which option goes before another: dates that move, move always."""

_UNFORMATTED_TEXT = 0x00700006
_OF_ITS_OWN: Mapping[int, tuple[Action, str, Step]] = MappingProxyType(
    {
        0x00100010: (Action.DUMMY, "the person's pseudonym", steps.pseudonym),
        0x00100020: (Action.DUMMY, "the person's pseudonym", steps.pseudonym),
        0x00080050: (Action.DUMMY, "a keyed number", steps.accession),
        0x00401101: (Action.DUMMY, "the code for unknown", steps.unknown_code),
        0xFFFAFFFA: (Action.REMOVE, "a signature no longer holds", steps.remove),
        0x04000561: (Action.REMOVE, "it holds what was changed", steps.remove),
    }
)
_TERMS = {
    0x00100040: frozenset(("F", "M", "O")),  # Patient's Sex
    0x001021A0: frozenset(("YES", "NO", "UNKNOWN")),  # Smoking Status
    0x00102203: frozenset(("ALTERED", "UNALTERED")),  # Patient's Sex Neutered
}
_TEXTS = frozenset(("LO", "LT", "SH", "ST", "UC", "UT"))

StepOf = Callable[[int, str, Step], Step | None]
"""For an option: tag, VR, and what is done where the value may not stay → the step; None where it cannot be done."""


@cache
def rows_by_tag() -> Mapping[int, table.Row]:
    """The rows of single attributes; those of repeating groups, of private ones and of groups below 8 left out."""
    single = (row for row in table.ROWS if row.tag != "PRIVATE" and "x" not in row.tag)
    return MappingProxyType({int(row.tag, 16): row for row in single if int(row.tag, 16) >= FIRST_TAG})


def option_of(tag: int, row: table.Row, options: tuple[str, ...]) -> tuple[str, str] | None:
    """Which of the chosen options says something of this row, and what; None where none does."""
    for option in ORDER:
        if option in options and option in row.options:
            return option, row.options[option]
    if tag == _UNFORMATTED_TEXT and GRAPHICS in options:  # the texts of the graphics that stay
        return GRAPHICS, "C"
    return None


def listed(tag: int, vr: str, place: Place, options: tuple[str, ...], row: table.Row) -> Rule:
    """The rule of an attribute that has a row of its own."""
    basic = _basic(tag, vr, place, row)
    chosen = option_of(tag, row, options)
    truth = vr if dictionary_vr(tag) is None else vr if agrees(vr, tag) else ""
    if chosen is None or not truth:
        return basic
    option, code = chosen
    step = _STEPS[option](tag, truth, basic.step)
    if step is None:
        return basic
    action = Action.KEEP if code == "K" else Action.CLEAN
    return Rule(action, f"PS3.15 E.1-1, {TITLES[option]}: {code}", step)


# --- the Basic Profile ----------------------------------------------------------------------------------------------


def _basic(tag: int, vr: str, place: Place, row: table.Row) -> Rule:
    if tag in _OF_ITS_OWN:
        action, why, step = _OF_ITS_OWN[tag]
        return Rule(action, f"PS3.15 E.1-1: {row.basic}, {why}", step)
    is_sequence = (dictionary_vr(tag) or vr) == "SQ"
    if row.basic.endswith("U*"):
        return Rule(Action.UID, f"PS3.15 E.1-1: {row.basic}, with new UIDs", steps.keep_items)
    if row.basic == "U":
        return Rule(Action.UID, "PS3.15 E.1-1: U", steps.pseudonymous_uid)
    if row.basic == "D" or (row.basic == "X" and is_sequence):
        return _rule(Action(row.basic), "", is_sequence, row)
    kind = type_of(tag, place)
    if row.basic in ("X", "Z"):
        strict = kind is Type.VALUE
        return _rule(Action.DUMMY if strict else Action(row.basic), ", type 1 here" if strict else "", is_sequence, row)
    why = ", type not known" if kind is None else f", type {kind} here"
    return _rule(by_type(row.basic, kind), why, is_sequence, row)


def by_type(choice: str, kind: Type | None) -> Action:
    """What a choice such as X/Z/D means for an attribute of this type: the last one is valid for each."""
    offered = choice.split("/")
    if kind is None:
        return Action(offered[-1])
    if kind is Type.VALUE:
        return Action.DUMMY
    if kind is Type.PRESENT:
        return Action.EMPTY
    return Action(offered[0])


def _rule(action: Action, why: str, is_sequence: bool, row: table.Row) -> Rule:
    by_action: dict[Action, Step] = {
        Action.REMOVE: steps.remove,
        Action.EMPTY: steps.empty,
        Action.DUMMY: steps.keep_items if is_sequence else steps.dummy,  # its dummy: the items, cleaned
    }
    return Rule(action, f"PS3.15 E.1-1: {row.basic}{why}", by_action[action])


# --- the options ----------------------------------------------------------------------------------------------------


def _kept_dates(tag: int, vr: str, otherwise: Step) -> Step | None:
    if vr in ("DA", "DT"):
        return partial(steps.kept_date, otherwise)
    return _times(tag, vr, otherwise)


def _moved_dates(tag: int, vr: str, otherwise: Step) -> Step | None:
    if vr in ("DA", "DT"):
        return partial(steps.moved_date, otherwise)
    return _times(tag, vr, otherwise)


def _times(tag: int, vr: str, otherwise: Step) -> Step | None:
    if vr == "TM":
        return partial(steps.time, otherwise)
    return partial(steps.offset, otherwise) if tag == 0x00080201 else None


def _kept_uids(tag: int, vr: str, otherwise: Step) -> Step | None:
    return steps.keep_items if vr == "SQ" else steps.kept_uid if vr == "UI" else None


def _patient(tag: int, vr: str, otherwise: Step) -> Step | None:
    if vr == "SQ":
        return steps.keep_items
    if vr == "AS":
        return partial(steps.age, otherwise)
    if tag in _TERMS:
        return partial(steps.one_of, _TERMS[tag], otherwise)
    if vr in numbers.VRS:
        return partial(steps.number, otherwise)
    if tag in (0x00102160, 0x00102162):
        return partial(retained.ethnic_group, otherwise)
    return _described(tag, vr, otherwise)


def _device(tag: int, vr: str, otherwise: Step) -> Step | None:
    if vr == "SQ":
        return steps.keep_items
    if vr == "UI":
        return steps.kept_uid
    if vr == "AE":
        return partial(retained.application_title, otherwise)
    if vr in numbers.VRS:
        return partial(steps.number, otherwise)
    if vr in ("DA", "DT", "TM"):
        return _kept_dates(tag, vr, otherwise)
    return retained.device_number if vr in _TEXTS or vr == "CS" else None


def _institution(tag: int, vr: str, otherwise: Step) -> Step | None:
    if vr == "SQ":
        return steps.keep_items
    return partial(retained.institution, otherwise) if vr in _TEXTS else None


def _described(tag: int, vr: str, otherwise: Step) -> Step | None:
    if vr == "SQ":
        return steps.keep_items
    if vr == "CS":
        return partial(steps.code_string, otherwise)
    return partial(steps.described, otherwise) if vr in _TEXTS else None


_STEPS: dict[str, StepOf] = {
    FULL_DATES: _kept_dates,
    MODIFIED_DATES: _moved_dates,
    UIDS: _kept_uids,
    PATIENT_CHARACTERISTICS: _patient,
    DEVICE_IDENTITY: _device,
    INSTITUTION_IDENTITY: _institution,
    DESCRIPTORS: _described,
    STRUCTURED_CONTENT: _described,
    GRAPHICS: _described,
}
