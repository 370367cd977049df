"""The rule of an attribute that Table E.1-1 of PS3.15 does not list: by its VR, and by its type in the IOD."""

from __future__ import annotations

from functools import partial

from carina.deid.profile import DESCRIPTORS, DEVICE_IDENTITY, FULL_DATES, MODIFIED_DATES, UIDS
from carina.deid.rules import retained, steps
from carina.deid.rules.iods import Type, type_of
from carina.deid.rules.rule import Action, Place, Rule, Step
from carina.deid.words import codes, numbers
from carina.deid.words.texts import TECHNICAL, Otherwise
from carina.deid.words.values import agrees, dictionary_vr

DEVICE_TITLES = frozenset(
    (
        0x00080070,  # Manufacturer
        0x00081090,  # Manufacturer's Model Name
        0x00181016,  # Secondary Capture Device Manufacturer
        0x00181018,  # Secondary Capture Device Manufacturer's Model Name
        0x00181019,  # Secondary Capture Device Software Versions
        0x00181020,  # Software Versions
        0x00189005,  # Pulse Sequence Name
    )
)
"""What a manufacturer calls its products; under Retain Device Identity they stay though nobody has listed the words."""

MEASURED = frozenset(
    (
        0x54001010,  # Waveform Data
        0x56000020,  # Spectroscopy Data
        0x00640009,  # Vector Grid Data
        0x00660016,  # Point Coordinates Data
        0x00660017,  # Point Position Accuracy
        0x00660021,  # Vector Coordinate Data
        0x00660022,  # Double Point Coordinates Data
        0x00660023,  # Triangle Point Index List
        0x00660024,  # Edge Point Index List
        0x00660025,  # Vertex Point Index List
        0x00660040,  # Long Primitive Point Index List
        0x00660041,  # Long Triangle Point Index List
        0x00660042,  # Long Edge Point Index List
        0x00660043,  # Long Vertex Point Index List
        0x00660125,  # Floating Point Values
        0x00660129,  # Track Point Index List
    )
)
"""Bytes that are measurements: samples, points, indices."""

_ICC_PROFILE = 0x00282000
_SCHEMES = 0x00080110  # Coding Scheme Identification Sequence, whose items are no coded entries
_ACTS = {
    0x7FE00008: "pixels, by rules of their own",
    0x7FE00009: "pixels, by rules of their own",
    0x7FE00010: "pixels, by rules of their own",
    0x04000500: "encrypted, nobody here can read it",
    0x4FFE0001: "belongs to a signature that no longer holds",
}
_TEXTS = frozenset(("LO", "LT", "SH", "ST", "UC", "UT"))
_HAVE_DUMMIES = _TEXTS | {"AE", "AS", "CS", "DA", "DT", "PN", "TM", "UR"}
_DONE = {Action.REMOVE: "removed", Action.EMPTY: "emptied", Action.DUMMY: "replaced", Action.CLEAN: "cleaned"}
_WITHOUT: dict[Otherwise, tuple[Action, Step]] = {
    Otherwise.REMOVE: (Action.REMOVE, steps.remove),
    Otherwise.EMPTY: (Action.EMPTY, steps.empty),
    Otherwise.DUMMY: (Action.DUMMY, steps.dummy),
}


def unlisted(tag: int, vr: str, place: Place, options: tuple[str, ...]) -> Rule:
    """The rule of a tag that no row names; `remove` for whatever is not known to be harmless.

    Binary values are removed here: `codes`, `lookup` and `pixels` put in what they know.
    """
    if tag in _ACTS:
        return Rule(Action.REMOVE, f"not listed: {_ACTS[tag]}", steps.remove)
    if tag == codes.DESIGNATOR and place.path[-1:] == (_SCHEMES,):
        step = partial(steps.one_of, codes.LISTED, steps.dummy)
        return Rule(Action.KEEP, "not listed: a public coding scheme", step)
    if tag in codes.PARTS:
        return Rule(Action.CLEAN, "not listed: part of a coded entry", steps.remove)
    gone = _gone(tag, vr, place)
    if not agrees(vr, tag):
        return Rule(gone.action, f"not listed: VR {vr} is not the attribute's", gone.step)
    kept = _by_vr(tag, vr, options, gone.step)
    return gone if kept is None else Rule(kept[0], f"not listed: VR {vr} {kept[1]}", kept[2])


def _gone(tag: int, vr: str, place: Place) -> Rule:
    """What is done where the value may not stay: removed, unless the IOD wants it to be there."""
    kind = type_of(tag, place)
    done: tuple[Action, Step] = (Action.REMOVE, steps.remove)
    if kind is None:
        done = _WITHOUT[TECHNICAL.get(tag, Otherwise.REMOVE)]
    elif kind is Type.VALUE and (dictionary_vr(tag) or vr) in _HAVE_DUMMIES:
        done = (Action.DUMMY, steps.dummy)  # numbers have none: a made-up one would pass for a measurement
    elif kind is Type.VALUE and tag == _ICC_PROFILE:
        done = (Action.DUMMY, steps.colour_profile)
    elif kind is Type.PRESENT:
        done = (Action.EMPTY, steps.empty)
    if tag == 0x00080070:
        done = (Action.CLEAN, steps.by_maker)
    why = f", type {kind} here" if kind in (Type.VALUE, Type.PRESENT) else ""
    return Rule(done[0], f"not listed: VR {vr} {_DONE[done[0]]}{why}", done[1])


def _by_vr(tag: int, vr: str, options: tuple[str, ...], gone: Step) -> tuple[Action, str, Step] | None:
    """Action, what is done, and the step, for an attribute that may stay by its VR; None where none may."""
    if tag in MEASURED:
        return Action.KEEP, "measurements kept", steps.measured
    if vr in numbers.VRS:
        return Action.KEEP, "kept where it fits", partial(steps.number, gone)
    if vr in ("DA", "DT", "TM"):
        return _moment(vr, options, gone)
    if vr in _TEXTS:
        return _text(tag, options, gone)
    simple: dict[str, tuple[Action, str, Step]] = {
        "SQ": (Action.CLEAN, "with its items cleaned", steps.keep),
        "CS": (Action.KEEP, "kept where it is a term", partial(steps.code_string, gone)),
        "UI": (Action.KEEP, "kept", steps.kept_uid) if UIDS in options else (Action.UID, "replaced", steps.class_uid),
    }
    return simple.get(vr)


def _moment(vr: str, options: tuple[str, ...], gone: Step) -> tuple[Action, str, Step] | None:
    if FULL_DATES not in options and MODIFIED_DATES not in options:
        return None
    if vr == "TM":
        return Action.KEEP, "kept", partial(steps.time, gone)
    if FULL_DATES in options:
        return Action.KEEP, "kept", partial(steps.kept_date, gone)
    return Action.CLEAN, "moved", partial(steps.moved_date, gone)


def _text(tag: int, options: tuple[str, ...], gone: Step) -> tuple[Action, str, Step] | None:
    otherwise = partial(steps.described, gone) if DESCRIPTORS in options and tag != 0x00080070 else gone
    if tag in DEVICE_TITLES and DEVICE_IDENTITY in options:
        return Action.KEEP, "kept as what a product is called", partial(retained.device_title, otherwise)
    if tag in TECHNICAL:
        return Action.KEEP, "kept where it speaks of technique", partial(steps.technical, otherwise)
    return (Action.CLEAN, "cleaned", otherwise) if DESCRIPTORS in options else None
