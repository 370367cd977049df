"""The rules of a set of options: one for every attribute in its place, each with its reason.

A row of the table decides first, with the options that were chosen; for private elements the safe list; then the data
dictionary, by VR. What none of them knows is removed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache, partial

from carina.deid.profile import DEVICE_IDENTITY, FULL_DATES, INSTITUTION_IDENTITY, MODIFIED_DATES, SAFE_PRIVATE, UIDS
from carina.deid.rules import retained, steps
from carina.deid.rules.listed import FIRST_TAG, listed, option_of, rows_by_tag
from carina.deid.rules.private import Safe, safe
from carina.deid.rules.rule import Action, Place, Rule, Step
from carina.deid.rules.unlisted import unlisted
from carina.deid.words.values import are_alike

_REMEMBERED = 1 << 16  # rules; a hostile file has as many tags and paths as it likes


@dataclass(frozen=True)
class RuleSet:
    """What the table, its options, the safe list and the data dictionary say; `options` are names of the table's."""

    options: tuple[str, ...]

    def rule(self, tag: int, vr: str, place: Place) -> Rule:
        """The rule of a standard attribute that says it has this VR, in its place."""
        return _rule(tag, vr, place, self.options)

    def private(self, creator: str, tag: int, vr: str) -> Rule:
        """The rule of a private data element of this creator; its block's number does not count."""
        return _private(creator, tag & 0xFFFF00FF, vr, self.options)

    @property
    def retained(self) -> frozenset[int]:
        """The attributes that tell of the device or the institution and stay: see `Subject.persons`."""
        return _retained(self.options)


def rules_of(options: tuple[str, ...]) -> RuleSet:
    """The rules that these options make, in whatever order they stand."""
    return RuleSet(tuple(sorted(set(options))))


@lru_cache(maxsize=_REMEMBERED)
def _rule(tag: int, vr: str, place: Place, options: tuple[str, ...]) -> Rule:
    group = tag >> 16
    if group & 1:
        return Rule(Action.REMOVE, "private, not on the safe list", steps.remove)
    if tag < FIRST_TAG or tag & 0xFFFF == 0:
        return Rule(Action.REMOVE, "no place in a dataset", steps.remove)
    if group & 0xFF00 == 0x5000:
        return Rule(Action.REMOVE, "PS3.15 E.1-1: X, a curve", steps.remove)
    if group & 0xFF00 == 0x6000:
        return Rule(Action.REMOVE, "PS3.15 E.1-1: X, an overlay may show text", steps.remove)
    row = rows_by_tag().get(tag)
    return unlisted(tag, vr, place, options) if row is None else listed(tag, vr, place, options, row)


@cache
def _retained(options: tuple[str, ...]) -> frozenset[int]:
    found = ((tag, option_of(tag, row, options)) for tag, row in rows_by_tag().items())
    return frozenset(tag for tag, chosen in found if chosen and chosen[0] in (DEVICE_IDENTITY, INSTITUTION_IDENTITY))


@lru_cache(maxsize=_REMEMBERED)
def _private(creator: str, tag: int, vr: str, options: tuple[str, ...]) -> Rule:
    entry = safe(creator, tag) if SAFE_PRIVATE in options else None
    if entry is None:
        return Rule(Action.REMOVE, "private, not on the safe list", steps.remove)
    step = _private_step(entry, options)
    if step is None:
        return Rule(Action.REMOVE, "private, a date, and dates go", steps.remove)
    if vr != "UN" and not are_alike(vr, entry.vr):
        return Rule(Action.REMOVE, "private, not of the VR on the safe list", steps.remove)
    action = Action.CLEAN if entry.vr in ("DA", "DT", "UI") else Action.KEEP
    reason = f"private, on the safe list of {entry.source}: VR {entry.vr}"
    return Rule(action, reason, partial(retained.as_listed, entry.vr, step) if vr == "UN" else step)


def _private_step(entry: Safe, options: tuple[str, ...]) -> Step | None:
    """The step for a listed element; None for dates and times where the options keep none."""
    if entry.vr == "UI":
        return steps.kept_uid if UIDS in options else steps.class_uid
    if entry.vr in ("DA", "DT", "TM"):
        if FULL_DATES not in options and MODIFIED_DATES not in options:
            return None
        if entry.vr == "TM":
            return partial(steps.time, steps.remove)
        return partial(steps.kept_date if FULL_DATES in options else steps.moved_date, steps.remove)
    if entry.vr == "CS":
        return retained.private_term
    return retained.private_text if entry.vr in ("LO", "SH") else retained.private_number
