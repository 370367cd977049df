"""The clean header of a dataset: each element by its rule, at the root and in every item of every sequence."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from carina.deid.pixels.hidden import PIXEL_DATA
from carina.deid.pixels.lookup import put_tables
from carina.deid.profile import DESCRIPTORS, STRUCTURED_CONTENT
from carina.deid.rules.compile import RuleSet, rules_of
from carina.deid.rules.rule import Place, Subject
from carina.deid.words import codes
from carina.deid.words.content import CONTENT_SEQUENCE, clean_items
from carina.deid.words.texts import REMOVED


def clean_header(dataset: Dataset, subject: Subject, options: tuple[str, ...], sop_class: str = "") -> Dataset:
    """The attributes of a dataset that stay under these options, in what form they stay, without Pixel Data."""
    return Header(rules_of(options), subject).clean(dataset, Place(sop_class))


GROUPED = codes.PARTS | frozenset(
    (0x00283002, 0x00283006, *range(0x00281101, 0x00281105), *range(0x00281201, 0x00281205), 0x00620005)
)
"""Attributes that `Header.put_groups` decides on, as it finds them beside each other."""


@dataclass
class Header:
    """Cleans the elements of one instance's header, and counts what became of them.

    actions   how many elements met each rule, by `action reason`
    """

    rules: RuleSet
    subject: Subject
    actions: Counter[str] = field(default_factory=Counter)

    def clean(self, dataset: Dataset, place: Place) -> Dataset:
        """The attributes that stay, in what form they stay; Pixel Data is for `pixels` to add."""
        clean = Dataset()
        for tag in sorted(dataset.keys()):
            if tag == PIXEL_DATA and not place.path:
                continue
            element = dataset[tag]
            written = self.element(element, place, creator_of(dataset, int(element.tag)))
            if written is not None:
                clean[written.tag] = written
        _keep_used_creators(clean, dataset)
        self.put_groups(clean, dataset)
        return clean

    def element(self, element: DataElement, place: Place, creator: str = "") -> DataElement | None:
        """One element by its rule, with all that it holds; `creator` is that of its block, if it is private."""
        tag = int(element.tag)
        if is_creator(tag):
            return None  # comes back beside the elements of its block that stay
        if tag >> 16 & 1:
            rule = self.rules.private(creator, tag, str(element.VR))
        else:
            rule = self.rules.rule(tag, str(element.VR), place)
        self.actions[f"{rule.action} {rule.reason}"] += 1
        written = rule.step(element, self.subject)
        if written is None or written.VR != "SQ":
            return written
        inside = place.inside(tag)
        items = Sequence([self.clean(item, inside) for item in written.value or ()])
        if tag == CONTENT_SEQUENCE and tag not in place.path and STRUCTURED_CONTENT in self.rules.options:
            items = clean_items(element.value, items, self.subject.own, self.rules.options)
        return DataElement(tag, "SQ", items)

    def put_groups(self, clean: Dataset, dataset: Dataset) -> None:
        """Write the attributes that only mean something together: coded entries, lookup tables, a segment's label."""
        codes.put_code(clean, dataset, self.subject.own, cleaning=DESCRIPTORS in self.rules.options)
        put_tables(clean, dataset)
        if clean.get("SegmentLabel") == REMOVED:
            clean.SegmentLabel = f"Segment {clean.get('SegmentNumber', 1)}"


def is_creator(tag: int) -> bool:
    """Whether a tag is that of a Private Creator, PS3.5 section 7.8.1: (gggg,0010-00FF) with gggg odd."""
    return tag >> 16 & 1 == 1 and 0x10 <= tag & 0xFFFF <= 0xFF


def creator_of(dataset: Dataset, tag: int) -> str:
    """The private creator of a tag's block; "" for a standard element, or a block without creator."""
    reserved = block_of(tag)
    value = dataset[reserved].value if reserved and reserved in dataset else None
    return value.strip(" \0") if isinstance(value, str) else ""


def block_of(tag: int) -> int:
    """The tag of the Private Creator that reserves a private data element's block; 0 for all other elements."""
    return tag & 0xFFFF0000 | tag >> 8 & 0xFF if tag >> 16 & 1 and tag & 0xFFFF >= 0x1000 else 0


def _keep_used_creators(clean: Dataset, dataset: Dataset) -> None:
    """Beside private elements that stay, the creators of their blocks; no others."""
    for tag in {block_of(tag) for tag in clean.keys()} - {0}:  # noqa: SIM118
        clean[tag] = DataElement(tag, "LO", dataset[tag].value.strip(" \0"))
