"""What reads DICOM files, and opens sealed ones."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)
from tests.fuzz.target import Target, plain
from tests.support import ct, part10

from carina.deid.engine.walker import pieces, without_pixels
from carina.dicom.describe import described
from carina.dicom.json import to_json
from carina.dicom.names import sent_as
from carina.dicom.parse import identifiers, parse
from carina.dicom.quiet import quiet
from carina.dicom.reader import Count, elements, items, opened
from carina.errors import CarinaError, WrongKey
from carina.storage.sealed import SEGMENT, SealedFolder, seal, unseal

_SEEDS, _LONGEST = 200, 1 << 14
_KEY, _NAME = bytes(32), "sealed"


def _walk(data: bytes) -> None:
    half = len(data) // 2
    pieces(data)
    pieces(data, head_only=True)
    without_pixels(data[:half], data[half:])
    identifiers(data)
    sent_as([data[:half], data[half:]])
    _read(data)
    _describe(data)


def _read(data: bytes) -> None:
    try:
        file = opened(data)
        end = len(file.data)
        Count(1000, 1000).dataset(file.data, file.start, end, file.encoding)
        for _, vr, _, first, last in elements(file.data, file.start, end, file.encoding):
            if vr == b"SQ":
                list(items(file.data, first, last, file.encoding))
    except (ValueError, OverflowError):
        pass


def _describe(data: bytes) -> None:
    """Nothing but Carina's own errors; and of what can be parsed, what pydicom says of it."""
    try:
        told = described(data)
    except CarinaError:
        told = None
    try:
        dataset = parse(data)
    except CarinaError:
        return
    assert told is not None, "what can be parsed cannot be described"
    with quiet():
        known = {tag: element for tag, element in to_json(dataset).items() if tag != "00083002"}
    known["00083002"] = {"vr": "UI", "Value": [str(dataset.file_meta.TransferSyntaxUID)]}
    assert json.loads(told.header) == known, "it is described otherwise than pydicom reads it"
    assert json.loads(told.brief) == {tag: known[tag] for tag in json.loads(told.brief)}


def _files(folder: Path) -> Iterator[bytes]:
    """Files that are made, one in each encoding, and the smallest real ones."""
    yield from _made()
    if folder.is_dir():
        paths = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size <= _LONGEST]
        for path in sorted(paths, key=lambda path: path.stat().st_size)[:_SEEDS]:
            yield path.read_bytes()


def _made() -> Iterator[bytes]:
    yield ct("MRN-1", size=8)
    dataset = dcmread(io.BytesIO(ct("MRN-1", size=8)))
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "1", "99X", "nested"
    inner = Dataset()
    inner.AnatomicRegionSequence = [code]
    dataset.ProcedureCodeSequence = [inner, code]
    dataset.ProcedureCodeSequence.is_undefined_length = True
    dataset.PatientName = "Yamada^Tarou=山田^太郎"
    dataset.add_new(0x00090010, "LO", "CREATOR")
    dataset.add_new(0x00091001, "UN", b"private")
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        yield part10(dataset, syntax)
    dataset.NumberOfFrames = 2
    dataset.PixelData = encapsulate([b"\xff\xd8one\xff\xd9", b"\xff\xd8two\xff\xd9"])
    yield part10(dataset, JPEGBaseline8Bit)


def _opening(folder: Path) -> Callable[[bytes], None]:
    """The input is a sealed file of this folder, and what to do to one: a place, and what stands there instead."""
    sealed_folder = SealedFolder(folder, _KEY)
    plain_text = bytes(range(256)) * (SEGMENT // 256) + b"behind"
    whole = seal(_KEY, plain_text, _NAME)

    def run(data: bytes) -> None:
        place = struct.unpack_from("<L", data.ljust(4, b"\0"))[0] % (len(whole) + 1)
        kept = place if data[4:5] == b"!" else len(whole)  # cut off there, or not
        changed = (whole[:place] + data[5:] + whole[place + len(data[5:]) :])[: max(kept, place + len(data[5:]))]
        for content in (data, changed):
            (folder / _NAME).write_bytes(content)
            found = _opened(sealed_folder)
            if content == whole:
                assert found == plain_text
            elif content[4:20] == whole[4:20]:
                assert found is None, "a changed file opens"
            assert found == _unsealed(content), "a stream and a whole file say other things"

    return run


def _opened(folder: SealedFolder) -> bytes | None:
    try:
        with folder.open(_NAME) as reader:
            return reader.read()
    except WrongKey:
        return None


def _unsealed(content: bytes) -> bytes | None:
    try:
        return unseal(_KEY, content, _NAME)
    except WrongKey:
        return None


def _sealed(_folder: Path) -> Iterator[bytes]:
    yield seal(_KEY, b"", _NAME)
    yield seal(_KEY, b"short", _NAME)
    yield struct.pack("<L", 4) + b".x"
    yield struct.pack("<L", SEGMENT + 36) + b"!"
    yield struct.pack("<L", SEGMENT + 40) + b"." + zlib.compress(b"changed")


WALKER = Target(plain(_walk), _files, _LONGEST)
SEALED = Target(_opening, _sealed, 4096)
