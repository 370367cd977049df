"""Whatever arrives: it comes out clean, or it is refused with a named reason, in little time and memory."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
import zlib
from io import BytesIO

import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from tests.support import ct, part10

from carina.deid.engine.engine import Engine
from carina.deid.engine.handling import Handling
from carina.deid.engine.verify import reread, sought, sought_in_all
from carina.deid.profile import load_profile
from carina.deid.pseudonyms import ProjectKeys
from carina.dicom.parse import parse
from carina.dicom.quiet import quiet
from carina.errors import InvalidInstance, NotDicom, Withheld
from carina.model.ids import ProjectId
from carina.model.instance import CleanInstance, Reason

LUNG = ProjectId("lung")
PROFILE = load_profile("research")
ENGINE = Engine(Handling(LUNG, PROFILE, ProjectKeys.of(b"k" * 32, LUNG)))
MOST_SECONDS = 20.0  # CPU; pytest's and tracemalloc's own tracing included
MOST_MEMORY = 600 * 2**20
SLICE = ct()
START = 144 + struct.unpack_from("<L", SLICE, 140)[0]  # of the dataset
PIXELS = SLICE.index(b"\xe0\x7f\x10\x00OW")
EXPLICIT, IMPLICIT = b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0"


def behead(syntax: bytes, body: bytes) -> bytes:
    """A file with the file meta information of this transfer syntax, then `body`."""
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    return bytes(128) + b"DICM" + struct.pack("<HH2sHL", 2, 0, b"UL", 4, len(meta)) + meta + body


def explicit(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element with a long length field."""
    said = len(value) if length is None else length
    return struct.pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, said) + value


def refused(data: bytes, *kinds: type[Exception], traced: bool = True) -> Exception:
    """The error that these bytes meet, soon and with little memory; its text quotes nothing of them."""
    if traced:
        tracemalloc.start()
    begun = time.process_time()
    try:
        with pytest.raises(kinds or (InvalidInstance, NotDicom, Withheld)) as caught:
            ENGINE.clean(data)
        assert not traced or tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < MOST_SECONDS
    assert "Garcia" not in str(caught.value) and "MRN" not in str(caught.value)
    return caught.value


def clean_or_refused(data: bytes) -> CleanInstance | None:
    """The clean instance, in which nothing is left; None if it was refused. Anything else fails."""
    try:
        instance = ENGINE.clean(data)
    except (InvalidInstance, NotDicom, Withheld):
        return None
    with quiet():
        wanted = sought(sought_in_all(parse(data)), PROFILE.options, frozenset({instance.patient}), 0)
        assert [str(left) for left in reread(instance.data, wanted)] == []
    return instance


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 200, b"%PDF-1.7 " + bytes(300), b"DICM", random.Random(1).randbytes(4096)],
    ids=["nothing", "zeros", "pdf", "only the prefix", "noise"],
)
def test_what_is_no_dicom_file_is_refused(data: bytes) -> None:
    refused(data, NotDicom, InvalidInstance)


def test_a_file_with_nothing_after_its_prefix_is_refused() -> None:
    refused(bytes(128) + b"DICM", InvalidInstance)
    refused(SLICE[:START], InvalidInstance)


def test_a_file_that_is_cut_anywhere_is_refused() -> None:
    boundary = []
    for end in [*range(START + 1, PIXELS, 5), *range(PIXELS + 1, len(SLICE), 97), len(SLICE) - 1]:
        if clean_or_refused(SLICE[:end]) is not None:
            boundary.append(end)
    assert boundary == []


def test_an_image_that_lost_its_pixel_data_is_refused() -> None:
    refused(SLICE[:PIXELS], InvalidInstance, Withheld)


def test_a_private_or_unusable_transfer_syntax_is_withheld() -> None:
    for syntax in (b"1.2.840.113619.5.2", b"1.2.3.4\0", b"1.2.840.10008.1.2.4.94"):
        error = refused(behead(syntax, SLICE[START:]), Withheld)
        assert isinstance(error, Withheld) and error.reason is Reason.UNKNOWN_TRANSFER_SYNTAX


def test_a_transfer_syntax_that_lies_is_refused_or_leaves_nothing() -> None:
    for syntax in (
        IMPLICIT,
        b"1.2.840.10008.1.2.2\0",
        b"1.2.840.10008.1.2.1.99",
        b"1.2.840.10008.1.2.4.90",
        b"1.2.840.10008.1.2.5\0",
    ):
        clean_or_refused(behead(syntax, SLICE[START:]))
    with quiet():
        dataset = pydicom.dcmread(BytesIO(SLICE))
        implicit = part10(dataset, ImplicitVRLittleEndian)
    begin = 144 + struct.unpack_from("<L", implicit, 140)[0]
    clean_or_refused(behead(EXPLICIT, implicit[begin:]))


def test_a_deflated_bomb_is_refused() -> None:
    stream = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(stream.compress(bytes(1 << 20)) for _ in range(300)) + stream.flush()
    refused(behead(DeflatedExplicitVRLittleEndian.encode() + b"", bomb), InvalidInstance)


@pytest.mark.parametrize("depth", [80, 900, 20_000])
def test_sequences_within_sequences_are_refused(depth: int) -> None:
    opening = explicit(0x00081140, b"SQ", b"", 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    closing = struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)
    head, tail = SLICE[START : SLICE.index(b"\x10\x00\x10\x00PN")], SLICE[SLICE.index(b"\x10\x00\x10\x00PN") :]
    refused(behead(EXPLICIT, head + opening * depth + closing * depth + tail), InvalidInstance)


def test_defined_lengths_within_each_other_are_refused() -> None:
    inner = b""
    for _ in range(2000):
        item = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
        inner = explicit(0x00081140, b"SQ", item)
    refused(behead(EXPLICIT, SLICE[START:PIXELS] + inner), InvalidInstance)


@pytest.mark.slow
def test_hundreds_of_thousands_of_empty_items_are_refused() -> None:
    items = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 300_000
    for length in (len(items), 0xFFFFFFFF):
        end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0) if length == 0xFFFFFFFF else b""
        refused(
            behead(EXPLICIT, SLICE[START:PIXELS] + explicit(0x00880200, b"SQ", items, length) + end), InvalidInstance
        )


def test_millions_of_elements_are_refused() -> None:
    many = b"".join(struct.pack("<HH2sH", 0x0009, number & 0xFFFF, b"LO", 0) for number in range(65536)) * 20
    refused(behead(EXPLICIT, SLICE[START : START + 8] + many), InvalidInstance)


def test_millions_of_values_in_one_element_are_refused() -> None:
    numbers = b"1\\" * 2_000_000
    with quiet():
        implicit = part10(pydicom.dcmread(BytesIO(SLICE)), ImplicitVRLittleEndian)
    begin = 144 + struct.unpack_from("<L", implicit, 140)[0]
    end = implicit.index(b"\xe0\x7f\x10\x00")
    for tag in (0x30060050, 0x00720082):
        element = struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(numbers)) + numbers
        refused(behead(IMPLICIT, implicit[begin:end] + element + implicit[end:]), InvalidInstance)


@pytest.mark.parametrize("length", [0x7FFFFFFE, 0xFFFFFFFE, 0xFFFFFFFF])
@pytest.mark.parametrize("vr", [b"OB", b"UT", b"UN", b"SQ"])
def test_an_element_that_says_it_has_gigabytes_is_refused(vr: bytes, length: int) -> None:
    refused(behead(EXPLICIT, SLICE[START:PIXELS] + explicit(0x00880904, vr, b"Garcia Maria", length)), InvalidInstance)


def test_lengths_that_are_wrong_are_refused_or_leave_nothing() -> None:
    place = START
    while place < PIXELS:  # every element's length, one more, two less, and very long
        (length,) = struct.unpack_from("<H", SLICE, place + 6)
        for wrong in (length + 1, max(length - 2, 0), 0xFFF0):
            clean_or_refused(SLICE[: place + 6] + struct.pack("<H", wrong) + SLICE[place + 8 :])
        place += 8 + length


@pytest.mark.parametrize(
    "charset",
    [
        "ISO_IR 999",
        "nonsense",
        ["", "ISO 2022 IR 87", "ISO_IR 192"],
        "ISO_IR 192\\ISO_IR 192",
        "GB18030",
        "ISO 2022 IR 149",
    ],
)
def test_a_character_set_that_lies_leaves_nothing(charset: str | list[str]) -> None:
    with quiet():
        dataset = pydicom.dcmread(BytesIO(SLICE))
        dataset[0x00100010] = DataElement(0x00100010, "PN", "Ñunezarroyo^Íñigo".encode())
        dataset[0x0008103E] = DataElement(0x0008103E, "LO", "LUNG Ñunezarroyo Íñigo".encode())
        data = part10(dataset)
        name = charset if isinstance(charset, str) else "\\".join(charset)
        value = name.encode() + b" " * (len(name) % 2)
        old = data.index(b"\x08\x00\x05\x00CS")
        (length,) = struct.unpack_from("<H", data, old + 6)
        data = data[: old + 6] + struct.pack("<H", len(value)) + value + data[old + 8 + length :]
    instance = clean_or_refused(data)
    assert instance is None or (b"unezarroyo" not in instance.data.lower() and b"igo" not in instance.data)


def test_big_endian_deflated_and_headless_files_that_are_damaged_are_refused() -> None:
    with quiet():
        for syntax in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian):
            dataset = pydicom.dcmread(BytesIO(SLICE))
            data = part10(dataset, syntax)
            refused(data[: len(data) // 2 + 1], InvalidInstance)
    refused(SLICE[132 : PIXELS + 100], InvalidInstance)


def test_bytes_changed_at_random_are_refused_or_leave_nothing() -> None:
    luck = random.Random(7)
    for _ in range(150):
        data = bytearray(SLICE)
        for _ in range(luck.choice((1, 2, 8))):
            data[luck.randrange(START, PIXELS)] = luck.choice((0, 0xFF, 0x5C, luck.randrange(256)))
        clean_or_refused(bytes(data))
