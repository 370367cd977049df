"""One rule: what is to be done with an attribute in its place, why, and the step that does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from pydicom.dataelem import DataElement

from carina.deid.pseudonyms import ProjectKeys


class Action(StrEnum):
    """The action codes of PS3.15 Table E.1-1a."""

    KEEP = "K"
    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    CLEAN = "C"


@dataclass(frozen=True)
class Subject:
    """What the steps need to know of the instance: its project's keys, and its person's pseudonym, shift and words.

    days      the person's whole-day shift; 0 where dates stay
    own       words that identify, capitals, see `words.identifiers`
    persons   those of `own` that stand elsewhere than in what the profile keeps of the device and the institution
              (`RuleSet.retained`), which are not to forbid themselves; None where nobody has told them apart
    """

    keys: ProjectKeys = field(repr=False)
    pseudonym: str
    days: int = field(repr=False)
    own: frozenset[str] = field(repr=False)
    persons: frozenset[str] | None = field(default=None, repr=False)


Step = Callable[[DataElement, Subject], DataElement | None]


@dataclass(frozen=True)
class Place:
    """Where an attribute stands: its instance's SOP class, and the tags of the sequences around it, outermost first."""

    sop_class: str = ""
    path: tuple[int, ...] = ()

    def inside(self, sequence: int) -> Place:
        """The place of what an item of this sequence holds."""
        return Place(self.sop_class, (*self.path, sequence))


@dataclass(frozen=True)
class Rule:
    """`reason` is made of constant words: it stands in reports and in `carina deid profile show`."""

    action: Action
    reason: str
    step: Step = field(repr=False, compare=False)
