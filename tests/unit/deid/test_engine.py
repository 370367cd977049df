"""One engine for many instances: both its ways give the same bytes, and what it remembers changes nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from tests.support import corpus_files, ct, part10

from carina.deid.engine import files
from carina.deid.engine.admission import admit
from carina.deid.engine.engine import Engine, rewritten
from carina.deid.engine.faces import faces_of
from carina.deid.engine.handling import Handling
from carina.deid.engine.walked import Walked
from carina.deid.engine.walker import pieces
from carina.deid.profile import load_profile
from carina.deid.pseudonyms import ProjectKeys
from carina.dicom.parse import parse
from carina.dicom.quiet import quiet
from carina.errors import CarinaError, Withheld
from carina.model.ids import ProjectId
from carina.model.instance import CleanInstance, Reason

LUNG = ProjectId("lung")
RESEARCH = Handling(LUNG, load_profile("research"), ProjectKeys.of(b"k" * 32, LUNG), "HUS")
BASIC = replace(RESEARCH, profile=load_profile("basic"))


def fast(walked: Walked, data: bytes) -> CleanInstance | str | None:
    """What the way in pieces gives; None where it cannot go."""
    with quiet():
        found = pieces(data)
        try:
            written = None if found is None else walked.clean(data, found, {}, None)
        except CarinaError as error:
            return f"{type(error).__name__} {getattr(error, 'reason', '')}"
    return None if written is None else replace(written.instance, data=written.whole(data))


def slow(handling: Handling, data: bytes) -> CleanInstance | str:
    """What pydicom's way gives."""
    with quiet():
        try:
            dataset = parse(data)
            written = rewritten(dataset, handling, admit(dataset, handling, {}, None), None)
        except CarinaError as error:
            return f"{type(error).__name__} {getattr(error, 'reason', '')}"
    return replace(written.instance, data=written.before)


def varied(seed: int) -> bytes:
    """A slice with much in it: sequences, private blocks, odd lengths, empty values, other character sets."""
    source = random.Random(seed)
    original = pydicom.dcmread(BytesIO(ct(number=seed % 7 + 1)))
    original.SpecificCharacterSet = source.choice(["ISO_IR 100", "ISO_IR 192", "ISO_IR 6"])
    original.StudyDescription = source.choice(["CT Schädel nativ", "CHEST w/o contrast", "Garcia Maria"])
    signed = "SS" if original.PixelRepresentation else "US"
    original.add_new(0x00280120, signed, 2000)
    original.add_new(0x00280106, signed, source.randrange(100))
    original.AcquisitionDateTime = "20240311101500.5+0100"
    original.ImageComments = "" if source.random() < 0.5 else "a note on Garcia"
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "39607008", "SCT", "Lung of Maria"
    item.add_new(0x00280120, signed, 5)
    original.AnatomicRegionSequence = [item] * source.randrange(3)
    block = original.private_block(
        0x0019, source.choice(["SIEMENS CT VA0  COAD", "GEMS_ACQU_01", "GARCIA"]), create=True
    )
    for number in range(source.randrange(1, 6)):
        block.add_new(0x10 + 16 * number, source.choice(["LO", "DS", "UN"]), source.choice([b"1", b"12"]).decode())
    original[0x00190010].VR = "LO"
    for element in original:
        if element.VR == "UN" and isinstance(element.value, str):
            element.value = element.value.encode()
    syntax = source.choice([ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    return part10(original, syntax)


@pytest.mark.parametrize("handling", [BASIC, RESEARCH], ids=["basic", "research"])
def test_both_ways_give_the_same_bytes_facts_and_counts_for_generated_files(handling: Handling) -> None:
    walked = Walked(handling)
    for seed in range(40):
        data = varied(seed)
        found, expected = fast(walked, data), slow(handling, data)
        assert isinstance(found, CleanInstance), found
        assert found == expected
        assert found.data == expected.data and found.actions == expected.actions  # type: ignore[union-attr]


def compare_corpus(paths: list[Path], handling: Handling) -> int:
    walked, same = Walked(handling), 0
    for path in paths:
        data = path.read_bytes()
        found = fast(walked, data)
        if found is None:
            continue
        expected = slow(handling, data)
        if isinstance(found, str) or isinstance(expected, str):
            assert found == expected, path
        else:
            assert found == expected and found.data == expected.data and found.actions == expected.actions, path
            same += 1
    return same


def test_both_ways_give_the_same_bytes_for_real_files() -> None:
    paths = [path for path in corpus_files() if path.stat().st_size < 1 << 19]
    assert compare_corpus(paths[::25], RESEARCH) > 10


@pytest.mark.slow
@pytest.mark.parametrize("handling", [BASIC, RESEARCH], ids=["basic", "research"])
def test_both_ways_give_the_same_bytes_for_every_real_file(handling: Handling) -> None:
    assert compare_corpus(list(corpus_files()), handling) > 500


def test_what_an_engine_has_seen_before_changes_no_result() -> None:
    files_seen = [ct(patient=f"MRN-{number % 3}", number=number) for number in range(9)] + [varied(3), varied(4)]
    engine, order = Engine(RESEARCH), random.Random(5)
    expected = {data: Engine(RESEARCH).clean(data) for data in files_seen}
    for _ in range(3):
        order.shuffle(files_seen)
        assert all(engine.clean(data) == expected[data] for data in files_seen)


def test_the_memory_of_an_engine_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carina.deid.engine.memo._MOST_BYTES", 100_000)
    monkeypatch.setattr("carina.deid.engine.walked._MOST_CONTEXTS", 3)
    engine = Engine(BASIC)
    for number in range(12):
        data = ct(patient=f"MRN-{number}")
        assert engine.clean(data) == Engine(BASIC).clean(data)
        assert len(engine._walked._contexts) <= 4
        assert engine._walked._memo._bytes < 300_000


def test_every_element_is_counted_under_its_rule() -> None:
    instance = Engine(RESEARCH).clean(ct())
    assert sum(instance.actions.values()) >= len(pydicom.dcmread(BytesIO(ct()))) - 1
    assert all(key[:2] in ("K ", "X ", "Z ", "D ", "U ", "C ") for key in instance.actions)


@pytest.mark.parametrize(
    "syntax",
    [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian],
)
def test_a_file_is_written_where_its_clean_identity_says(syntax: str, tmp_path: Path) -> None:
    source = tmp_path / "Garcia.dcm"
    source.write_bytes(part10(pydicom.dcmread(BytesIO(ct())), syntax))
    instance = Engine(RESEARCH).clean_file(source, lambda clean: tmp_path / clean.patient / f"{clean.uid}.dcm")
    written = tmp_path / instance.patient / f"{instance.uid}.dcm"
    assert instance.data == b""
    assert written.read_bytes() == Engine(RESEARCH).clean(source.read_bytes()).data
    assert [path.name for path in written.parent.iterdir()] == [written.name]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_large_file_comes_out_as_a_small_one_does(
    syntax: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = pydicom.dcmread(BytesIO(ct(size=128)))
    original.PixelData += b"Garcia Maria"
    original.add_new(0xFFFCFFFC, "OB", b"Garcia")
    source = tmp_path / "large.dcm"
    source.write_bytes(part10(original, syntax))
    expected = Engine(RESEARCH).clean(source.read_bytes()).data
    monkeypatch.setattr(files, "LARGE", 1000)
    monkeypatch.setattr(files, "_CHUNKS", (100, 1000, 8000))
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read as a whole"))
    Engine(RESEARCH).clean_file(source, lambda clean: tmp_path / "out.dcm")
    with (tmp_path / "out.dcm").open("rb") as file:
        assert file.read() == expected


def test_what_is_withheld_leaves_no_file(tmp_path: Path) -> None:
    source = tmp_path / "in.dcm"
    source.write_bytes(ct(elements={"PatientID": ""}))
    with pytest.raises(Withheld):
        Engine(RESEARCH).clean_file(source, lambda clean: tmp_path / "out.dcm")
    assert [path.name for path in tmp_path.iterdir()] == ["in.dcm"]


# --- sources that are pseudonymous already ---------------------------------------------------------------------------


def test_a_pseudonymised_source_keeps_its_uids_dates_and_pseudonyms() -> None:
    first = Engine(RESEARCH).clean(ct())
    again = Engine(replace(RESEARCH, pseudonymised=True)).clean(first.data)
    for name in ("patient", "study_uid", "series_uid", "uid"):
        assert getattr(again, name) == getattr(first, name)
    before, after = (pydicom.dcmread(BytesIO(instance.data)) for instance in (first, again))
    assert before.StudyDate == after.StudyDate
    assert after.LongitudinalTemporalInformationModified == "MODIFIED"  # on their way here, see test_marks.py


def test_a_source_that_is_not_pseudonymous_is_withheld() -> None:
    with pytest.raises(Withheld) as caught:
        Engine(replace(RESEARCH, pseudonymised=True)).clean(ct())
    assert caught.value.reason == Reason.NOT_PSEUDONYMISED


# --- marks ----------------------------------------------------------------------------------------------------------


def test_what_the_sender_says_of_burned_in_text_and_faces_does_not_come_out() -> None:
    said = {"BurnedInAnnotation": "NO", "RecognizableVisualFeatures": "NO", "BodyPartExamined": None}
    dataset = pydicom.dcmread(BytesIO(Engine(RESEARCH).clean(ct(elements=said)).data))
    assert "BurnedInAnnotation" not in dataset
    assert "RecognizableVisualFeatures" not in dataset


@pytest.mark.parametrize(
    ("part", "expected"), [("CHEST", "NO"), ("HEAD", "YES"), ("NECK", "YES"), ("", ""), ("SOMETHING", "")]
)
def test_faces_are_told_by_the_part_of_the_body(part: str, expected: str) -> None:
    dataset = Dataset()
    dataset.Modality, dataset.BodyPartExamined = "CT", part
    assert faces_of(dataset) == expected


def test_a_profile_that_asks_for_no_faces_withholds_what_may_show_one() -> None:
    strict = replace(BASIC, profile=load_profile('name = "a"\noptions = ["clean_recognizable_visual_features"]'))
    chest = Engine(strict).clean(ct(elements={"BodyPartExamined": "CHEST"}))
    codes = [item.CodeValue for item in pydicom.dcmread(BytesIO(chest.data)).DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113102"]
    for part in ("HEAD", None):
        with pytest.raises(Withheld) as caught:
            Engine(strict).clean(ct(elements={"BodyPartExamined": part}))
        assert caught.value.reason == Reason.CONTENT_NOT_CHECKED
