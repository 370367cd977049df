"""The fast way of the engine: a file in pieces, its elements as they were cleaned before, its pixels copied.

It takes ordinary images only; for all else it gives None, and the engine takes the way of pydicom.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import takewhile

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from carina.deid.engine.admission import Admission, admit, require_clean
from carina.deid.engine.alike import Asked, CleanHeader, Shared, needles_of, words_of
from carina.deid.engine.encode import Written, file_header
from carina.deid.engine.handling import Handling
from carina.deid.engine.header import GROUPED, Header, block_of
from carina.deid.engine.marks import ENGINE, MARKED, Marks, put_marks
from carina.deid.engine.memo import AROUND, Context, Entry, Memo
from carina.deid.engine.walker import PIXEL_DATA, Pieces
from carina.deid.facts import facts_of, text
from carina.deid.person import Person
from carina.deid.pixels.findings import Findings
from carina.deid.pixels.hidden import has_overlay_bits, native_size, put_pixel_data
from carina.deid.rules.rule import Place, Subject
from carina.deid.words.identifiers import own_of
from carina.errors import CarinaError
from carina.model.ids import PatientKey, Uid
from carina.model.instance import CleanInstance, Version

_INSTANCE, _SOP_CLASS, _MODALITY, _STUDY, _SERIES = 0x00080018, 0x00080016, 0x00080060, 0x0020000D, 0x0020000E
_NEEDED = frozenset((_INSTANCE, _SOP_CLASS, _STUDY, _SERIES))
_SLOW = GROUPED | frozenset((0x0040A730, 0x7FE00008, 0x7FE00009))
"""Attributes at the root that need others beside them, or whose value is not written by rule."""
_MOST_CONTEXTS = 64
_MOST_LAST = 4  # clean headers that the next ones are compared with
_NONE: frozenset[str] = frozenset()


class Walked:
    """The fast way of one project's engine, with what it remembers."""

    def __init__(self, handling: Handling) -> None:
        self._handling = handling
        self._memo = Memo()
        self._contexts: OrderedDict[tuple[object, ...], Context] = OrderedDict()
        self._marks: dict[tuple[Context, Marks, bool], dict[int, bytes]] = {}
        self._last: list[CleanHeader] = []

    def clean(
        self, data: bytes, found: Pieces, aliases: Mapping[Person, Person], findings: Findings | None
    ) -> Written | None:
        """The clean instance, without the digest of its source; None where this way cannot go."""
        if not _SLOW.isdisjoint([piece[0] for piece in found.elements]) or (findings is not None and findings.boxes):
            return None
        try:
            reading, entries = self._memo.entries(data, found)
        except CarinaError:
            raise
        except Exception:  # noqa: BLE001  whoever reads it as a whole says what is wrong
            return None
        shared = Shared.of(found, reading, findings)
        header = self._taken_over(entries, shared) if not aliases else None
        if header is None:
            header = self._header(data, found, entries, aliases, shared)
        if header is None:
            return None
        if not aliases:
            self._last = [header, *self._last[: _MOST_LAST - 1]]
        return self._whole(data, found, header)

    def _taken_over(self, entries: list[Entry], shared: Shared) -> CleanHeader | None:
        """The clean header as one of the last ones; None where none of them is like it."""
        for place, last in enumerate(self._last):
            header = last.like_this(entries, shared)
            if header is not None:
                del self._last[place]
                return header
        return None

    def _header(
        self, data: bytes, found: Pieces, entries: list[Entry], aliases: Mapping[Person, Person], shared: Shared
    ) -> CleanHeader | None:
        """The clean header, worked out from all elements; None where this way cannot go."""
        dataset, asked = _dataset(entries, found)
        if has_overlay_bits(dataset):
            return None
        admission = admit(dataset, self._handling, aliases, shared.findings)
        context = self._context(dataset, entries, (found.implicit, shared.reading), admission)
        written, actions = _written(context, entries)
        for tag in MARKED:
            written.pop(tag, None)
        written.update(self._marked(context, admission, _MODALITY in written))
        if not written.keys() >= _NEEDED:
            return None
        pixels, size = _pixels(data, found, dataset, context)
        facts = facts_of(dataset, self._handling.keys, admission.days)
        return CleanHeader(
            shared=shared,
            entries=entries,
            asked=frozenset(map(int, asked.tags)) | {*MARKED, *AROUND},
            for_all=asked.for_all,
            words=words_of(entries),
            admission=admission,
            context=context,
            facts=facts,
            elements=dict(sorted(written.items())),
            actions=actions,
            needles=needles_of(entries),
            size=size,
            fragments=b"" if size else pixels,
        )

    def _whole(self, data: bytes, found: Pieces, header: CleanHeader) -> Written:
        """The clean instance of a clean header and the pixels as they came, read again."""
        elements, size = header.elements, header.size
        instance = self._instance(header, found.syntax)
        pixels, first = header.fragments, 0
        if found.pixels is not None and size:
            _, start, first, _ = found.pixels
            pixels = data[start : first - 4] + (size + size % 2).to_bytes(4, "little")
        values = list(elements.values())
        count = sum(1 for _ in takewhile(lambda tag: tag > PIXEL_DATA, reversed(elements)))
        ahead, behind = values[: len(values) - count], values[len(values) - count :]
        before = b"".join((file_header(instance.sop_class_uid, instance.uid, found.syntax), *ahead, pixels))
        after = b"".join((bytes(size % 2), *behind))
        uids: frozenset[str] = frozenset().union(*[entry.uids for entry in header.entries if entry.uids])
        require_clean(before[: len(before) - len(pixels)] + after[size % 2 :], header.needles, uids, header.admission)
        return Written(instance, before, (first, first + size), after)

    def _context(
        self, dataset: Dataset, entries: Sequence[Entry], reading: tuple[bool, bytes], admission: Admission
    ) -> Context:
        rules, naming = admission.rules, [entry for entry in entries if entry.words]
        own = own_of(_NONE.union(*[entry.words for entry in naming]))
        persons = own_of(_NONE.union(*[entry.words for entry in naming if entry.number not in rules.retained]))
        subject = Subject(self._handling.keys, admission.pseudonym, admission.days, own, persons)
        place = Place(text(dataset, "SOPClassUID"))
        key = (reading, place, rules, admission.pseudonym, admission.days, own, persons)
        context = self._contexts.get(key)
        if context is None:
            context = Context(Header(admission.rules, subject), place, reading[0])
            context.settle(entries)
            self._contexts[key] = context
            if len(self._contexts) > _MOST_CONTEXTS:
                self._forget()
        return context

    def _forget(self) -> None:
        self._contexts.clear()
        self._marks.clear()
        self._last = []
        self._memo = Memo()

    def _marked(self, context: Context, admission: Admission, with_modality: bool) -> dict[int, bytes]:
        """The marks, as they are written."""
        key = (context, admission.marks, with_modality)
        found = self._marks.get(key)
        if found is None:
            clean = Dataset()
            if with_modality:
                clean.Modality = ""
            put_marks(clean, admission.pseudonym, admission.marks)
            if with_modality:
                del clean.Modality
            found = self._marks[key] = {int(element.tag): context.encode(element) for element in clean}
        return found

    def _instance(self, header: CleanHeader, syntax: str) -> CleanInstance:
        elements = header.elements
        return CleanInstance(
            project=self._handling.project,
            patient=PatientKey(header.admission.pseudonym),
            study_uid=Uid(_text(elements[_STUDY])),
            series_uid=Uid(_text(elements[_SERIES])),
            uid=Uid(_text(elements[_INSTANCE])),
            sop_class_uid=_text(elements[_SOP_CLASS]),
            transfer_syntax_uid=syntax,
            modality=_text(elements[_MODALITY]),
            source_digest="",
            version=Version(ENGINE, self._handling.profile.digest, header.admission.review),
            facts=header.facts,
            data=b"",
            actions=header.actions,
        )


def _dataset(entries: Sequence[Entry], found: Pieces) -> tuple[Dataset, Asked]:
    """What pydicom would have read, Pixel Data without its value; and its memory of what it is asked for."""
    elements: dict[BaseTag, DataElement] = {entry.tag: entry.element for entry in entries}
    if found.pixels is not None:
        elements[Tag(PIXEL_DATA)] = DataElement(PIXEL_DATA, "OW", b"")
    dataset, asked = Dataset(), Asked(elements)
    dataset._dict = asked
    dataset.file_meta = _meta(found.syntax)
    return dataset, asked


@cache
def _meta(syntax: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UID(syntax)
    return meta


def _written(context: Context, entries: Sequence[Entry]) -> tuple[dict[int, bytes], Counter[str]]:
    """What is written of each element, by tag; and how often each rule was met."""
    written: dict[int, bytes] = {}
    actions: list[str] = []
    for entry in entries:
        clean = entry.clean.get(context) or context.clean(entry)
        actions += clean.actions
        if clean.data:
            written[entry.number] = clean.data
            if entry.creator:
                reserved = block_of(entry.number)
                written[reserved] = context.creator(reserved, entry.creator)
    return written, Counter(actions)


def _pixels(data: bytes, found: Pieces, dataset: Dataset, context: Context) -> tuple[bytes, int]:
    """Pixel Data as it is written. Of native ones only the beginning, and how many of the bytes that came follow it."""
    if found.pixels is None:
        return b"", 0
    _, start, first, end = found.pixels
    if first == end or UID(found.syntax).is_encapsulated:
        source, clean = Dataset(dataset), Dataset()
        vr = "OW" if found.implicit else data[start + 4 : start + 6].decode()
        source[PIXEL_DATA] = DataElement(PIXEL_DATA, vr, data[first:end])
        put_pixel_data(clean, source, found.syntax, UID(found.syntax).is_encapsulated, context.header.subject.own)
        return context.encode(clean[PIXEL_DATA]), 0
    size = native_size(dataset, end - first)
    return data[start : first - 4] + (size + size % 2).to_bytes(4, "little"), size


def _text(element: bytes) -> str:
    """The value of an element of VR UI or CS."""
    return element[8:].rstrip(b"\0 ").decode("ascii")
