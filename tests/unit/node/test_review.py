"""What readers see of images with text in their pixels, and what their decisions bring."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select
from tests.reviewing import DATE, NAME, hold, ultrasound
from tests.support import BREAST, LUNG, ct, open_test_node

from carina.deid.pixels.findings import Box
from carina.errors import BadInput, Conflict, NotAllowed, NotFound
from carina.model.instance import Source
from carina.node import discarded, quarantine, review
from carina.node.review import Backlog
from carina.node.site import Node
from carina.storage import arrivals
from carina.storage.schema import pixel_checks

MAMMO = Source("aet", "MAMMO")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_test_node(tmp_path / "node") as node:
        yield node


@pytest.fixture
def one(node: Node) -> str:
    """An image that waits for one reader."""
    return hold(node, ultrasound(1))


@pytest.fixture
def two(node: Node) -> str:
    """An image that waits for two readers."""
    return hold(node, ultrasound(2), readers=2)


def row(node: Node, arrival_id: str) -> dict[str, object]:
    with node.engine.connect() as connection:
        found = connection.execute(select(pixel_checks).where(pixel_checks.c.id == arrival_id)).mappings().one()
        return dict(found)


def arrival_state(node: Node, arrival_id: str) -> str:
    with node.engine.connect() as connection:
        return arrivals.get(connection, arrival_id).state


def test_what_waits_comes_in_order_of_arrival_by_project(node: Node) -> None:
    ids = [hold(node, b"x") for _ in range(3)]
    other = hold(node, b"x", project=BREAST, source=MAMMO)
    for state in ("waiting", "clean", "settled", "rejected", "failed"):
        hold(node, b"x", state=state)
    assert [found.id for found in review.flagged(node)] == [*ids, other]
    assert [found.id for found in review.flagged(node, LUNG, limit=2)] == ids[:2]
    assert [found.id for found in review.flagged(node, LUNG, after=ids[1])] == ids[2:]
    assert [found.id for found in review.flagged(node, BREAST)] == [other]
    assert review.backlogs(node) == [Backlog(BREAST, flagged=1), Backlog(LUNG, flagged=3, waiting=1, failed=1)]


def test_what_was_discarded_elsewhere_waits_no_more(node: Node, one: str) -> None:
    quarantine.discard(node, "omar", ids=[one])
    assert review.flagged(node) == review.backlogs(node) == []
    with pytest.raises(NotFound):
        review.get(node, one)
    with pytest.raises(NotFound):
        review.picture(node, "nora", one)


def test_a_review_says_what_was_found_and_nothing_of_the_header(node: Node, one: str) -> None:
    found = review.get(node, one)
    assert (found.boxes, found.proposed, found.rows, found.columns, found.frames) == (
        (NAME, DATE),
        (NAME, DATE),
        480,
        640,
        1,
    )
    assert (found.finder, found.proven, found.readers, found.modality) == ("rapidocr 1.4.4", True, 1, "US")
    assert "Garcia" not in repr(found)


def test_the_images_beside_one_are_those_that_wait(node: Node) -> None:
    first, _, third, other = (
        hold(node, b"x"),
        hold(node, b"x", state="settled"),
        hold(node, b"x"),
        hold(node, b"x", project=BREAST, source=MAMMO),
    )
    assert review.beside(node, review.get(node, first)) == ("", third)
    assert review.beside(node, review.get(node, third)) == (first, other)
    assert review.beside(node, review.get(node, third), LUNG) == (first, "")


def test_the_next_image_is_one_that_this_reader_has_not_decided_on(node: Node) -> None:
    first, second, third = (hold(node, b"x", readers=2) for _ in range(3))
    review.decide(node, "nora", second, "reject", seen=0)
    assert review.next_for(node, "nora", first) == third
    assert review.next_for(node, "nora", third) == first
    assert review.next_for(node, "ben", first) == second
    review.decide(node, "nora", third, "reject", seen=0)
    assert review.next_for(node, "nora", first) == ""


def test_a_picture_is_drawn_with_its_text_and_no_larger_than_asked(node: Node, one: str) -> None:
    shown = Image.open(io.BytesIO(review.picture(node, "nora", one)))
    assert shown.size == (640, 480)
    assert np.asarray(shown)[NAME.top : NAME.bottom, NAME.left : NAME.right].max() == 230
    assert Image.open(io.BytesIO(review.picture(node, "nora", one, side=160))).size == (160, 120)
    with pytest.raises(NotFound):
        review.picture(node, "nora", one, frame=2)


def test_the_whole_range_shows_what_the_window_hides(node: Node) -> None:
    data = ct(elements={"WindowCenter": 40, "WindowWidth": 10})
    held = hold(node, data, size=(32, 32, 1))
    windowed = np.asarray(Image.open(io.BytesIO(review.picture(node, "nora", held))))
    whole = np.asarray(Image.open(io.BytesIO(review.picture(node, "nora", held, whole_range=True))))
    assert len(np.unique(windowed)) < 10
    assert len(np.unique(whole)) > 150
    assert (whole.min(), whole.max()) == (0, 255)


def test_each_look_is_in_the_audit_trail_and_frames_of_one_image_are_one_row(node: Node) -> None:
    held = hold(node, ultrasound(1, frames=3), size=(480, 640, 3))
    for frame in (1, 2, 3):
        review.picture(node, "nora", held, frame)
    review.picture(node, "ben", held)
    looks = node.audit.entries(9, action="image-looked-at")
    assert [(entry.actor, entry.subject) for entry in looks] == [("ben", held), ("nora", held)]
    assert looks[0].details == {"project": "lung"}


def test_one_reader_lets_an_image_pass_with_the_boxes_as_they_were_drawn(node: Node, one: str) -> None:
    drawn = Box(200, 10, 220, 90)
    assert review.decide(node, "nora", one, "accept", [DATE, drawn, NAME, NAME], seen=0) == "settled"
    found = row(node, one)
    assert (found["state"], found["proven"], found["decided_at"] is not None) == ("settled", True, True)
    assert found["boxes"] == [[12, 16, 36, 232, None], [12, 470, 36, 624, None], [200, 10, 220, 90, None]]
    assert (quarantine.get(node, one).state, arrival_state(node, one)) == ("retried", "received")
    assert node.quarantine.names() == [one]
    actions = [(entry.action, entry.actor, entry.subject) for entry in node.audit.entries(2)]
    assert actions == [("quarantine-retried", "nora", one), ("image-decided", "nora", one)]
    said = node.audit.entries(1, action="image-decided")[0].details
    assert said == {"project": "lung", "verdict": "accept", "boxes": 3, "outcome": "settled"}


def test_what_the_second_search_proved_is_lost_when_a_box_is_left_out(node: Node, one: str) -> None:
    review.decide(node, "nora", one, "accept", [NAME], seen=0)
    assert row(node, one)["proven"] is False


def test_an_image_without_text_passes_without_a_box(node: Node, one: str) -> None:
    assert review.decide(node, "nora", one, "accept", [], seen=0) == "settled"
    assert (row(node, one)["boxes"], row(node, one)["proven"]) == ([], False)


def test_a_rejected_image_rests_and_readers_decide_anew_once_it_is_taken_back(node: Node, one: str) -> None:
    assert review.decide(node, "nora", one, "reject", [NAME], seen=0) == "rejected"
    assert (row(node, one)["state"], quarantine.get(node, one).state) == ("rejected", "discarded")
    assert node.quarantine.names() == [one]
    assert [entry.action for entry in node.audit.entries(2)] == ["quarantine-discarded", "image-decided"]
    quarantine.restore(node, "ana", ids=[one])
    assert review.get(node, one).decisions == ()
    review.decide(node, "nora", one, "reject", seen=0)
    discarded.destroy(node, "ana", [one])
    assert node.quarantine.names() == []


def test_two_readers_must_say_the_same_of_the_same_boxes(node: Node, two: str) -> None:
    assert review.decide(node, "nora", two, "accept", [NAME, DATE], seen=0) == "waits"
    assert arrival_state(node, two) == "quarantined"
    assert review.decide(node, "ben", two, "accept", [NAME], seen=1) == "waits"
    assert review.get(node, two).proposed == (NAME,)
    assert review.decide(node, "nora", two, "accept", [NAME], seen=2) == "settled"
    assert row(node, two)["boxes"] == [[12, 16, 36, 232, None]]
    assert arrival_state(node, two) == "received"


def test_one_account_alone_is_never_two_readers(node: Node, two: str) -> None:
    for seen in range(3):
        assert review.decide(node, "nora", two, "accept", [NAME], seen=seen) == "waits"
    assert [opinion.actor for opinion in review.get(node, two).opinions] == ["nora"]
    assert review.decide(node, "ben", two, "accept", [NAME], seen=3) == "settled"


def test_a_reader_who_changed_their_mind_no_longer_agrees_with_the_first_word(node: Node, two: str) -> None:
    review.decide(node, "nora", two, "reject", seen=0)
    review.decide(node, "nora", two, "accept", [NAME], seen=1)
    assert review.decide(node, "ben", two, "reject", seen=2) == "waits"
    assert node.quarantine.names() == [two]
    assert review.decide(node, "carl", two, "reject", seen=3) == "rejected"
    assert quarantine.get(node, two).state == "discarded"


def test_a_decision_on_what_has_changed_meanwhile_is_not_taken(node: Node, two: str) -> None:
    review.decide(node, "nora", two, "accept", [NAME], seen=0)
    with pytest.raises(Conflict):
        review.decide(node, "ben", two, "accept", [NAME], seen=0)
    assert len(review.get(node, two).decisions) == 1


def test_nothing_is_decided_twice(node: Node, one: str) -> None:
    review.decide(node, "nora", one, "accept", [NAME], seen=0)
    with pytest.raises(NotFound):
        review.decide(node, "ben", one, "reject", seen=0)
    assert node.quarantine.names() == [one]


@pytest.mark.parametrize(
    "box",
    [
        Box(-1, 0, 10, 10),
        Box(0, 0, 481, 10),
        Box(0, 0, 10, 641),
        Box(10, 0, 10, 10),
        Box(0, 20, 10, 10),
        Box(0, 0, 10, 10, 1),
        Box(0, 0, 10, 10, -1),
    ],
)
def test_a_box_outside_of_the_image_is_not_taken(node: Node, one: str, box: Box) -> None:
    with pytest.raises(BadInput):
        review.decide(node, "nora", one, "accept", [box], seen=0)
    assert row(node, one)["decisions"] == []


def test_boxes_without_end_are_not_taken(node: Node, one: str) -> None:
    with pytest.raises(BadInput):
        review.decide(node, "nora", one, "accept", [NAME] * (review.MOST_BOXES + 1), seen=0)


def test_the_header_of_an_image_whose_project_is_gone_is_not_found(node: Node, one: str) -> None:
    with pytest.raises(NotFound, match="project"):
        review.header(replace(node, projects={}), "nora", one)


def test_a_token_is_no_second_reader(node: Node) -> None:
    one = hold(node, ultrasound(1), readers=2)
    assert review.decide(node, "ana", one, "accept", [NAME], seen=0) == "waits"
    with pytest.raises(NotAllowed):
        review.decide(node, "token:ana", one, "accept", [NAME], seen=1)
    assert len(review.get(node, one).decisions) == 1
