"""Clean headers that are taken over from instances before are those that each instance has by itself."""

from __future__ import annotations

import random
from collections.abc import Iterator
from io import BytesIO

import pydicom
import pytest
from tests.support import ct

from carina.deid.engine.alike import CleanHeader
from carina.deid.engine.engine import Engine
from carina.deid.engine.handling import Handling
from carina.deid.profile import load_profile
from carina.deid.pseudonyms import ProjectKeys
from carina.errors import Withheld
from carina.model.ids import ProjectId

LUNG = ProjectId("lung")
HANDLING = Handling(LUNG, load_profile("research"), ProjectKeys.of(b"k" * 32, LUNG))
VARIED: dict[str, list[object]] = {
    "SliceLocation": ["1.25", "2.5", None],
    "AcquisitionTime": ["101500", "101501.5"],
    "AcquisitionDate": ["20240311", "20240312"],
    "ImageComments": ["AX LUNG", "for Garcia", None],
    "OperatorsName": ["Okafor^Ada", "Li^Wu", None],
    "BodyPartExamined": ["CHEST", "HEAD", None],
    "PatientSex": ["F", "M"],
    "SeriesDescription": ["LUNG 1.25mm", "Li 1.25mm", "Garcia"],
    "WindowWidth": ["1500", "1600"],
    "PatientID": ["MRN-1", "MRN-2"],
    "SpecificCharacterSet": ["ISO_IR 100", "ISO_IR 192"],
    "BurnedInAnnotation": ["NO", None],
    "IrradiationEventUID": ["1.2.3.4", None],
}


@pytest.fixture
def taken_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether each header was compared with success."""
    found: list[bool] = []
    real = CleanHeader.like_this

    def watched(self: CleanHeader, *given: object) -> CleanHeader | None:
        header = real(self, *given)  # type: ignore[arg-type]
        found.append(header is not None)
        return header

    monkeypatch.setattr(CleanHeader, "like_this", watched)
    yield found


@pytest.mark.parametrize("seed", range(4))
def test_one_engine_gives_a_series_as_an_engine_for_each_instance_does(seed: int, taken_over: list[bool]) -> None:
    choose, engine = random.Random(seed), Engine(HANDLING)
    now = {keyword: values[0] for keyword, values in VARIED.items()}
    for number in range(40):
        for keyword in choose.sample(sorted(VARIED), choose.choice((0, 1, 1, 2))):
            now[keyword] = choose.choice(VARIED[keyword])
        elements = {keyword: value for keyword, value in now.items() if value is not None}
        data = ct(number=number, elements=elements)
        one, other = engine.clean(data), Engine(HANDLING).clean(data)
        assert one == other and one.actions == other.actions and one.data == other.data
    assert taken_over.count(True) > 10


def _with_private(number: int, creator: str, safe: str, unsafe: str | None) -> bytes:
    """A CT with a block of two private elements on the safe list under one creator, and one that is on no list."""
    dataset = pydicom.dcmread(BytesIO(ct(number=number)))
    dataset.add_new(0x00E10010, "LO", creator)
    dataset.add_new(0x00E11021, "DS", safe)
    dataset.add_new(0x00E11022, "DS", "7.5" if safe == "1.5" else "")
    if unsafe is not None:
        dataset.add_new(0x00E110FE, "LO", unsafe)
    dataset.save_as(file := BytesIO())
    return file.getvalue()


@pytest.mark.parametrize("profile", ["basic", "research"])
@pytest.mark.parametrize("seed", range(3))
def test_private_elements_that_differ_are_taken_over_with_their_creators(
    profile: str, seed: int, taken_over: list[bool]
) -> None:
    handling = Handling(LUNG, load_profile(profile), HANDLING.keys)
    choose, engine = random.Random(seed), Engine(handling)
    creators = set()
    for number in range(40):
        creator, safe = choose.choice(("ELSCINT1", "ELSCINT1", "NOBODY")), choose.choice(("1.5", "2.5", ""))
        data = _with_private(number, creator, safe, choose.choice(("Okafor", "4711", None)))
        one, other = engine.clean(data), Engine(handling).clean(data)
        assert one.actions == other.actions and one.data == other.data
        creators.add(b"ELSCINT1" in one.data)
        assert b"NOBODY" not in one.data and b"Okafor" not in one.data
    assert taken_over.count(True) > 10
    assert creators == ({True, False} if profile == "research" else {False})


def test_an_instance_without_its_uid_is_not_taken_for_the_one_before() -> None:
    engine = Engine(HANDLING)
    engine.clean(data := ct())
    uid = pydicom.dcmread(BytesIO(data)).SOPInstanceUID.encode()
    with pytest.raises(Withheld):
        engine.clean(data.replace(uid, bytes(len(uid))))


def test_a_series_is_taken_over_from_its_first(taken_over: list[bool]) -> None:
    engine = Engine(HANDLING)
    for number in range(1, 6):
        engine.clean(ct(number=number))
    assert taken_over == [True] * 4
