"""The engine: from the bytes of one DICOM instance to a clean one, PS3.15 Annex E, fail-closed.

What comes out is a function of the bytes received, the project's handling of them, the aliases and the findings: the
same in any process gives the same bytes. An attribute stays because the table, the data dictionary and the lists of
`words` say that it may; whatever none of them knows is removed.

There are two ways, with one set of rules and one result: ordinary little-endian files are taken in pieces (`walked`),
and everything else is read and written by pydicom (`_read`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, TypeAlias

from pydicom.dataset import Dataset
from pydicom.uid import UID

from carina.deid.engine.admission import Admission, admit, require_clean
from carina.deid.engine.encode import Written, encoded
from carina.deid.engine.files import Opened, opened, write
from carina.deid.engine.handling import Handling
from carina.deid.engine.header import Header
from carina.deid.engine.marks import ENGINE, put_marks
from carina.deid.engine.verify import sought_in_all, uids_of
from carina.deid.engine.walked import Walked
from carina.deid.engine.walker import Pieces, pieces
from carina.deid.facts import facts_of, text
from carina.deid.person import Person
from carina.deid.pixels.blank import blank_pixels
from carina.deid.pixels.findings import Findings
from carina.deid.pixels.hidden import put_pixel_data
from carina.deid.pseudonyms import source_digest, source_digest_of
from carina.deid.rules.rule import Place, Subject
from carina.deid.words.identifiers import identifying_words, own_of
from carina.dicom.parse import parse, require_bounded
from carina.dicom.quiet import quiet
from carina.dicom.reader import Encoding
from carina.errors import CarinaError, InvalidInstance
from carina.model.ids import PatientKey, Uid
from carina.model.instance import CleanInstance, Version

Write: TypeAlias = Callable[[bytes | memoryview], object]
"""Takes the next bytes of a file."""
_AT_ONCE = 1 << 20  # bytes

NO_ALIASES: Mapping[Person, Person] = MappingProxyType({})


class Engine:
    """De-identifies the instances of one project; remembers what it has worked out, which changes no result."""

    def __init__(self, handling: Handling) -> None:
        self.handling = handling
        self._walked = Walked(handling)

    def clean(
        self, data: bytes, *, aliases: Mapping[Person, Person] = NO_ALIASES, findings: Findings | None = None
    ) -> CleanInstance:
        """The clean instance of what arrived.

        aliases    merged identifiers, applied before the pseudonym is made
        findings   what a look at its pixels has found; None if nobody has looked

        Raises `NotDicom`, `InvalidInstance` (damaged), and `Withheld` with its reason: an identifier is missing, the
        transfer syntax is unknown, pixels or content must be checked first, or an identifier was left.
        """
        return self.clean_pieces(data, pieces(data), aliases=aliases, findings=findings)

    def clean_pieces(
        self,
        data: bytes,
        split: Pieces | None,
        *,
        aliases: Mapping[Person, Person] = NO_ALIASES,
        findings: Findings | None = None,
    ) -> CleanInstance:
        """The same for a file of which `split` is what `walker.pieces` says."""
        written = self._written(data, split, aliases, findings)
        content = content_of(data, written.instance.transfer_syntax_uid)
        digest = source_digest(self.handling.keys, *content)
        return replace(written.instance, data=written.whole(data), source_digest=digest)

    def clean_file(
        self,
        path: Path,
        target: Callable[[CleanInstance], Path],
        *,
        aliases: Mapping[Person, Person] = NO_ALIASES,
        findings: Findings | None = None,
    ) -> CleanInstance:
        """The same for a file: what is clean is written where `target` says, all of it or nothing; no bytes return.

        target   gets the instance without its bytes, and says where it goes
        """
        return self.clean_opened(opened(path), target, aliases=aliases, findings=findings)

    def clean_opened(
        self,
        source: Opened,
        target: Callable[[CleanInstance], Path],
        *,
        aliases: Mapping[Person, Person] = NO_ALIASES,
        findings: Findings | None = None,
        new_only: bool = False,
    ) -> CleanInstance:
        """The same for a file that was read before; with `new_only`, `FileExistsError` where one is there already."""
        written = None
        if not source.whole and (findings is None or not findings.boxes):
            written = self._walk(source.data, source.pieces, aliases, findings)
        if written is None:
            source = source.all_of_it()
            written = self._written(source.data, source.pieces, aliases, findings)
        write(target(written.instance), written, source, new_only=new_only)
        return written.instance

    def clean_stream(
        self,
        source: BinaryIO,
        split: tuple[bytes, Pieces],
        begin: Callable[[Written], Write],
        *,
        aliases: Mapping[Person, Person] = NO_ALIASES,
        findings: Findings | None = None,
    ) -> CleanInstance | None:
        """The same for a large file that is read once, from its beginning; None if it must be read as a whole.

        split   as of `files.split_large`
        begin   gets what is to be written, before the pixels are read, and says what takes it, piece by piece

        Raises `InvalidInstance` when the source became shorter.
        """
        if findings is not None and findings.boxes:
            return None
        written = self._walk(*split, aliases, findings)
        if written is None:
            return None
        write = begin(written)
        write(written.before)
        syntax = written.instance.transfer_syntax_uid.encode()
        parts = chain((syntax, b"\0"), _passed(source, _content_start(split[0]), written.pixels, write))
        digest = source_digest_of(self.handling.keys, parts)
        write(written.after)
        return replace(written.instance, source_digest=digest)

    def _written(
        self, data: bytes, found: Pieces | None, aliases: Mapping[Person, Person], findings: Findings | None
    ) -> Written:
        written = self._walk(data, found, aliases, findings)
        if written is not None:
            return written
        with _named():
            return self._read(data, aliases, findings)

    def _walk(
        self, data: bytes, found: Pieces | None, aliases: Mapping[Person, Person], findings: Findings | None
    ) -> Written | None:
        if found is None:
            return None
        with _named():
            for span in found.headers(len(data)):
                require_bounded(data, span, Encoding(found.implicit))
            return self._walked.clean(data, found, aliases, findings)

    def _read(self, data: bytes, aliases: Mapping[Person, Person], findings: Findings | None) -> Written:
        dataset = parse(data)
        admission = admit(dataset, self.handling, aliases, findings)
        return rewritten(dataset, self.handling, admission, findings)


@contextmanager
def _named() -> Iterator[None]:
    """What goes wrong within is raised as one of Carina's own errors."""
    with quiet():
        try:
            yield
        except (CarinaError, MemoryError):
            raise
        except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
            raise InvalidInstance("The DICOM file is damaged: it cannot be written again.") from None


def rewritten(dataset: Dataset, handling: Handling, admission: Admission, findings: Findings | None) -> Written:
    """The clean instance of a dataset that may pass, without the digest of its source."""
    if findings is not None and admission.marks.looked_at:
        blank_pixels(dataset, findings.boxes)
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    rules, words = admission.rules, {element.tag: identifying_words(element) for element in dataset}
    own = own_of(frozenset().union(*words.values()))
    persons = own_of(frozenset().union(*[found for tag, found in words.items() if tag not in rules.retained]))
    header = Header(rules, Subject(handling.keys, admission.pseudonym, admission.days, own, persons))
    clean = header.clean(dataset, Place(text(dataset, "SOPClassUID")))
    put_pixel_data(clean, dataset, str(syntax), syntax.is_encapsulated, own)
    put_marks(clean, admission.pseudonym, admission.marks)
    data = encoded(clean, syntax)
    require_clean(data, sought_in_all(dataset), uids_of(dataset), admission)
    instance = CleanInstance(
        project=handling.project,
        patient=PatientKey(admission.pseudonym),
        study_uid=Uid(clean.StudyInstanceUID),
        series_uid=Uid(clean.SeriesInstanceUID),
        uid=Uid(clean.SOPInstanceUID),
        sop_class_uid=str(clean.SOPClassUID),
        transfer_syntax_uid=str(syntax),
        modality=str(clean.Modality),
        source_digest="",
        version=Version(ENGINE, handling.profile.digest, admission.review),
        facts=facts_of(dataset, handling.keys, admission.days),
        data=b"",
        actions=dict(header.actions),
    )
    return Written(instance, data)


def content_of(data: bytes, syntax: str) -> tuple[bytes, bytes, memoryview]:
    """What a digest recognises an instance by: its transfer syntax, a zero, and the bytes after the file meta
    information.

    Preamble and group 0002 are the sender's own (PS3.10 section 7.1) and differ between C-STORE, STOW-RS and a file.
    """
    return syntax.encode(), b"\0", memoryview(data)[_content_start(data) :]


def _content_start(data: bytes) -> int:
    """Where the file meta information ends; 0 where that does not show."""
    head = data[128:144]
    if head.startswith(b"DICM\x02\x00\x00\x00UL\x04\x00"):  # (0002,0000) File Meta Information Group Length
        start = 144 + int.from_bytes(head[12:16], "little")
        if start < len(data):
            return start
    return 0


def _passed(source: BinaryIO, start: int, pixels: tuple[int, int], write: Write) -> Iterator[bytes]:
    """All bytes from `start` on; those between the places of `pixels` are written as they pass."""
    source.seek(start)
    first, last = pixels
    while data := source.read(_AT_ONCE):
        yield data
        wanted = memoryview(data)[max(0, first - start) : max(0, last - start)]
        if wanted.nbytes:
            write(wanted)
        start += len(data)
    if start < last:
        raise InvalidInstance("The DICOM file is damaged: it is cut short.")
