"""A clean dataset as a DICOM Part 10 file."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field, replace

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from carina.model.instance import CleanInstance

IMPLEMENTATION_CLASS_UID = UID("2.25.276730125451314215964182458534966934860")
"""Made once, a random UUID; (0002,0012) of every file that this engine writes."""


@dataclass(frozen=True)
class Written:
    """A clean instance as it is to be written: bytes, then pixels that stay as they came, then bytes.

    instance   without its `data`
    pixels     where these pixels begin and end in the source, if there are any
    """

    instance: CleanInstance
    before: bytes = field(repr=False)
    pixels: tuple[int, int] = (0, 0)
    after: bytes = field(default=b"", repr=False)

    def whole(self, source: bytes) -> bytes:
        """The Part 10 file."""
        first, last = self.pixels
        return b"".join((self.before, memoryview(source)[first:last], self.after)) if last else self.before


def encoded(clean: Dataset, syntax: UID) -> bytes:
    """A Part 10 file: an empty preamble, only the file meta information that must be, and the dataset."""
    file = DicomBytesIO()
    file.is_little_endian = syntax != ExplicitVRBigEndian
    file.is_implicit_VR = syntax == ImplicitVRLittleEndian
    write_dataset(file, clean)
    data = file.getvalue()
    if syntax == DeflatedExplicitVRLittleEndian:
        data = deflated(data)
    return file_header(clean.SOPClassUID, clean.SOPInstanceUID, syntax) + data


def deflated(data: bytes) -> bytes:
    """PS3.5 annex A.5: raw deflate, of even length."""
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = stream.compress(data) + stream.flush()
    return data + bytes(len(data) % 2)


def file_header(sop_class: str, instance: str, syntax: str) -> bytes:
    """Preamble and file meta information: what must be by PS3.10 table 7.1-1, and nothing of the sender's."""
    elements = _VERSION + b"".join(
        _uid(number, uid)
        for number, uid in ((0x02, sop_class), (0x03, instance), (0x10, syntax), (0x12, IMPLEMENTATION_CLASS_UID))
    )
    return bytes(128) + b"DICM\x02\0\0\0UL\4\0" + len(elements).to_bytes(4, "little") + elements


_VERSION = b"\x02\0\x01\0OB\0\0\x02\0\0\0\0\1"  # (0002,0001) File Meta Information Version


def _uid(number: int, uid: str) -> bytes:
    """An element of group 2 and VR UI, explicit and little-endian."""
    value = uid.encode("ascii")
    value += bytes(len(value) % 2)
    return struct.pack("<HH2sH", 2, number, b"UI", len(value)) + value


def without_bytes(clean: CleanInstance) -> CleanInstance:
    """The same, for those who need to know of it and not its file."""
    return replace(clean, data=b"")
