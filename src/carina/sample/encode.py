"""DICOM Part 10 bytes, fast: a series' header is encoded once, then only what changes from image to image.

Source: PS3.10 section 7 (file meta information), PS3.5 section 7 (data elements in order of their tags).
"""

from __future__ import annotations

import struct
from typing import Any

from pydicom.charset import convert_encodings
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element, write_file_meta_info
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from carina.sample.draws import uid

IMPLEMENTATION = uid("implementation")
PIXEL_DATA = 0x7FE00010


def elements(header: Dataset, character_set: str, implicit: bool) -> dict[int, bytes]:
    """Each data element of `header` encoded, by tag; little endian."""
    out = DicomBytesIO()
    out.is_little_endian = True
    out.is_implicit_VR = implicit
    encodings: Any = convert_encodings([character_set])
    encoded: dict[int, bytes] = {}
    begin = 0
    for element in header:
        write_data_element(out, element, encodings)
        end = out.tell()
        encoded[int(element.tag)] = out.getvalue()[begin:end] if end - begin else b""
        begin = end
    return encoded


def pixels(data: bytes, implicit: bool, vr: bytes = b"OW") -> bytes:
    """The element Pixel Data (7FE0,0010), uncompressed."""
    padded = data + b"\0" * (len(data) % 2)
    if implicit:
        return struct.pack("<HHL", 0x7FE0, 0x0010, len(padded)) + padded
    return struct.pack("<HH2sHL", 0x7FE0, 0x0010, vr, 0, len(padded)) + padded


def part10(sop_class: str, sop_instance: str, encoded: dict[int, bytes], implicit: bool) -> bytes:
    """A whole file of encoded elements."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(sop_instance)
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION)
    meta.ImplementationVersionName = "CARINA_SAMPLE"
    out = DicomBytesIO()
    out.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(out, meta)
    return out.getvalue() + b"".join(encoded[tag] for tag in sorted(encoded))
