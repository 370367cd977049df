"""What a clean instance says of its own de-identification is true of this very instance."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian
from tests.support import LUNG, ct, part10

from carina.app.deid_pool import Task, Told
from carina.app.deid_work import Worker
from carina.deid.engine.engine import Engine
from carina.deid.engine.handling import Handling
from carina.deid.pixels.findings import Findings, Need
from carina.deid.pixels.plain import Route
from carina.deid.profile import load_profile
from carina.deid.pseudonyms import ProjectKeys

RESEARCH = Handling(LUNG, load_profile("research"), ProjectKeys.of(b"k" * 32, LUNG))
BASIC = replace(RESEARCH, profile=load_profile("basic"))
LOOKED = Findings((), "test")
HEADER_OPTIONS = ["113103", "113104", "113105", "113107", "113108", "113109", "113111"]


def released(data: bytes, handling: Handling = RESEARCH, findings: Findings | None = None) -> Dataset:
    return pydicom.dcmread(BytesIO(Engine(handling).clean(data, findings=findings).data))


def codes_of(dataset: Dataset) -> list[str]:
    return [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence]


def pseudonymous(*codes: str, syntax: str = ExplicitVRLittleEndian, **said: str) -> bytes:
    """A slice that was de-identified before, by these methods of DCM."""
    dataset = pydicom.dcmread(BytesIO(ct()))
    dataset.PatientIdentityRemoved = "YES"
    methods = [Dataset() for _ in codes]
    for method, code in zip(methods, codes, strict=True):
        method.CodeValue, method.CodingSchemeDesignator, method.CodeMeaning = code, "DCM", "a method"
    dataset.DeidentificationMethodCodeSequence = Sequence(methods)
    for keyword, value in said.items():
        setattr(dataset, keyword, value)
    return part10(dataset, syntax)


def passed_on(data: bytes, handling: Handling = RESEARCH) -> Dataset:
    return released(data, replace(handling, pseudonymised=True))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("said", "code"), [("MODIFIED", "113107"), ("UNMODIFIED", "113106"), ("REMOVED", ""), ("", ""), ("PERHAPS", "")]
)
def test_of_a_pseudonymised_source_the_dates_are_what_it_says_they_are(said: str, code: str, syntax: str) -> None:
    clean = passed_on(pseudonymous("113100", syntax=syntax, LongitudinalTemporalInformationModified=said))
    assert clean.get("LongitudinalTemporalInformationModified", "") == (said if said != "PERHAPS" else "")
    assert [found for found in codes_of(clean) if found in ("113106", "113107")] == ([code] if code else [])


def test_a_source_that_says_nothing_of_its_dates_is_told_nothing_of_them() -> None:
    clean = passed_on(pseudonymous())
    assert "LongitudinalTemporalInformationModified" not in clean
    assert not {"113106", "113107", "113110"} & set(codes_of(clean))


def test_what_comes_back_says_of_itself_what_it_said_when_it_went() -> None:
    for findings in (None, LOOKED):
        first = Engine(RESEARCH).clean(ct(), findings=findings).data
        once, again = pydicom.dcmread(BytesIO(first)), passed_on(first)
        assert codes_of(again) == codes_of(once)
        assert again.LongitudinalTemporalInformationModified == "MODIFIED"


def test_one_engine_tells_apart_what_two_files_say_of_their_way() -> None:
    engine = Engine(replace(RESEARCH, pseudonymised=True))
    for code, said in (("113106", "UNMODIFIED"), ("113107", "MODIFIED"), ("113106", "UNMODIFIED")):
        data = engine.clean(pseudonymous(code, LongitudinalTemporalInformationModified=said)).data
        assert code in codes_of(pydicom.dcmread(BytesIO(data)))


def test_what_was_cleaned_before_stays_named_and_what_was_retained_only_if_it_still_is() -> None:
    before = ("113101", "113102", "113105", "113108", "113110", "113112", "121328")
    assert codes_of(passed_on(pseudonymous(*before), BASIC)) == ["113100", "113101", "113102", "113105", "113110"]


def test_of_a_head_whose_face_was_removed_before_nobody_says_that_it_shows_one() -> None:
    assert passed_on(pseudonymous(BodyPartExamined="HEAD")).RecognizableVisualFeatures == "YES"
    assert "RecognizableVisualFeatures" not in passed_on(pseudonymous("113102", BodyPartExamined="HEAD"))


def test_what_an_ordinary_source_says_of_methods_and_dates_is_not_passed_on() -> None:
    clean = released(pseudonymous("113101", "113106", LongitudinalTemporalInformationModified="UNMODIFIED"))
    assert codes_of(clean) == ["113100", *HEADER_OPTIONS]
    assert clean.LongitudinalTemporalInformationModified == "MODIFIED"


def test_the_options_for_the_header_are_named_where_they_were_used() -> None:
    assert codes_of(released(ct())) == ["113100", *HEADER_OPTIONS]
    assert codes_of(released(ct(), BASIC)) == ["113100", "113107"]
    bare = replace(BASIC, profile=load_profile('name = "bare"'))
    clean = released(ct(), bare)
    assert codes_of(clean) == ["113100"] and clean.LongitudinalTemporalInformationModified == "REMOVED"


def test_clean_pixels_are_named_where_they_were_searched_and_nowhere_else() -> None:
    searched, passed = released(ct(), findings=LOOKED), released(ct())
    assert "113101" in codes_of(searched) and searched.BurnedInAnnotation == "NO"
    assert "113101" not in codes_of(passed) and "BurnedInAnnotation" not in passed
    without = released(ct(), BASIC, LOOKED)
    assert "113101" not in codes_of(without) and "BurnedInAnnotation" not in without


def test_where_there_are_no_pixels_none_were_cleaned() -> None:
    plan = pydicom.dcmread(BytesIO(ct()))
    plan.SOPClassUID, plan.Modality = "1.2.840.10008.5.1.4.1.1.481.3", "RTSTRUCT"
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(plan, keyword)
    clean = released(part10(plan), findings=LOOKED)
    assert "113101" not in codes_of(clean) and "BurnedInAnnotation" not in clean


class Eyes:
    """Finds no text, in an image of a kind of which one stands for the others."""

    def route(self, *_: object) -> Route:
        return Route(Need.SAMPLE, "L")

    def is_suspicious(self, *_: object) -> bool:
        return False

    def examine(self, *_: object) -> Findings:
        return LOOKED

    def close(self) -> None:
        pass


def test_the_tool_says_of_no_plain_image_of_a_clean_layout_that_it_was_searched(tmp_path: Path) -> None:
    worker: Any = Worker(Told(tmp_path / "out", load_profile("research"), b"k" * 32, LUNG))
    worker._looker = Eyes()
    for number, sample, verdicts in ((1, "L", {}), (2, "", {"L": "clean"})):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(ct(number=number))
        done = worker.do(Task(str(path), 1, 1, sample_of=sample), verdicts)
        clean = pydicom.dcmread(tmp_path / "out" / done.target)
        assert "BurnedInAnnotation" not in clean and "113101" not in codes_of(clean)
