"""What waits, is tried again, or is discarded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from tests.reviewing import hold, ultrasound
from tests.support import BREAST, LUNG, SCANNER, ct, make_node

from carina.deid.profile import BUILT_IN
from carina.errors import BadInput, NotFound
from carina.model.clock import now, parse_stamp, stamp
from carina.model.instance import Reason, Source
from carina.node import alternatives, discarded, ingest, quarantine, remedies, review, worker
from carina.node.forget import forget, marks_of
from carina.node.quarantine import Wanted
from carina.node.recovery import recover
from carina.node.site import Node
from carina.node.verify import verify
from carina.storage import arrivals
from carina.storage.schema import instance_versions, pixel_checks
from carina.storage.schema import quarantine as table

STRANGER = Source("aet", "STRANGER")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    yield node
    node.engine.dispose()


def _drain(node: Node) -> None:
    while worker.work(node, "test"):
        pass


def _unmapped(node: Node, count: int = 3) -> list[str]:
    ids = [ingest.receive(node, ct(number=number), STRANGER).id for number in range(1, count + 1)]
    _drain(node)
    return ids


def test_heaps_group_what_waits_by_reason(node: Node) -> None:
    _unmapped(node)
    ingest.receive(node, b"text", SCANNER)
    first, second = quarantine.heaps(node)
    assert (first.reason, first.count, first.modalities) == (Reason.UNMAPPED_SOURCE, 3, {"CT": 3})
    assert (second.reason, second.count, second.size) == (Reason.NOT_DICOM, 1, 4)
    assert first.sentence == "Its source is not assigned to a project."
    assert first.oldest <= first.newest


def test_entries_come_in_pages_in_order_of_arrival(node: Node) -> None:
    ids = _unmapped(node)
    page = quarantine.entries(node, Reason.UNMAPPED_SOURCE, limit=2)
    assert [held.id for held in page] == ids[:2]
    assert [held.id for held in quarantine.entries(node, after=page[-1].id)] == ids[2:]
    assert quarantine.entries(node, Reason.DAMAGED) == []


def test_a_reason_s_heap_passes_once_its_cause_is_gone(node: Node) -> None:
    ids = _unmapped(node)
    mapped = replace(node, project_of={**node.project_of, STRANGER: LUNG})
    assert quarantine.retry(mapped, "ana", reason=Reason.UNMAPPED_SOURCE).count == 3
    assert quarantine.heaps(node) == []
    _drain(mapped)
    with node.engine.connect() as connection:
        assert [arrivals.get(connection, one).state for one in ids] == ["archived"] * 3
    assert node.quarantine.names() == node.spool.names() == []


def test_what_cannot_pass_yet_comes_back_with_its_bytes(node: Node) -> None:
    [one] = _unmapped(node, 1)
    before = node.quarantine.read(one)
    quarantine.retry(node, "ana", ids=[one])
    assert quarantine.get(node, one).state == "retried"
    _drain(node)
    assert quarantine.get(node, one).state == "waiting"
    assert node.quarantine.read(one) == before


def test_one_of_several_can_be_chosen(node: Node) -> None:
    first, *others = _unmapped(node)
    assert quarantine.discard(node, "ana", ids=[first]) == 1
    assert [held.id for held in quarantine.entries(node)] == others
    assert quarantine.get(node, first).state == "discarded"
    assert [entry.action for entry in node.audit.entries(1)] == ["quarantine-discarded"]


def test_what_was_discarded_cannot_be_tried_again(node: Node) -> None:
    [one] = _unmapped(node, 1)
    quarantine.discard(node, "ana", ids=[one])
    with pytest.raises(NotFound):
        quarantine.retry(node, "ana", ids=[one])


def test_an_unknown_id_changes_nothing(node: Node) -> None:
    ids = _unmapped(node)
    with pytest.raises(NotFound):
        quarantine.discard(node, "ana", ids=[ids[0], "nothing"])
    assert node.quarantine.names() == ids


def test_who_did_what_is_in_the_audit_trail(node: Node) -> None:
    [one] = _unmapped(node, 1)
    quarantine.retry(node, "ana", ids=[one])
    newest, before = node.audit.entries(2)
    assert (newest.action, newest.actor, newest.subject) == ("quarantine-retried", "ana", one)
    assert (before.action, before.details["reason"]) == ("quarantined", "unmapped-source")
    assert node.audit.verify() == 2


def test_what_was_discarded_rests_sealed_and_can_be_taken_back(node: Node) -> None:
    first, second, third = _unmapped(node)
    before = node.quarantine.read(first)
    assert quarantine.discard(node, "ana", wanted=Wanted(Reason.UNMAPPED_SOURCE)) == 3
    assert discarded.sweep(node) == 0 and node.quarantine.names() == [first, second, third]
    until = quarantine.get(node, first).kept_until
    assert until is not None and timedelta(hours=23) < parse_stamp(until) - now() <= quarantine.GRACE
    assert quarantine.restore(node, "omar", ids=[first]) == 1
    assert (quarantine.get(node, first).state, quarantine.get(node, first).discarded_at) == ("waiting", None)
    assert node.quarantine.read(first) == before and verify(node).whole
    newest = node.audit.entries(1)[0]
    assert (newest.action, newest.actor, newest.subject) == ("quarantine-restored", "omar", first)


def test_what_was_discarded_is_destroyed_when_its_time_is_over(node: Node) -> None:
    first, second = _unmapped(node, 2)
    quarantine.discard(node, "ana", ids=[first, second])
    _long_ago(node, first)
    assert discarded.sweep(node) == 1
    assert node.quarantine.names() == [second]
    assert (quarantine.get(node, first).state, quarantine.get(node, first).kept_until) == ("destroyed", None)
    newest = node.audit.entries(1)[0]
    assert (newest.action, newest.actor, newest.subject) == ("quarantine-destroyed", "node", first)
    with pytest.raises(NotFound):
        quarantine.restore(node, "ana", ids=[first])


def test_what_was_discarded_can_be_destroyed_at_once_and_only_once(node: Node) -> None:
    first, second = _unmapped(node, 2)
    with pytest.raises(NotFound):
        discarded.destroy(node, "ana", [first])
    quarantine.discard(node, "ana", ids=[first])
    assert discarded.destroy(node, "ana", [first]) == 1
    assert node.quarantine.names() == [second]
    with pytest.raises(NotFound):
        discarded.destroy(node, "ana", [first])


def test_a_sweep_that_was_killed_is_finished_by_the_next_one_or_by_a_start(node: Node) -> None:
    first, second = _unmapped(node, 2)
    quarantine.discard(node, "ana", ids=[first, second])
    with node.engine.begin() as connection:  # killed when the row said so, and the bytes were still there
        connection.execute(update(table).values(state="destroyed"))
    assert recover(node).removed == 2 and node.quarantine.names() == []
    assert discarded.sweep(node) == 0
    with node.engine.connect() as connection:
        assert set(connection.execute(select(table.c.discarded_at)).scalars()) == {None}


def test_a_start_leaves_what_can_be_taken_back_alone(node: Node) -> None:
    [one] = _unmapped(node, 1)
    quarantine.discard(node, "ana", ids=[one])
    assert recover(node).removed == 0
    assert quarantine.restore(node, "ana", wanted=Wanted()) == 1
    quarantine.retry(replace(node, project_of={**node.project_of, STRANGER: LUNG}), "ana", ids=[one])


def test_for_want_of_room_all_that_is_discarded_goes(node: Node) -> None:
    first, second = _unmapped(node, 2)
    quarantine.discard(node, "ana", ids=[first])
    assert discarded.make_room(node) == 1
    assert node.quarantine.names() == [second]
    assert node.audit.entries(1)[0].details == {"why": "disk-full"}


def test_who_is_forgotten_is_so_in_what_was_discarded_too(node: Node) -> None:
    ingest.receive(node, ct("MRN-0007", elements={"Modality": "US"}), SCANNER)
    _drain(node)
    [held] = quarantine.entries(node)
    quarantine.discard(node, "ana", ids=[held.id])
    forget(node, "ana", marks_of(node, "MRN-0007"))
    assert node.quarantine.names() == []
    with pytest.raises(NotFound):
        quarantine.restore(node, "ana", ids=[held.id])


def test_lists_are_narrowed_by_source_project_modality_and_age(node: Node) -> None:
    unmapped = _unmapped(node, 2)
    ingest.receive(node, b"text", SCANNER)
    ingest.receive(node, ct("MRN-0007", elements={"Modality": "US"}), SCANNER)
    _drain(node)
    assert quarantine.choices(node) == {
        "source": ["aet:(not assigned)", "aet:SCANNER"], "project": ["lung"], "modality": ["CT", "US"],
    }  # fmt: skip
    assert [held.id for held in quarantine.entries(node, wanted=Wanted(source="aet:(not assigned)"))] == unmapped
    assert quarantine.count(node, Wanted(modality="CT")) == 2
    assert quarantine.count(node, Wanted(project="lung")) == quarantine.count(node, Wanted(modality="US")) == 1
    _long_ago(node, unmapped[0])
    assert [held.id for held in quarantine.entries(node, wanted=Wanted(days=1))] == unmapped[:1]
    assert quarantine.discard(node, "ana", wanted=Wanted(modality="CT", days=1)) == 1


def test_what_became_of_a_batch_is_told(node: Node) -> None:
    ids = _unmapped(node)
    batch = quarantine.retry(node, "ana", ids=ids)
    assert quarantine.progress(node, batch) == quarantine.Progress(waits=3, through=0, back=0)
    worker.work(replace(node, project_of={**node.project_of, STRANGER: LUNG}), "test")
    assert quarantine.progress(node, batch) == quarantine.Progress(waits=0, through=3, back=0)
    assert quarantine.progress(node, quarantine.Batch(0)).total == 0


def test_each_reason_has_something_to_do_and_a_sentence() -> None:
    assert set(remedies.REMEDIES) == set(Reason)
    assert all("discard" in one.actions and one.advice for one in remedies.REMEDIES.values())


# --- another profile --------------------------------------------------------------------------------------------------


def _two_profiles(node: Node) -> Node:
    """Breast has the profile `research`; lung has `basic`."""
    projects = dict(node.projects)
    projects[BREAST] = replace(projects[BREAST], profile=BUILT_IN["research"])
    return replace(node, projects=projects)


def test_offered_are_profiles_that_the_site_has_chosen_and_the_strictest(node: Node) -> None:
    assert alternatives.offered(node, node.projects[LUNG]) == []
    both = _two_profiles(node)
    [research] = alternatives.offered(both, both.projects[LUNG])
    assert (research.word, research.searches, research.removes) == ("project/breast", True, ())
    assert "clean_descriptors" in research.keeps
    [basic] = alternatives.offered(both, both.projects[BREAST])
    assert basic.word == "basic" and "clean_descriptors" in basic.removes
    assert "clean_pixel_data" in basic.profile.options  # what protects is never given up


def test_another_profile_makes_the_instance_and_is_written_down(node: Node) -> None:
    both = _two_profiles(node)
    ingest.receive(both, ct("MRN-0007", elements={"Modality": "US"}), SCANNER)
    _drain(both)
    [held] = quarantine.entries(both)
    assert held.reason == Reason.PIXELS_NOT_CHECKED
    with pytest.raises(BadInput):
        quarantine.retry(both, "ana", ids=[held.id], profile="research")
    quarantine.retry(both, "ana", ids=[held.id], profile="project/breast")
    assert both.audit.entries(1)[0].details == {"profile": "project/breast"}
    _drain(both)
    with both.engine.connect() as connection:
        assert arrivals.get(connection, held.id).profile == "project/breast"
        layout = connection.execute(select(pixel_checks.c.state).where(pixel_checks.c.id == held.id)).scalar_one()
        connection.execute(update(pixel_checks).values(state="clean"))
    assert layout == "waiting"  # this profile has its pixels looked at, which the project's own does not


def test_the_archive_keeps_which_profile_it_was(node: Node) -> None:
    both = _two_profiles(node)
    taken = ingest.receive(both, ct("MRN-0008"), STRANGER).id
    _drain(both)
    mapped = replace(both, project_of={**both.project_of, STRANGER: LUNG})
    with both.engine.begin() as connection:
        arrivals.choose_profile(connection, [taken], "project/breast")
        assert quarantine.give_back(mapped, connection, "ana", taken)
    _drain(mapped)
    [other] = alternatives.offered(mapped, mapped.projects[LUNG])
    with both.engine.connect() as connection:
        assert arrivals.get(connection, taken).state == "archived"
        assert set(connection.execute(select(instance_versions.c.profile_digest)).scalars()) == {other.profile.digest}


def test_a_profile_that_is_gone_stops_and_nothing_takes_its_place(node: Node) -> None:
    both = _two_profiles(node)
    ingest.receive(both, ct("MRN-0007", elements={"Modality": "US"}), SCANNER)
    _drain(both)
    [held] = quarantine.entries(both)
    quarantine.retry(both, "ana", ids=[held.id], profile="project/breast")
    _drain(replace(both, projects={LUNG: both.projects[LUNG]}))
    again = quarantine.get(both, held.id)
    assert (again.state, again.reason) == ("waiting", Reason.FAILED)
    quarantine.retry(both, "ana", ids=[held.id])  # by its project's own again
    _drain(both)
    assert quarantine.get(both, held.id).reason == Reason.PIXELS_NOT_CHECKED


def _long_ago(node: Node, arrival_id: str) -> None:
    before = stamp(now() - timedelta(days=3))
    with node.engine.begin() as connection:
        values = {"received_at": before, "discarded_at": before}
        connection.execute(update(table).where(table.c.id == arrival_id).values(**values))


def test_who_comes_second_does_not_change_the_first_one_s_profile(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    both = _two_profiles(node)
    ingest.receive(both, ct("MRN-0007", elements={"Modality": "US"}), SCANNER)
    _drain(both)
    [held] = quarantine.entries(both)
    quarantine.retry(both, "ana", ids=[held.id], profile="project/breast")
    monkeypatch.setattr(quarantine, "_chosen", lambda *_: [held])  # as another read it just before
    assert quarantine.retry(both, "ben", ids=[held.id]).count == 0
    with both.engine.connect() as connection:
        assert arrivals.get(connection, held.id).profile == "project/breast"


def test_of_two_who_decide_on_the_same_at_once_the_first_one_s_word_stands(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have read the list before either wrote."""
    _unmapped(node, 3)
    read = quarantine.entries(node)
    monkeypatch.setattr(quarantine, "_chosen", lambda *_: read)
    assert quarantine.discard(node, "ana", ids=[read[0].id]) == 3
    batch = quarantine.retry(node, "ben", wanted=Wanted(Reason.UNMAPPED_SOURCE))
    assert (batch.count, quarantine.discard(node, "ben", wanted=Wanted(Reason.UNMAPPED_SOURCE))) == (0, 0)
    assert [quarantine.get(node, one.id).state for one in read] == ["discarded"] * 3
    assert [quarantine.restore(node, name, wanted=Wanted()) for name in ("ana", "ben")] == [3, 0]
    assert len(node.audit.entries(50, action="quarantine-restored")) == 3
    assert node.audit.entries(50, action="quarantine-retried") == [] and node.audit.verify() > 0


def test_what_was_discarded_a_day_ago_comes_back_no_more_though_no_sweep_has_run(node: Node) -> None:
    late, fresh = _unmapped(node, 2)
    quarantine.discard(node, "ana", ids=[late, fresh])
    over = stamp(now() - quarantine.GRACE - timedelta(seconds=1))
    with node.engine.begin() as connection:
        connection.execute(update(table).where(table.c.id == late).values(discarded_at=over))
    with pytest.raises(NotFound):
        quarantine.restore(node, "ana", ids=[late])
    assert [one.id for one in quarantine.entries(node, state="discarded")] == [fresh]
    assert quarantine.restore(node, "ana", wanted=Wanted()) == 1
    assert discarded.sweep(node) == 1 and node.quarantine.names() == [fresh]


def test_a_heap_is_given_back_and_each_of_it_written_down_once(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "_AT_ONCE", 2)
    ids = _unmapped(node, 5)
    batch = quarantine.retry(node, "ana", wanted=Wanted(Reason.UNMAPPED_SOURCE))
    told = [entry.subject for entry in reversed(node.audit.entries(5))]
    assert (batch.count, batch.last - batch.first, told) == (5, 4, ids)
    assert quarantine.progress(node, batch) == quarantine.Progress(5, 0, 0)
    _drain(node)
    assert quarantine.progress(node, batch) == quarantine.Progress(0, 0, 5)


def test_another_profile_that_does_not_help_either_brings_it_back_to_be_tried_otherwise(node: Node) -> None:
    both = _two_profiles(node)
    ingest.receive(both, ct("MRN-0007", elements={"Modality": "US"}), SCANNER)
    _drain(both)
    [held] = quarantine.entries(both)
    quarantine.retry(both, "ana", ids=[held.id], profile="project/breast")
    _drain(both)
    again = quarantine.get(both, held.id)  # by that profile its pixels are to be searched, which nobody has done yet
    assert (again.state, again.reason, both.quarantine.names()) == ("waiting", Reason.PIXELS_NOT_CHECKED, [held.id])
    quarantine.retry(both, "ana", ids=[held.id])
    with both.engine.connect() as connection:
        assert arrivals.get(connection, held.id).profile is None


def test_whom_a_reader_s_rejected_image_is_of_can_be_forgotten_and_nothing_is_taken_back(node: Node) -> None:
    """Rejected, discarded from an unknown source, taken back and waiting again: all of one person."""
    rejected = hold(node, ultrasound(7))
    unknown = ingest.receive(node, ultrasound(7), STRANGER).id
    _drain(node)
    back = hold(node, ultrasound(7))
    others = hold(node, ultrasound(8))
    for one in (rejected, back, others):
        review.decide(node, "ana", one, "reject", seen=0)
    quarantine.discard(node, "ana", ids=[unknown])
    quarantine.restore(node, "ana", ids=[back])
    forget(node, "ana", marks_of(node, "MRN-0007"))
    assert node.quarantine.names() == [others] and node.spool.names() == []
    for one in (rejected, unknown, back):
        with pytest.raises(NotFound):
            quarantine.restore(node, "ana", ids=[one])
        with pytest.raises(NotFound):
            quarantine.get(node, one)
    recover(node)
    _drain(node)
    assert quarantine.restore(node, "ana", wanted=Wanted()) == 1
    assert node.quarantine.names() == [others] and verify(node).findings == []
    with node.engine.connect() as connection:
        assert connection.execute(select(pixel_checks.c.id)).scalars().all() == [others]
