"""A worker of the folder tool: which images are searched for text, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import pydicom
import pytest
from tests.support import ct

from carina.app import deid_pool, deid_work
from carina.app.deid_pool import BLIND, FAILED, THERE, UNWRITABLE, WAITING, Done, Task, Told
from carina.app.deid_records import CLEAN, TEXT
from carina.app.deid_work import Worker
from carina.deid.evidence.report import DUPLICATE
from carina.deid.pixels.findings import Box, Findings, Need
from carina.deid.pixels.plain import Route
from carina.deid.profile import load_profile
from carina.errors import FinderUnavailable, Withheld
from carina.model.ids import ProjectId
from carina.model.instance import Reason

NONE, SAMPLE, ALL = Route(Need.NONE, ""), Route(Need.SAMPLE, "L"), Route(Need.ALL, "")
BOX = Box(0, 0, 4, 4)


class Eyes:
    """Sees what it is told, and remembers how often it was asked to look."""

    def __init__(self, route: Route, *boxes: Box, proven: bool = True, suspicious: bool = False) -> None:
        self._route, self._suspicious = route, suspicious
        self._findings = Findings(boxes, "test", proven=proven)
        self.looks = 0

    def route(self, *_: object) -> Route:
        return self._route

    def is_suspicious(self, *_: object) -> bool:
        return self._suspicious

    def examine(self, *_: object) -> Findings:
        self.looks += 1
        return self._findings

    def close(self) -> None:
        pass


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    yield Told(tmp_path / "out", load_profile("basic"), b"k" * 32, ProjectId("lung"))


def done(told: Told, eyes: Eyes, verdict: str = "", *, is_sample: bool = False) -> Done:
    path = told.output.parent / "in.dcm"
    path.write_bytes(ct())
    worker: Any = Worker(told)
    worker._looker = eyes
    found: Done = worker.do(
        Task(str(path), 1, 1, sample_of="L" if is_sample else ""), {"L": verdict} if verdict else {}
    )
    return found


def test_an_image_that_can_show_no_text_passes_unseen(told: Told) -> None:
    eyes = Eyes(NONE, BOX)
    found = done(told, eyes)
    assert (found.outcome, found.looked, eyes.looks) == ("released", "", 0)


def test_a_plain_image_waits_until_its_layout_is_judged(told: Told) -> None:
    found = done(told, Eyes(SAMPLE))
    assert (found.outcome, found.layout) == (WAITING, "L") and not told.output.exists()


def test_a_clean_sample_is_written_like_those_that_pass_for_it(told: Told) -> None:
    sample = done(told, Eyes(SAMPLE), is_sample=True)
    assert (sample.outcome, sample.looked, sample.layout) == ("released", CLEAN, "L")
    first = (told.output / sample.target).read_bytes()
    eyes = Eyes(SAMPLE)
    other = done(told, eyes, CLEAN)
    assert (other.looked, eyes.looks) == ("", 0)
    assert (told.output / other.target).read_bytes() == first


def test_strokes_in_an_image_of_a_clean_layout_have_it_searched(told: Told) -> None:
    eyes = Eyes(SAMPLE, suspicious=True)
    assert done(told, eyes, CLEAN).looked == CLEAN and eyes.looks == 1


def test_without_samples_only_strokes_have_an_image_searched(told: Told) -> None:
    told = replace(told, sample=False)
    quiet, loud = Eyes(SAMPLE), Eyes(SAMPLE, suspicious=True)
    assert done(told, quiet).outcome == "released" and quiet.looks == 0
    assert done(replace(told, output=told.output / "b"), loud).outcome == "released" and loud.looks == 1


@pytest.mark.parametrize(("route", "verdict"), [(ALL, ""), (SAMPLE, TEXT)])
def test_images_that_may_show_text_are_all_searched(told: Told, route: Route, verdict: str) -> None:
    eyes = Eyes(route)
    found = done(told, eyes, verdict)
    assert (found.outcome, found.looked, found.verdict, eyes.looks) == ("released", CLEAN, verdict, 1)


def test_text_that_could_not_be_blanked_is_withheld_and_judges_the_layout(told: Told) -> None:
    found = done(told, Eyes(SAMPLE, BOX, proven=False), is_sample=True)
    assert (found.outcome, found.looked, found.layout) == (Reason.TEXT_IN_PIXELS, TEXT, "L")


def test_a_profile_with_readers_withholds_what_shows_text(told: Told) -> None:
    told = replace(told, profile=replace(told.profile, review="one"))
    assert done(told, Eyes(ALL, BOX)).outcome == Reason.TEXT_IN_PIXELS
    assert not list(told.output.rglob("*.dcm"))


def test_an_image_that_cannot_be_searched_is_withheld(told: Told) -> None:
    class Blind(Eyes):
        def examine(self, *_: object) -> Findings:
            raise Withheld(Reason.PIXELS_NOT_CHECKED, "The text finder could not look.")

    assert done(told, Blind(ALL)).outcome == Reason.PIXELS_NOT_CHECKED


def test_what_stands_in_its_place_is_compared_and_stays(told: Told) -> None:
    first = done(told, Eyes(NONE))
    assert (done(told, Eyes(NONE)).outcome, done(told, Eyes(NONE)).detail) == (THERE, DUPLICATE)
    place = told.output / first.target
    place.write_bytes(b"other")
    other = done(told, Eyes(NONE))
    assert (other.outcome, other.detail, place.read_bytes()) == (THERE, Reason.CONFLICT, b"other")
    assert [path.name for path in told.output.rglob("*") if path.is_file()] == [place.name]


def test_an_output_that_cannot_be_written_is_no_files_outcome(told: Told) -> None:
    told.output.write_text("a file where the folder should be")
    assert done(told, Eyes(NONE)).outcome == UNWRITABLE


def test_what_is_sealed_and_mapped_is_of_this_image(told: Told) -> None:
    found = done(replace(told, mapping=True), Eyes(NONE))
    clean = pydicom.dcmread(told.output / found.target)
    assert {row[0] for row in found.sealed} >= {clean.PatientID, clean.SOPInstanceUID, clean.StudyInstanceUID}
    original = pydicom.dcmread(BytesIO(ct()))
    assert ("uid", original.SOPInstanceUID, clean.SOPInstanceUID) in found.mapping
    assert not done(replace(told, way_back=False), Eyes(NONE)).sealed


def test_without_a_text_finder_nothing_is_said_of_an_image(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable(*_: object) -> Findings:
        raise FinderUnavailable

    eyes = Eyes(ALL)
    monkeypatch.setattr(eyes, "examine", unavailable)
    assert done(told, eyes).outcome == BLIND
    monkeypatch.setattr(deid_work, "finder_version", unavailable)
    ours, theirs = Pipe()
    theirs.send(deid_work._start_of(Worker(replace(told, profile=load_profile("research")))))
    with pytest.raises(FinderUnavailable):
        deid_pool._heard(ours)


def test_an_error_that_nobody_foresaw_is_told_by_its_kind_only(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> Findings:
        raise LookupError("MEIER^HANS")

    eyes = Eyes(ALL)
    monkeypatch.setattr(eyes, "examine", wrong)
    failed = done(told, eyes)
    assert (failed.outcome, failed.detail) == (FAILED, "LookupError")


def test_what_cannot_be_accounted_for_is_not_left_there(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*_: object) -> None:
        raise LookupError

    monkeypatch.setattr(deid_work, "originals_in", wrong)
    assert done(told, Eyes(NONE)).outcome == FAILED
    assert not list(told.output.rglob("*.dcm"))
