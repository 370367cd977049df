"""How an instance was sent, read from its first bytes."""

from __future__ import annotations

from io import BytesIO

import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from tests.support import corpus_files, ct, part10

from carina.dicom import names
from carina.dicom.names import sent_as
from carina.dicom.parse import Identifiers, identifiers

SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("step", [100, 5000, 10**6])
def test_the_names_are_those_that_pydicom_reads(syntax: str, step: int) -> None:
    data = part10(pydicom.dcmread(BytesIO(ct())), syntax)
    found = sent_as([data[start : start + step] for start in range(0, len(data), step)])
    assert found.names == identifiers(data) and found.agrees
    assert all((found.names.sop_class, found.names.instance, found.names.study))


def test_an_ordinary_file_needs_no_pydicom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "identifiers", lambda data: pytest.fail("pydicom was asked"))
    assert sent_as([ct()]).names.instance


def test_names_far_behind_a_long_private_element_are_found() -> None:
    dataset = pydicom.dcmread(BytesIO(ct()))
    dataset.private_block(0x0009, "LONG", create=True).add_new(1, "OB", bytes(100_000))
    data = part10(dataset)
    parts = [data[start : start + 65536] for start in range(0, len(data), 65536)]
    assert sent_as(parts).names == identifiers(data)


def test_another_class_in_the_file_meta_information_shows() -> None:
    data = ct()
    start = data.index(b"1.2.840.10008.5.1.4.1.1.2")
    assert not sent_as([data[:start] + b"1.2.840.10008.5.1.4.1.1.4" + data[start + 25 :]]).agrees


@pytest.mark.parametrize("data", [b"", b"text", bytes(200), ct()[:140], ct()[:160]])
def test_what_cannot_be_read_has_no_names(data: bytes) -> None:
    assert sent_as([data]).names == Identifiers()


def test_real_files_have_the_names_that_pydicom_reads() -> None:
    for path in corpus_files():
        data = path.read_bytes()
        expected, found = identifiers(data), sent_as([data]).names
        assert found == expected or (expected.instance == "" and found.instance), path.name
