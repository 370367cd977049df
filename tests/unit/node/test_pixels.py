"""What waits for a look at its pixels, and where it goes then."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
import pytest
from sqlalchemy import select
from tests.support import LUNG, SCANNER, ct, make_node

from carina.deid.pixels.findings import Box, Findings
from carina.deid.profile import Profile, load_profile
from carina.errors import Busy, FinderUnavailable, Full, InvalidInstance
from carina.model.instance import Reason
from carina.node import ingest, pixels, quarantine, worker
from carina.node.recovery import recover
from carina.node.site import Node, Project
from carina.storage import arrivals
from carina.storage.schema import instance_versions, pixel_checks, pixel_layouts

FINDER = "test 1"
PROFILE = """
name = "{review}"
options = ["retain_longitudinal_modified_dates", "clean_pixel_data"]
review = "{review}"
"""
BOX = Box(2, 3, 9, 20)
CAPTURE = {"ImageType": ["DERIVED", "SECONDARY"], "BurnedInAnnotation": "NO"}
Open = Callable[..., Node]


def profile(review: str = "never") -> Profile:
    """A profile that has pixels cleaned."""
    return load_profile(PROFILE.format(review=review))


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Makes a node whose project has its pixels cleaned."""
    nodes = []

    def make(review: str = "never", **changes: Any) -> Node:
        projects = {LUNG: Project(LUNG, "Lung", profile(review), "HOSPITAL")}
        nodes.append(make_node(tmp_path / "node", projects=projects, project_of={SCANNER: LUNG}, **changes))
        return nodes[-1]

    yield make
    for node in nodes:
        node.engine.dispose()


class Eyes:
    """A look that finds what it was told to, by patient; nothing in all others."""

    def __init__(self, **found: Findings | Exception) -> None:
        self.found = found
        self.seen: list[str] = []

    def __call__(self, data: bytes) -> Findings:
        dataset = pydicom.dcmread(BytesIO(data), stop_before_pixels=True)
        self.seen.append(f"{dataset.PatientID}/{dataset.InstanceNumber}")
        answer = self.found.get(dataset.PatientID, Findings((), FINDER))
        if isinstance(answer, Exception):
            raise answer
        return answer


NOTHING = Eyes()


def receive(node: Node, *images: bytes) -> list[str]:
    """Take these in and work until nothing waits for a worker; their ids."""
    ids = [ingest.receive(node, data, SCANNER).id for data in images]
    drain(node)
    return ids


def drain(node: Node) -> None:
    while worker.work(node, "test"):
        pass


def look(node: Node, eyes: Eyes = NOTHING) -> None:
    """Look at all that waits, and let the workers take up what was given back."""
    while pixels.work(node, "pixels-1", eyes):
        drain(node)


def fate(node: Node, arrival_id: str) -> tuple[str, str | None]:
    """State and reason."""
    with node.engine.connect() as connection:
        arrival = arrivals.get(connection, arrival_id)
    return arrival.state, arrival.reason


def checks(node: Node) -> dict[str, dict[str, Any]]:
    """All rows, by id."""
    with node.engine.connect() as connection:
        return {row["id"]: dict(row) for row in connection.execute(select(pixel_checks)).mappings()}


def state_of_layouts(node: Node) -> list[str]:
    with node.engine.connect() as connection:
        return list(connection.execute(select(pixel_layouts.c.state)).scalars())


def reviews(node: Node) -> list[str]:
    """Who looked at what is archived."""
    with node.engine.connect() as connection:
        return sorted(connection.execute(select(instance_versions.c.review)).scalars())


def capture(patient: str = "A", number: int = 1) -> bytes:
    """A picture in which text may stand."""
    return ct(patient, number=number, elements=CAPTURE)


def test_a_picture_waits_for_a_look_and_passes_when_nothing_is_found(opened: Open) -> None:
    node = opened()
    [one] = receive(node, capture())
    assert fate(node, one) == ("quarantined", Reason.PIXELS_NOT_CHECKED)
    assert (checks(node)[one]["state"], checks(node)[one]["layout"]) == ("waiting", "")
    look(node)
    assert fate(node, one) == ("archived", None)
    row = checks(node)[one]
    assert (row["state"], row["finder"], row["rows"], row["frames"]) == ("clean", FINDER, 32, 1)
    assert reviews(node) == ["machine"]
    assert node.quarantine.names() == node.spool.names() == []


def test_text_that_was_found_is_blanked_without_a_reader_where_the_profile_wants_none(opened: Open) -> None:
    node = opened()
    [one] = receive(node, capture())
    look(node, Eyes(A=Findings((BOX,), FINDER)))
    assert fate(node, one) == ("archived", None)
    assert checks(node)[one]["state"] == "settled"
    assert checks(node)[one]["boxes"] == [[2, 3, 9, 20, None]]
    [stored] = (node.folder / "store").rglob("*.dcm")
    before, after = pydicom.dcmread(BytesIO(capture())).pixel_array, pydicom.dcmread(stored).pixel_array
    changed = before != after
    assert changed[2:9, 3:20].mean() > 0.9
    changed[2:9, 3:20] = False
    assert not changed.any()


@pytest.mark.parametrize(("review", "readers"), [("one", 1), ("two", 2)])
def test_text_that_was_found_waits_with_its_boxes_where_the_profile_wants_readers(
    opened: Open, review: str, readers: int
) -> None:
    node = opened(review)
    one, other = receive(node, capture("A"), capture("B"))
    look(node, Eyes(A=Findings((BOX,), FINDER)))
    assert fate(node, one) == ("quarantined", Reason.TEXT_IN_PIXELS)
    assert quarantine.get(node, one).detail == Reason.TEXT_IN_PIXELS.sentence
    assert (checks(node)[one]["state"], checks(node)[one]["readers"]) == ("flagged", readers)
    assert fate(node, other) == ("archived", None)


def test_text_that_the_machine_could_not_blank_waits_for_a_reader_whatever_the_profile_says(opened: Open) -> None:
    node = opened("never")
    [one] = receive(node, capture())
    look(node, Eyes(A=Findings((BOX,), FINDER, proven=False)))
    assert fate(node, one) == ("quarantined", Reason.TEXT_IN_PIXELS)
    assert checks(node)[one]["readers"] == 1


def test_what_waits_for_a_reader_still_does_when_it_is_given_back_undecided(opened: Open) -> None:
    node = opened("one")
    [one] = receive(node, capture())
    look(node, Eyes(A=Findings((BOX,), FINDER)))
    quarantine.retry(node, "manager", ids=[one])
    drain(node)
    assert fate(node, one) == ("quarantined", Reason.TEXT_IN_PIXELS)
    assert checks(node)[one]["state"] == "flagged"


def test_a_profile_that_leaves_pixels_alone_has_nobody_look(opened: Open) -> None:
    node = opened()
    basic = {LUNG: replace(node.projects[LUNG], profile=load_profile("basic"))}
    [one] = receive(replace(node, projects=basic), capture())
    assert fate(node, one) == ("quarantined", Reason.PIXELS_NOT_CHECKED)
    assert checks(node) == {}
    assert pixels.adopt(node) == 1, "the profile has changed: what waited is to be looked at now"
    drain(node)
    look(node)
    assert fate(node, one) == ("archived", None)


def test_one_plain_image_stands_for_its_layout_and_the_others_follow_it(opened: Open) -> None:
    node = opened(samples=True)
    ids = receive(node, *(ct("A", number=number) for number in range(1, 6)))
    assert {fate(node, one) for one in ids} == {("quarantined", Reason.PIXELS_NOT_CHECKED)}
    eyes = Eyes()
    look(node, eyes)
    assert {fate(node, one) for one in ids} == {("archived", None)}
    assert len(eyes.seen) == 1
    assert state_of_layouts(node) == ["clean"]
    assert [row["state"] for row in checks(node).values()] == ["clean"]
    assert reviews(node) == ["machine"] + ["none"] * 4
    [later] = receive(node, ct("B"))
    assert fate(node, later) == ("archived", None)
    assert len(eyes.seen) == 1


def test_where_the_sample_shows_text_every_image_of_its_layout_is_looked_at(opened: Open) -> None:
    node = opened(samples=True)
    ids = receive(node, ct("A", number=1), ct("B", number=2))
    eyes = Eyes(A=Findings((BOX,), FINDER))
    look(node, eyes)
    [later] = receive(node, ct("C", number=3))
    assert fate(node, later) == ("quarantined", Reason.PIXELS_NOT_CHECKED)
    look(node, eyes)
    assert {fate(node, one) for one in [*ids, later]} == {("archived", None)}
    assert eyes.seen == ["A/1", "B/2", "C/3"]
    assert state_of_layouts(node) == ["text"]


def test_a_plain_image_that_seems_to_show_text_is_looked_at_by_itself(opened: Open) -> None:
    node = opened(samples=True)
    receive(node, ct("A", size=64))
    look(node)
    drawn = pydicom.dcmread(BytesIO(ct("B", size=64)))
    picture = drawn.pixel_array.copy()
    for row in range(4, 60, 8):
        picture[row : row + 6, 4:60:6] = 4000
    drawn.PixelData = picture.tobytes()
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, drawn)
    [one] = receive(node, buffer.getvalue())
    assert fate(node, one) == ("quarantined", Reason.PIXELS_NOT_CHECKED)
    eyes = Eyes()
    look(node, eyes)
    assert fate(node, one) == ("archived", None)
    assert eyes.seen == ["B/1"]


def test_without_samples_plain_images_pass_at_once(opened: Open) -> None:
    node = opened(samples=False)
    [one] = receive(node, ct())
    assert fate(node, one) == ("archived", None)
    assert checks(node) == {}


def test_a_sample_that_was_discarded_or_cannot_be_read_gives_its_place_to_the_next(opened: Open) -> None:
    node = opened(samples=True)
    gone, damaged, third, fourth = receive(node, *(ct(patient, number=1) for patient in "ABCD"))
    quarantine.discard(node, "manager", ids=[gone])
    eyes = Eyes(B=InvalidInstance("The pixels of the image cannot be decoded."))
    look(node, eyes)
    assert fate(node, damaged) == ("quarantined", Reason.FAILED)
    assert {fate(node, one) for one in (third, fourth)} == {("archived", None)}
    assert {one: row["state"] for one, row in checks(node).items()} == {
        gone: "rejected",
        damaged: "failed",
        third: "clean",
    }
    assert eyes.seen == ["B/1", "C/1"]


def test_a_layout_whose_only_image_was_discarded_is_forgotten(opened: Open) -> None:
    node = opened(samples=True)
    [gone] = receive(node, ct("A"))
    quarantine.discard(node, "manager", ids=[gone])
    look(node)
    assert state_of_layouts(node) == []
    [one] = receive(node, ct("B"))
    look(node)
    assert fate(node, one) == ("archived", None)


def test_a_look_that_fails_is_tried_again_and_in_the_end_waits_as_failed(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    node = opened()
    [one] = receive(node, capture())
    eyes = Eyes(A=ZeroDivisionError("Garcia^Maria"))
    with caplog.at_level(logging.INFO):
        look(node, eyes)
    assert len(eyes.seen) == pixels.ATTEMPTS
    assert fate(node, one) == ("quarantined", Reason.FAILED)
    assert quarantine.get(node, one).detail == "ZeroDivisionError"
    assert "Garcia" not in caplog.text
    quarantine.retry(node, "manager", ids=[one])
    drain(node)
    look(node)
    assert fate(node, one) == ("archived", None)


def test_what_has_ended_its_process_too_often_is_not_looked_at_again(opened: Open) -> None:
    node = opened()
    [one] = receive(node, capture())

    class Killed(BaseException):
        """Not to be caught: as though the process had been killed."""

    def die(_data: bytes) -> Findings:
        raise Killed

    for _ in range(pixels.DEATHS):
        with pytest.raises(Killed):
            pixels.work(node, "pixels-1", die)
        assert not pixels.work(node, "pixels-2", NOTHING), "another took what was claimed"
        pixels.release_claims(node, "pixels-1")
    eyes = Eyes()
    look(node, eyes)
    assert eyes.seen == []
    assert fate(node, one) == ("quarantined", Reason.FAILED)


def test_a_full_disk_ends_the_claim_and_counts_no_attempt(opened: Open) -> None:
    node = opened()
    [one] = receive(node, capture())
    for _ in range(pixels.DEATHS + 1):
        with pytest.raises(Full):
            pixels.work(node, "pixels-1", Eyes(A=Full("There is no room left on the disk.")))
    look(node)
    assert fate(node, one) == ("archived", None)


def test_findings_with_which_the_image_still_cannot_pass_do_not_make_it_wait_for_a_look_again(opened: Open) -> None:
    node = opened()
    [one] = receive(node, capture())
    assert pixels.work(node, "pixels-1", Eyes(A=Findings((Box(0, 0, 10**6, 10**6, 77),), FINDER)))
    drain(node)
    assert not pixels.work(node, "pixels-1", NOTHING)
    assert checks(node)[one]["state"] == "settled"


def test_a_start_frees_what_a_dead_process_had_claimed(opened: Open) -> None:
    node = opened()
    [one] = receive(node, capture())
    with node.engine.begin() as connection:
        connection.execute(pixel_checks.update().values(claimed_by="dead", attempts=1))
    assert not pixels.work(node, "pixels-1", NOTHING)
    recover(node)
    look(node)
    assert fate(node, one) == ("archived", None)


def test_each_look_is_in_the_audit_trail_without_what_was_seen(opened: Open) -> None:
    node = opened()
    [one] = receive(node, capture())
    look(node, Eyes(A=Findings((BOX,), FINDER)))
    [entry] = node.audit.entries(5, action="pixels-checked")
    assert (entry.actor, entry.subject) == (pixels.ACTOR, one)
    assert entry.details == {"state": "settled", "boxes": 1, "finder": FINDER, "project": LUNG}
    assert pixels.counts(node) == {"settled": 1, "looked_at": 1}


def test_two_processes_look_at_each_image_once(opened: Open) -> None:
    node = opened()
    ids = receive(node, *(capture("A", number) for number in range(1, 13)))
    eyes, stop = Eyes(), threading.Event()
    threads = [threading.Thread(target=pixels.run, args=(node, stop, f"pixels-{n}", eyes)) for n in (1, 2)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 20
    while pixels.counts(node).get("waiting") and time.monotonic() < end:
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join(10)
    drain(node)
    assert sorted(eyes.seen) == sorted(f"A/{number}" for number in range(1, 13))
    assert {fate(node, one) for one in ids} == {("archived", None)}


@pytest.mark.parametrize("why", [Busy("The records are held."), Full("There is no room left on the disk.")])
def test_a_look_whose_end_cannot_be_written_down_is_repeated(
    opened: Open, monkeypatch: pytest.MonkeyPatch, why: Exception
) -> None:
    node = opened()
    [one] = receive(node, capture())

    def fail(*_: object) -> None:
        raise why

    with monkeypatch.context() as patch:
        patch.setattr(pixels, "_settle", fail)
        for _ in range(pixels.DEATHS + 1):
            with pytest.raises(type(why)):
                pixels.work(node, "pixels-1", NOTHING)
    assert (checks(node)[one]["state"], checks(node)[one]["claimed_by"]) == ("waiting", None)
    look(node)
    assert fate(node, one) == ("archived", None)


def run_until(node: Node, eyes: Callable[[bytes], Findings], is_done: Callable[[], bool]) -> None:
    """Run the process of the pixel check until then; at most ten seconds."""
    stop = threading.Event()
    running = threading.Thread(target=pixels.run, args=(node, stop, "pixels-1", eyes))
    running.start()
    until = time.monotonic() + 10
    while not is_done() and time.monotonic() < until:
        time.sleep(0.01)
    stop.set()
    running.join()
    assert is_done()


def test_a_claim_that_could_not_be_given_back_at_once_is_given_back_later_and_uncounted(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = opened()
    [one] = receive(node, capture())
    monkeypatch.setattr(pixels, "PAUSE", 0.01)
    refusals = []
    unclaim = pixels._unclaim

    def held(*given: Any) -> None:
        refusals.append(given)
        if len(refusals) <= pixels.DEATHS + 1:
            raise Busy("The records are held.")
        unclaim(*given)

    monkeypatch.setattr(pixels, "_unclaim", held)

    def eyes(data: bytes) -> Findings:
        if len(refusals) <= pixels.DEATHS + 1:
            raise Busy("The records are held.")
        return NOTHING(data)

    run_until(node, eyes, lambda: checks(node)[one]["state"] != "waiting")
    assert checks(node)[one]["state"] == "clean"


def test_an_image_of_a_project_that_is_gone_fails_and_holds_nothing_up(opened: Open) -> None:
    node = opened(samples=True)
    [one, other] = receive(node, ct("A"), capture("B"))
    gone = replace(node, projects={})
    assert pixels.work(gone, "pixels-1", NOTHING)
    assert pixels.work(gone, "pixels-1", NOTHING)
    for each in (one, other):
        assert fate(node, each) == ("quarantined", Reason.FAILED)
        assert "project" in quarantine.get(node, each).detail
    quarantine.retry(node, "manager", ids=[one, other])
    drain(node)
    look(node)
    assert {fate(node, each) for each in (one, other)} == {("archived", None)}


def test_while_the_text_finder_cannot_start_everything_waits_and_nothing_fails(
    opened: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = opened()
    ids = receive(node, capture("A"), capture("B"))
    monkeypatch.setattr(pixels, "FINDER_PAUSE", 0.01)
    tries = []

    def blind(_data: bytes) -> Findings:
        tries.append(1)
        raise FinderUnavailable

    with caplog.at_level(logging.ERROR):
        run_until(node, blind, lambda: len(tries) > pixels.DEATHS + 2)
    errors = {record.message for record in caplog.records if record.levelno >= logging.ERROR}
    assert errors == {"text-finder-unavailable"}
    assert {row["state"] for row in checks(node).values()} == {"waiting"}
    assert {fate(node, one) for one in ids} == {("quarantined", Reason.PIXELS_NOT_CHECKED)}
    assert pixels.is_blind(node)
    look(node)
    assert {fate(node, one) for one in ids} == {("archived", None)}
    assert not pixels.is_blind(node)


def test_a_new_process_is_not_taken_for_blind_before_it_has_tried(opened: Open) -> None:
    node = opened()
    receive(node, capture("A"))
    with pytest.raises(FinderUnavailable):
        pixels.work(node, "pixels-1", Eyes(A=FinderUnavailable()))
    assert pixels.is_blind(node)
    stop = threading.Event()
    stop.set()
    pixels.run(node, stop, "pixels-1", NOTHING)
    assert not pixels.is_blind(node)


@pytest.mark.parametrize("review", ["one", "never"])
def test_text_that_was_found_does_not_pass_when_the_profile_no_longer_has_it_blanked(opened: Open, review: str) -> None:
    node = opened(review, samples=True)
    [one] = receive(node, ct("A"))
    assert pixels.work(node, "pixels-1", Eyes(A=Findings((BOX,), FINDER)))
    basic = replace(node, projects={LUNG: replace(node.projects[LUNG], profile=load_profile("basic"))})
    if review == "one":
        quarantine.retry(node, "manager", ids=[one])
    drain(basic)
    assert fate(node, one) == ("quarantined", Reason.TEXT_IN_PIXELS)
    drain(node)
    quarantine.retry(node, "manager", ids=[one])
    drain(node)
    assert fate(node, one) == (("quarantined", Reason.TEXT_IN_PIXELS) if review == "one" else ("archived", None))


def test_a_plain_image_is_not_read_a_second_time_to_see_whether_it_must_wait(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = opened(samples=True)
    receive(node, ct("A", size=64))
    look(node)

    def never(_data: bytes) -> None:
        raise AssertionError("it is read as a whole")

    monkeypatch.setattr(pixels, "parse", never)
    assert pixels.sampled(node, node.projects[LUNG], ct("B", size=64)) is None
