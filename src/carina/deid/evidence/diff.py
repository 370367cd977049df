"""What de-identification would change in one instance, element by element: before, after, and by which rule.

The only place that puts values as they came beside the clean ones. They are for the eyes of who holds the file: shown,
and neither kept, logged nor reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from io import BytesIO
from typing import Any

import pydicom
from pydicom.datadict import dictionary_description, dictionary_has_tag, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from carina.deid.engine.admission import options_of
from carina.deid.engine.engine import Engine
from carina.deid.engine.handling import Handling
from carina.deid.engine.header import block_of, creator_of, is_creator
from carina.deid.pixels.findings import Findings
from carina.deid.rules.compile import RuleSet, rules_of
from carina.deid.rules.rule import Place
from carina.dicom.parse import parse
from carina.dicom.quiet import quiet

LONGEST = 400
"""Characters of a value that are shown."""
_BINARY = ("OB", "OD", "OF", "OL", "OV", "OW", "UN")
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_MARKS = "a mark of the standard, or made anew"


@dataclass(frozen=True)
class Difference:
    """One element.

    path     as "(0040,A730)[2].(0040,A160)"; a private tag's block is named by its creator: "(0029,[ACME]10)"
    name     the dictionary's; "" if it has none
    action   the rule's, PS3.15 Table E.1-1a; "+" for an element that is only in the clean instance
    before   the value as it came; None if there was no such element
    after    the value that is written; None if none is
    """

    path: str
    keyword: str
    name: str
    vr: str
    action: str
    reason: str
    before: str | None = field(repr=False)
    after: str | None = field(repr=False)
    changed: bool = True

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return dict(vars(self))


def differences(data: bytes, handling: Handling, findings: Findings | None = None) -> list[Difference]:
    """Each element of an instance, in the order of its tags, with what becomes of it; nothing is written.

    Raises what `Engine.clean` raises: an instance that is withheld has no clean form.
    """
    clean = Engine(handling).clean(data, findings=findings).data
    before = parse(data)
    with quiet():
        after = pydicom.dcmread(BytesIO(clean), force=True)
        compare = _Compare(rules_of(options_of(handling)))
        found = [*compare.meta(before.file_meta, after.file_meta)]
        return found + list(compare.datasets(before, after, Place(str(before.get("SOPClassUID", ""))), ""))


class _Compare:
    """Puts two datasets beside each other."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules

    def meta(self, before: Dataset, after: Dataset) -> Iterator[Difference]:
        """The file meta information, of which nothing is taken over but the transfer syntax."""
        for tag in sorted({*before.keys(), *after.keys()}):
            old, new = (dataset.get(tag) for dataset in (before, after))
            action = "X" if new is None else "+" if old is None else "D"
            yield _difference(_tag_text(int(tag), ""), old, new, action, "PS3.10: written anew")

    def datasets(self, before: Dataset, after: Dataset, place: Place, prefix: str) -> Iterator[Difference]:
        """Each element of two datasets that stand in the same place."""
        old, new = _by_name(before), _by_name(after)
        for name in sorted({*old, *new}):
            yield from self._elements(old.get(name), new.get(name), name[1], place, prefix)

    def _elements(
        self, old: DataElement | None, new: DataElement | None, creator: str, place: Place, prefix: str
    ) -> Iterator[Difference]:
        either = old if old is not None else new
        assert either is not None
        path = prefix + _tag_text(int(either.tag), creator)
        action, reason = ("+", _MARKS) if old is None else self._rule(old, creator, place)
        if is_creator(int(either.tag)):
            action, reason = (
                ("X", "no element of its block stays") if new is None else ("K", "an element of its block stays")
            )
        if int(either.tag) in _PIXELS and old is not None:
            same = new is not None and old.value == new.value
            action, reason = ("K", "pixels are as they came") if same else ("C", "places in the pixels are blanked")
        yield _difference(path, old, new, action, reason)
        if old is not None and new is not None and old.VR == new.VR == "SQ":
            for number, first, second in _paired(list(old.value or ()), list(new.value or ())):
                yield from self.datasets(first, second, place.inside(int(either.tag)), f"{path}[{number}].")

    def _rule(self, element: DataElement, creator: str, place: Place) -> tuple[str, str]:
        tag = int(element.tag)
        if tag >> 16 & 1:
            rule = self._rules.private(creator, tag, str(element.VR))
        else:
            rule = self._rules.rule(tag, str(element.VR), place)
        return str(rule.action), rule.reason


def _by_name(dataset: Dataset) -> dict[tuple[int, str, int], DataElement]:
    """Elements by group, private creator and number, so that a block that has moved is still the same."""
    found = {}
    for element in dataset:
        tag = int(element.tag)
        creator = creator_of(dataset, tag)
        number = tag & 0xFF if block_of(tag) else tag & 0xFFFF
        if is_creator(tag):
            creator, number = str(element.value), 0
        while (tag >> 16, creator, number) in found:
            number += 0x10000  # a creator's second block
        found[tag >> 16, creator, number] = element
    return found


def _paired(old: list[Dataset], new: list[Dataset]) -> Iterator[tuple[int, Dataset, Dataset]]:
    """Items of two sequences that belong together; of removed ones there is nothing to compare but that they went."""
    if len(old) == len(new):
        yield from ((number, *pair) for number, pair in enumerate(zip(old, new, strict=True), 1))
        return
    kinds = [[_kind(item) for item in items] for items in (old, new)]
    partners: dict[int, int] = {}
    for block in SequenceMatcher(a=kinds[0], b=kinds[1], autojunk=False).get_matching_blocks():
        partners.update((block.a + step, block.b + step) for step in range(block.size))
    for number, item in enumerate(old):
        yield number + 1, item, new[partners[number]] if number in partners else Dataset()


def _kind(item: Dataset) -> tuple[str, ...]:
    """What tells an item's kind and does not change when it is cleaned."""
    concept = item.get("ConceptNameCodeSequence") or [Dataset()]
    words = (item.get("ValueType"), item.get("RelationshipType"), concept[0].get("CodeValue"), item.get("CodeValue"))
    return tuple(str(word or "") for word in words)


def _difference(path: str, old: DataElement | None, new: DataElement | None, action: str, reason: str) -> Difference:
    either = old if old is not None else new
    assert either is not None
    tag = int(either.tag)
    before, after = _text(old), _text(new)
    is_same = old is not None and new is not None and old.VR != "SQ" and old.value == new.value
    if old is not None and new is not None and old.VR == new.VR == "SQ":
        is_same = len(old.value or ()) == len(new.value or ())
    name = dictionary_description(tag) if dictionary_has_tag(tag) else ""
    return Difference(path, keyword_for_tag(tag), name, str(either.VR), action, reason, before, after, not is_same)


def _tag_text(tag: int, creator: str) -> str:
    if creator and not is_creator(tag):
        return f"({tag >> 16:04X},[{creator}]{tag & 0xFF:02X})"
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def _text(element: DataElement | None) -> str | None:
    """A value as a person reads it; of binary ones the length."""
    if element is None:
        return None
    value = element.value
    if element.VR == "SQ":
        count = len(value or ())
        return "1 item" if count == 1 else f"{count} items"
    if value is None:
        return ""
    if element.VR in _BINARY or isinstance(value, bytes):
        return f"{len(value)} bytes"
    text = "\\".join(map(str, value)) if isinstance(value, MultiValue | list | tuple) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
