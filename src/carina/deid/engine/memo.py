"""What an engine has read and cleaned before: elements that come again, as most of a series do, are worked out once.

Nothing depends on it but the time: an element's result is a function of its bytes and of its `Context`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field

from pydicom.charset import default_encoding
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import correct_ambiguous_vr, write_data_element
from pydicom.tag import BaseTag
from pydicom.valuerep import AMBIGUOUS_VR

from carina.deid.engine.header import Header, block_of
from carina.deid.engine.needles import uids_in
from carina.deid.engine.verify import sought_in
from carina.deid.engine.walker import Pieces
from carina.deid.rules.rule import Place
from carina.deid.words.identifiers import identifying_words
from carina.dicom.parse import read_elements

CHARACTER_SET, PIXEL_REPRESENTATION = 0x00080005, 0x00280103
AROUND = (CHARACTER_SET, PIXEL_REPRESENTATION)
_LARGE = 1 << 16  # bytes: elements above are not remembered
_MOST_BYTES = 1 << 24  # of elements remembered; then all are forgotten


class Entry:
    """One element as it came: what pydicom reads in it, and what has become of it in each context."""

    __slots__ = ("clean", "creator", "element", "needles", "number", "tag", "uids", "words")

    def __init__(self, tag: BaseTag, element: DataElement, creator: str) -> None:
        self.tag = tag
        self.number = int(tag)
        self.element = element
        self.creator = creator
        self.words = identifying_words(element)
        self.needles = sought_in(element)
        self.uids = tuple(uids_in(element))
        self.clean: dict[Context, Clean] = {}


@dataclass(frozen=True)
class Clean:
    """What is written of an element, empty if nothing is; and the rules that it and all it holds have met."""

    data: bytes
    actions: tuple[str, ...]


@dataclass(eq=False)
class Context:
    """All that decides what becomes of an element beside its bytes; it is known by its identity.

    encoding               the clean header's Specific Character Set, as pydicom's writer wants it
    pixel_representation   the clean header's; it decides between VR US and SS
    """

    header: Header
    place: Place
    implicit: bool
    encoding: str | list[str] = default_encoding
    pixel_representation: DataElement | None = None
    creators: dict[tuple[int, str], bytes] = field(default_factory=dict)

    def settle(self, entries: Sequence[Entry]) -> None:
        """Learn from the elements of an instance what the others of this context depend on."""
        for entry in entries:
            if entry.number == CHARACTER_SET:
                written = self.header.element(entry.element, self.place)
                self.encoding = default_encoding if written is None else written.value or default_encoding
            elif entry.number == PIXEL_REPRESENTATION:
                self.pixel_representation = self.header.element(entry.element, self.place)

    def clean(self, entry: Entry) -> Clean:
        """What becomes of an element in this context."""
        found = entry.clean.get(self)
        if found is None:
            self.header.actions = Counter()
            written = self.header.element(entry.element, self.place, entry.creator)
            data = b"" if written is None else self.encode(written)
            found = entry.clean[self] = Clean(data, tuple(self.header.actions.elements()))
        return found

    def creator(self, tag: int, name: str) -> bytes:
        """What is written of a Private Creator whose block has elements that stay."""
        if (tag, name) not in self.creators:
            self.creators[tag, name] = self.encode(DataElement(tag, "LO", name))
        return self.creators[tag, name]

    def encode(self, element: DataElement) -> bytes:
        """The bytes that pydicom writes for an element of the clean header."""
        if element.tag & 0xFFFF == 0:
            return b""  # group lengths are retired
        if element.VR == "SQ" or element.VR in AMBIGUOUS_VR:
            around, element = Dataset(), copy(element)  # its VR may be corrected in place
            if self.pixel_representation is not None:
                around[PIXEL_REPRESENTATION] = self.pixel_representation
            around[element.tag] = element
            element = correct_ambiguous_vr(around, True)[element.tag]
        file = DicomBytesIO()
        file.is_little_endian, file.is_implicit_VR = True, self.implicit
        write_data_element(file, element, self.encoding)
        return file.getvalue()


class Memo:
    """Elements that were read before, by their bytes and by what their reading depends on."""

    def __init__(self) -> None:
        self._shelves: dict[tuple[bool, bytes], dict[bytes, Entry]] = {}
        self._bytes = 0

    def entries(self, data: bytes, found: Pieces) -> tuple[bytes, list[Entry]]:
        """The bytes that the reading of all others depends on; and the root elements, each read now or before.

        Raises whatever pydicom does for what is damaged.
        """
        if self._bytes > _MOST_BYTES:
            self._shelves.clear()
            self._bytes = 0
        tags = [piece[0] for piece in found.elements]
        around = {}
        for tag in AROUND:
            place = bisect_left(tags, tag)
            if tags[place : place + 1] == [tag]:
                around[tag] = data[found.elements[place][1] : found.elements[place][3]]
        reading = b"".join(around.values())
        shelf = self._shelves.setdefault((found.implicit, reading), {})
        entries: list[Entry | None] = []
        missing: list[tuple[int, int, bytes, bytes]] = []
        creators: dict[int, bytes] = {}
        for tag, start, _, end in found.elements:
            raw = key = data[start:end]
            if tag & 0x10000:  # private: an element means what its creator says, see `is_creator` and `block_of`
                number = tag & 0xFFFF
                if number >= 0x1000:
                    key = creators.get(tag & 0xFFFF0000 | number >> 8, b"") + raw
                elif 0x10 <= number <= 0xFF:
                    creators[tag] = raw
            entry = shelf.get(key)
            if entry is None:
                missing.append((len(entries), tag, key, raw))
            entries.append(entry)
        if missing:
            self._read(missing, around | creators, found.implicit, shelf, entries)
        return reading, entries  # type: ignore[return-value]  # none is None now

    def _read(
        self,
        missing: list[tuple[int, int, bytes, bytes]],
        around: dict[int, bytes],
        implicit: bool,
        shelf: dict[bytes, Entry],
        entries: list[Entry | None],
    ) -> None:
        """Read the missing elements together, beside those that their reading depends on."""
        blocks = {block_of(tag) for _, tag, _, _ in missing}
        elements = {tag: raw for tag, raw in around.items() if tag in AROUND or tag in blocks}
        elements |= {tag: raw for _, tag, _, raw in missing}
        dataset = read_elements(b"".join(elements[tag] for tag in sorted(elements)), implicit)
        for place, tag, key, raw in missing:
            element = dataset[tag]
            reserved = block_of(tag)
            creator = dataset[reserved].value if reserved and reserved in dataset else ""
            entry = Entry(element.tag, element, creator.strip(" \0") if isinstance(creator, str) else "")
            entries[place] = entry
            if len(raw) <= _LARGE:
                shelf[key] = entry
                self._bytes += len(raw) + 1000  # and the objects
