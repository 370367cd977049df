"""Instances of a series differ in few elements: the rest of a clean header is taken over from one before.

Nothing but the time depends on it. What a header was asked for on the way, to decide how its instance passes, is
recorded; another header may be taken for it only where all of that is the same, and so are the words that name its
persons. Each element that differs is cleaned by its rule as ever.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, KeysView, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pydicom.tag import BaseTag

from carina.deid.engine.admission import Admission
from carina.deid.engine.header import block_of, is_creator
from carina.deid.engine.memo import Context, Entry
from carina.deid.engine.needles import Needle
from carina.deid.engine.walker import Pieces
from carina.deid.pixels.findings import Findings
from carina.model.instance import Facts

_INSTANCE = 0x00080018
_MOST_DIFFERENT = 64  # elements; more are as fast from the beginning


class Asked(dict[BaseTag, Any]):
    """The elements of a dataset; remembers which were asked for, and whether all tags were."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.tags: set[int] = set()
        self.for_all = False

    def __getitem__(self, tag: BaseTag) -> Any:
        self.tags.add(tag)
        return super().__getitem__(tag)

    def __contains__(self, tag: object) -> bool:
        self.tags.add(tag)  # type: ignore[arg-type]
        return super().__contains__(tag)

    def get(self, tag: BaseTag, default: Any = None) -> Any:
        """As of any dict."""
        self.tags.add(tag)
        return super().get(tag, default)

    def __iter__(self) -> Iterator[BaseTag]:
        self.for_all = True
        return super().__iter__()

    def keys(self) -> KeysView[BaseTag]:  # type: ignore[override]
        """As of any dict."""
        self.for_all = True
        return super().keys()

    def values(self) -> Any:
        """As of any dict."""
        self.for_all = True
        return super().values()

    def items(self) -> Any:
        """As of any dict."""
        self.for_all = True
        return super().items()


@dataclass(frozen=True)
class Shared:
    """What must be equal beside the elements.

    pixels   how many bytes Pixel Data has; None without
    reading  the elements that all others are read by
    """

    syntax: str
    pixels: int | None
    reading: bytes = field(repr=False)
    findings: Findings | None = None

    @classmethod
    def of(cls, found: Pieces, reading: bytes, findings: Findings | None) -> Shared:
        """Of a file in pieces."""
        pixels = None if found.pixels is None else found.pixels[3] - found.pixels[2]
        return cls(found.syntax, pixels, reading, findings)


@dataclass(frozen=True)
class CleanHeader:
    """A clean header, and what it came from.

    entries    the elements as they came
    asked      tags of those by whose values, or by whose absence, it was decided how the instance passes
    for_all    whether it was decided by which tags there are
    words      what names its persons
    elements   as they are written, by tag, in order
    actions    how often each rule was met
    needles    what the original names
    size       of the frames in Pixel Data, where these are native: bytes
    fragments  Pixel Data as it is written, where it is not native
    """

    shared: Shared
    entries: list[Entry] = field(repr=False)
    asked: frozenset[int]
    for_all: bool
    words: frozenset[str] = field(repr=False)
    admission: Admission
    context: Context
    facts: Facts
    elements: dict[int, bytes] = field(repr=False)
    actions: Counter[str]
    needles: frozenset[Needle] = field(repr=False)
    size: int
    fragments: bytes = field(repr=False)

    @cached_property
    def set_of_entries(self) -> frozenset[Entry]:
        """The elements as they came, in no order."""
        return frozenset(self.entries)

    def like_this(self, entries: list[Entry], shared: Shared) -> CleanHeader | None:
        """The clean header of these elements; None where they differ too much."""
        if shared != self.shared or self.fragments:
            return None
        there = set(entries)
        gone, new = self.set_of_entries - there, there - self.set_of_entries
        if len(gone) + len(new) > _MOST_DIFFERENT or not self._may_differ(gone, new):
            return None
        if any(entry.words for entry in (*gone, *new)) and words_of(entries) != self.words:
            return None
        return self._with(entries, gone, new)

    def _may_differ(self, gone: Set[Entry], new: Set[Entry]) -> bool:
        before, now = {entry.number for entry in gone}, {entry.number for entry in new}
        if self.for_all and before != now:
            return False
        if any(entry.number == _INSTANCE and not _is_text(entry.element.value) for entry in new):
            return False
        differing = (before | now) - (
            {_INSTANCE} if _INSTANCE in now else set()
        )  # asked for, but only whether it is there
        return self.asked.isdisjoint(differing)

    def _with(self, entries: list[Entry], gone: Set[Entry], new: Set[Entry]) -> CleanHeader:
        elements, actions = dict(self.elements), self.actions.copy()
        for entry in gone:
            actions.subtract(self.context.clean(entry).actions)
            if not is_creator(entry.number):  # what stands there was put beside the elements of its block
                elements.pop(entry.number, None)
        for entry in new:
            clean = self.context.clean(entry)
            actions.update(clean.actions)
            if clean.data:
                elements[entry.number] = clean.data
        if blocks := {block_of(entry.number) for entry in (*gone, *new) if self.context.clean(entry).data} - {0}:
            self._put_creators(elements, entries, blocks)
        same = {needle for entry in gone for needle in entry.needles} == {
            needle for entry in new for needle in entry.needles
        }
        return replace(
            self,
            entries=entries,
            elements=dict(sorted(elements.items())),
            actions=+actions,
            needles=self.needles if same else needles_of(entries),
        )

    def _put_creators(self, elements: dict[int, bytes], entries: list[Entry], blocks: set[int]) -> None:
        """Beside the private elements of these blocks that stay, the creators of the blocks; no others."""
        for reserved in blocks:
            elements.pop(reserved, None)
        for entry in entries:
            reserved = block_of(entry.number)
            if reserved in blocks and entry.creator and self.context.clean(entry).data:
                elements[reserved] = self.context.creator(reserved, entry.creator)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip(" \0"))


def words_of(entries: list[Entry]) -> frozenset[str]:
    """All that names persons."""
    return frozenset().union(*[entry.words for entry in entries if entry.words])


def needles_of(entries: list[Entry]) -> frozenset[Needle]:
    """All that an original names."""
    return frozenset().union(*[entry.needles for entry in entries if entry.needles])
