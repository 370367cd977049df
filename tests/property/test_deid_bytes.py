"""Bytes that were damaged in any way come out clean or are refused; an engine that has seen much forgets no rule."""

from __future__ import annotations

from io import BytesIO
from string import ascii_lowercase

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from tests.support import ct, part10

from carina.deid.engine.engine import Engine
from carina.deid.engine.handling import Handling
from carina.deid.engine.needles import Kind
from carina.deid.engine.verify import check_element, reread, sought, sought_in_all
from carina.deid.profile import load_profile
from carina.deid.pseudonyms import ProjectKeys
from carina.deid.words.vocabulary import kind_of
from carina.dicom.parse import parse
from carina.dicom.quiet import quiet
from carina.errors import CarinaError
from carina.model.ids import ProjectId

LUNG = ProjectId("lung")
PROFILE = load_profile("research")
ENGINE = Engine(Handling(LUNG, PROFILE, ProjectKeys.of(b"k" * 32, LUNG)))
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)


def encoded(syntax: str) -> bytes:
    with quiet():
        dataset = pydicom.dcmread(BytesIO(ct()))
        dataset["PixelData"].VR = "OW"
        return part10(dataset, syntax)


FILES = {syntax: encoded(syntax) for syntax in SYNTAXES}
some = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
many = settings(some, max_examples=1500)
names = st.text(ascii_lowercase, min_size=5, max_size=12).filter(lambda word: kind_of(word.upper()) is None)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file some of whose bytes were changed, cut out, doubled or put in."""
    data = bytearray(FILES[draw(st.sampled_from(SYNTAXES))])
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(128, min(len(data) - 1, 1600)))
        what = draw(st.sampled_from(("change", "cut", "double", "insert", "end")))
        size = draw(st.integers(1, 24))
        if what == "change":
            data[place : place + size] = draw(st.binary(min_size=size, max_size=size))
        elif what == "cut":
            del data[place : place + size]
        elif what == "double":
            data[place:place] = data[place : place + size]
        elif what == "insert":
            data[place:place] = draw(st.binary(min_size=size, max_size=size))
        else:
            del data[len(data) - size :]
    return bytes(data)


def clean_or_refused(data: bytes) -> None:
    try:
        instance = ENGINE.clean(data)
    except CarinaError:
        return
    wanted = sought(sought_in_all(parse(data)), PROFILE.options, frozenset({instance.patient}), 0)
    assert [str(left) for left in reread(instance.data, wanted) if left.kind != Kind.DATE] == []


@some
@given(damaged())
def test_damaged_bytes_come_out_clean_or_are_refused(data: bytes) -> None:
    clean_or_refused(data)


@pytest.mark.slow
@many
@given(damaged())
def test_much_damaged_bytes_come_out_clean_or_are_refused(data: bytes) -> None:
    clean_or_refused(data)


@some
@given(
    names,
    st.sampled_from(("LO", "LT", "OB", "UN", "OW", "UT", "CS", "SH")),
    st.binary(max_size=40),
    st.binary(max_size=40),
)
def test_a_name_among_any_bytes_is_found_in_each_encoding(name: str, vr: str, before: bytes, after: bytes) -> None:
    dataset = pydicom.Dataset()
    dataset.PatientName = f"{name}^X"
    wanted = sought(sought_in_all(dataset), (), frozenset(), -100)
    for encoding in ("ascii", "utf-16-le", "utf-16-be"):
        for text in (name, name.upper(), name.title()):
            framed = before + b"\xff~" + text.encode(encoding) + b"~\xff" + after
            if encoding == "ascii" or len(name) > 5:
                assert check_element(0x00091010, vr, framed, wanted) is not None, (encoding, text)
