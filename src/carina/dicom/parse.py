"""From bytes to a dataset, DICOM PS3.10 and PS3.5. Nothing but Carina's own errors comes out.

pydicom forgives much: it ends quietly where a file is cut, and finds broken values only when they are asked for. Here
every element is asked for once, so that damage shows before anything is kept.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import VR

from carina.dicom.quiet import quiet
from carina.dicom.reader import Count, Encoding
from carina.errors import CarinaError, InvalidInstance, NotDicom, Withheld
from carina.model.instance import Reason

MAX_DEPTH = 64
MAX_ITEMS = 1 << 18  # of all sequences together; each costs some kilobytes to hold
MAX_ELEMENTS = 1 << 20
MAX_VALUES = 1 << 18  # of one element; a list of numbers costs fifty times its bytes
_NEED_NO_COUNT = 1 << 18  # bytes: too few for so many
MAX_INFLATED = 1 << 28  # bytes; a deflated dataset that grows beyond is refused
MAX_RATIO = 200  # and one that grows to more than so many times its size, if that is more than
SMALL_INFLATED = 1 << 25  # bytes: empty slices and segmentations deflate to next to nothing
_UNDEFINED = 0xFFFFFFFF
_PREFIX = b"DICM"
_NUMERIC = frozenset((VR.DS, VR.IS, VR.US, VR.SS, VR.UL, VR.SL, VR.UV, VR.SV, VR.FL, VR.FD))
_SIZES = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "FL": 4, "FD": 8, "UV": 8, "SV": 8, "AT": 4}
_MULTIPLE = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI"))
_VRS = frozenset(vr.value.encode() for vr in VR if len(vr.value) == 2)
# Their pixels are elsewhere (JPIP), in a stream (SMPTE), or the retired encoding is no dataset of PS3.5.
_UNUSABLE = ("JPIP", "SMPTE", "RFC 2557", "XML Encoding", "Papyrus")
KNOWN_TRANSFER_SYNTAXES = frozenset(
    uid
    for uid, (name, kind, *_) in UID_dictionary.items()
    if kind == "Transfer Syntax" and not name.startswith(_UNUSABLE)
)


class _Watched(io.BytesIO):
    """Remembers an element's header of eight bytes that met the end of the file; zeros there only pad it."""

    cut = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size == 8 and 0 < len(data) < 8 and any(data):
            self.cut = True
        return data


def looks_like_dicom(data: bytes) -> bool:
    """Whether `data` begins as a Part 10 file, or as a dataset that came without preamble. Reads a few bytes only."""
    return data[128:132] == _PREFIX or _start_without_preamble(data) is not None


def _start_without_preamble(data: bytes) -> int | None:
    """Where the dataset of a file without preamble begins; None when `data` is no such thing.

    The first element must be of group 2 or 8 with a small element number, then a VR or a short, even length.
    """
    start = 4 if data[:4] == _PREFIX else 0
    if len(data) < start + 8:
        return None
    group, element, vr, short_length = struct.unpack_from("<HH2sH", data, start)
    if group in (0x0200, 0x0800):  # big endian is always explicit
        group, element = struct.unpack_from(">HH", data, start)
        return start if vr in _VRS and element <= 0x0070 else None
    if group not in (0x0002, 0x0008) or element > 0x0070:
        return None
    if vr in _VRS:
        return start
    (length,) = struct.unpack_from("<L", data, start + 4)
    return start if length % 2 == 0 and length <= 1024 and short_length == 0 else None


def parse(data: bytes) -> Dataset:
    """The dataset of a DICOM file, with `file_meta` that names its transfer syntax; every element has been read.

    Group 0 is left out. Raises `NotDicom`, `InvalidInstance` (cut short, broken, nested too deeply) and `Withheld` for
    a transfer syntax that is not known.
    """
    if not looks_like_dicom(data):
        raise NotDicom("The bytes are no DICOM file.")
    with quiet():
        try:
            return _parse(data)
        except CarinaError:
            raise
        except RecursionError:
            raise InvalidInstance("The sequences of the DICOM file are nested too deeply.") from None
        except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
            raise InvalidInstance("The DICOM file is damaged: an element cannot be read.") from None


def _parse(data: bytes) -> Dataset:
    file, meta = _open(data)
    syntax = meta.TransferSyntaxUID
    require_bounded(file.getvalue(), (file.tell(), len(file.getvalue())), Encoding.of(syntax))
    dataset = read_dataset(file, syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
    if file.cut or any(file.getbuffer()[file.tell() :]):
        raise _cut_short()
    for tag in [tag for tag in dataset.keys() if tag.group in (0, 2)]:  # noqa: SIM118  no iteration yet: it converts
        del dataset[tag]
    if not dataset:
        raise InvalidInstance("The DICOM file is empty: it holds no element.")
    _read_all(dataset, 0)
    dataset.file_meta = meta
    return dataset


def read_elements(data: bytes, implicit: bool) -> Dataset:
    """The dataset of little-endian elements without file meta information; every element has been read.

    For elements that were found whole in a file; call it inside `quiet()`. Raises `InvalidInstance` and pydicom's own.
    """
    require_bounded(data, (0, len(data)), Encoding(implicit))
    file = _Watched(data)
    dataset = read_dataset(file, implicit, True)
    if file.cut or file.tell() != len(data):
        raise _cut_short()
    _read_all(dataset, 0)
    return dataset


def _open(data: bytes) -> tuple[_Watched, FileMetaDataset]:
    """A stream that stands at the dataset's first element, inflated, and the file meta information."""
    file = _Watched(data)
    file.seek(132 if data[128:132] == _PREFIX else _start_without_preamble(data) or 0)
    meta = FileMetaDataset(read_dataset(file, False, True, stop_when=_outside_group(2)))
    read_dataset(file, True, True, stop_when=_outside_group(0))  # a command set, PS3.7 section 6.3
    syntax = str(meta.get("TransferSyntaxUID") or _guess_syntax(data[file.tell() : file.tell() + 6]))
    if syntax not in KNOWN_TRANSFER_SYNTAXES:
        raise Withheld(Reason.UNKNOWN_TRANSFER_SYNTAX, "The transfer syntax is not one that Carina knows.")
    meta.TransferSyntaxUID = UID(syntax)
    if syntax == DeflatedExplicitVRLittleEndian:
        file = _Watched(_inflate(data[file.tell() :]))
    return file, meta


def require_bounded(data: bytes, span: tuple[int, int], encoding: Encoding) -> None:
    """Refuse elements that would take too much memory to read: item by item, a megabyte may become a gigabyte.

    span   where the elements begin and end in `data`
    """
    start, end = span
    if end - start <= _NEED_NO_COUNT:
        return
    try:
        Count(MAX_ITEMS, MAX_ELEMENTS).dataset(data, start, end, encoding)
    except (ValueError, struct.error):  # pydicom may read it all the same; the items can be counted at least
        if data.count(b"\xff\xfe\xe0\x00" if encoding.big else b"\xfe\xff\x00\xe0", start, end) > MAX_ITEMS:
            raise _too_much() from None
    except OverflowError:
        raise _too_much() from None


@dataclass(frozen=True)
class Identifiers:
    """What names an instance to its sender, identifying; "" where the bytes do not say. Never kept, never logged."""

    sop_class: str = field(default="", repr=False)
    instance: str = field(default="", repr=False)
    study: str = field(default="", repr=False)


def identifiers(data: bytes) -> Identifiers:
    """The UIDs an instance was sent with, read from its beginning; empty for what cannot be read."""
    with quiet():
        try:
            file, meta = _open(data)
            syntax = meta.TransferSyntaxUID
            encoding = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
            head = read_dataset(file, *encoding, stop_when=lambda tag, vr, length: tag > 0x0020000D)
            return Identifiers(
                _uid(head.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")),
                _uid(head.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID")),
                _uid(head.get("StudyInstanceUID")),
            )
        except Exception:  # noqa: BLE001  what cannot be read has no names; whoever parses it says why
            return Identifiers()


def _uid(value: object) -> str:
    text = str(value or "")
    return text if len(text) <= 64 and all(sign in "0123456789." for sign in text) else ""


def _outside_group(group: int) -> Callable[[BaseTag, str | None, int], bool]:
    return lambda tag, vr, length: tag >> 16 != group


def _guess_syntax(first: bytes) -> UID:
    """What a dataset without file meta information is encoded in, by the bytes of its first element."""
    if len(first) < 6 or first[4:6] not in _VRS:
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if first[0] == 0 and first[1] != 0 else ExplicitVRLittleEndian


def _inflate(data: bytes) -> bytes:
    """PS3.5 annex A.5: raw deflate. Grows to `MAX_INFLATED` and `MAX_RATIO` at most."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    most = min(MAX_INFLATED, max(SMALL_INFLATED, MAX_RATIO * len(data)))
    inflated = stream.decompress(data, most)
    if stream.unconsumed_tail or (not stream.eof and len(inflated) == most):
        raise InvalidInstance("The deflated DICOM file grows beyond what Carina takes in.")
    if not stream.eof:
        raise _cut_short()
    return inflated


def _read_all(dataset: Dataset, depth: int) -> None:
    """Ask for each value once, so that what is broken raises now."""
    if depth > MAX_DEPTH:
        raise InvalidInstance("The sequences of the DICOM file are nested too deeply.")
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and raw.length != _UNDEFINED and raw.length != len(raw.value or b""):
            raise _cut_short()
        if isinstance(raw, RawDataElement) and raw.value and _values_of(raw) > MAX_VALUES:
            raise _too_much()
        element = dataset[tag]
        if element.VR == VR.SQ:
            for item in element.value:
                _read_all(item, depth + 1)
        elif element.VR == VR.PN:
            str(element.value)  # decodes the name
        elif element.VR in _NUMERIC and not tag.is_private:
            _require_numbers(element.value)


def _values_of(raw: RawDataElement) -> int:
    """At most how many values an element has that become objects of their own."""
    value = raw.value or b""
    vr = raw.VR or (dictionary_VR(raw.tag)[:2] if dictionary_has_tag(raw.tag) else "UN")
    if vr in _SIZES:
        return len(value) // _SIZES[vr]
    return value.count(b"\\") if len(value) > MAX_VALUES and vr in _MULTIPLE else 1


def _require_numbers(value: object) -> None:
    """pydicom leaves text as text where a number belongs; nobody looks for a person's name there."""
    for number in value if isinstance(value, MultiValue | list) else [value]:
        if number is not None and number != "" and not isinstance(number, int | float):
            raise InvalidInstance("The DICOM file is damaged: an element holds no number where it must.")


def _too_much() -> InvalidInstance:
    return InvalidInstance("The DICOM file holds more elements, items or values than Carina takes in.")


def _cut_short() -> InvalidInstance:
    return InvalidInstance("The DICOM file is damaged: it is cut short.")


PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData", "PixelDataProviderURL")


@cache
def needs_pixels(sop_class: str) -> bool:
    """Whether an instance of a SOP class of PS3.4 annex B has pixels: without, it is cut short or a header only."""
    name, kind = UID_dictionary.get(sop_class, ("", ""))[:2]
    return kind == "SOP Class" and "Image Storage" in name


def part10(meta: Dataset, dataset: bytes) -> bytes:
    """A Part 10 file of an encoded dataset, as one comes by C-STORE; `meta` holds the elements of group 2."""
    file = DicomBytesIO()
    with quiet():
        write_file_meta_info(file, FileMetaDataset(meta), enforce_standard=False)
    return bytes(128) + _PREFIX + file.getvalue() + dataset
