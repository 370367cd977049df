"""Whether all is well with a node, in one sentence and by parts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, text, update
from tests.support import SCANNER, ct, make_node

from carina.model.clock import new_id, now, stamp
from carina.model.instance import Source
from carina.node import arrivals, growth, ingest, standing, worker
from carina.node import quarantine as waiting
from carina.node import watch as watching
from carina.node.overview import Overview, Seen, _heard, overview, parts
from carina.node.part import Around, Part
from carina.node.site import Node
from carina.node.watch import Watch
from carina.storage import growth as sums
from carina.storage import trail
from carina.storage.schema import arrivals as rows
from carina.storage.schema import hubs, node_tables, permit_states, quarantine

ROOM = Around(disk=lambda _: (10**12, 10**11, 9 * 10**11))


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    yield node
    node.engine.dispose()


def take(node: Node, *numbers: int, source: Source = SCANNER) -> None:
    for number in numbers:
        ingest.receive(node, ct(number=number), source)
    while worker.work(node, "test"):
        pass


def part(seen: Overview, name: str) -> Part:
    [found] = [one for one in seen.parts if one.name == name]
    return found


def came(node: Node, days_ago: float, source: Source = SCANNER, state: str = "archived", size: int = 10) -> None:
    """An arrival of another day."""
    at = stamp(now() - timedelta(days=days_ago))
    kind = {"source_kind": source.kind, "source_name": source.name, "project": "lung"}
    with node.engine.begin() as connection:
        row = {"id": new_id(), **kind, "received_at": at, "finished_at": at, "size": size, "state": state}
        connection.execute(insert(rows), {**row, "attempts": 1})


def test_where_nothing_is_wanting_one_sentence_says_so(node: Node) -> None:
    assert overview(node, ROOM).sentence == "All is well: nothing waits."
    take(node, 1, 2)
    seen = overview(node, ROOM)
    assert (seen.verdict, seen.sentence) == ("well", "All is well: 1 source was heard today, nothing waits.")
    assert seen.wanting == () and len({one.name for one in seen.parts}) == len(seen.parts) == 14


def test_what_waits_for_a_decision_wants_attention_and_says_where(node: Node) -> None:
    take(node, 1)
    take(node, 2, 3, source=Source("aet", "STRANGER"))
    seen = overview(node, ROOM)
    assert (seen.verdict, seen.sentence) == ("attention", "Attention: 2 images wait in quarantine for a decision.")
    [wanting] = seen.wanting
    assert (wanting.state, wanting.link) == ("warn", "/quarantine") and wanting.hint


def test_the_worst_comes_first(node: Node) -> None:
    take(node, 2, source=Source("aet", "STRANGER"))
    full = Around(disk=lambda _: (10**12, 10**12, 10**6), workers=dict, wanted=("worker-1",), served=True)
    seen = overview(node, full)
    assert seen.verdict == "trouble" and seen.sentence.startswith("Trouble: 1 of 1 processes does not run; The disk is")
    assert [one.state for one in seen.wanting] == ["bad", "bad", "warn"]


def test_parts_are_told_without_a_server(node: Node) -> None:
    assert [one.state for one in parts(node)].count("bad") == 0
    assert part(overview(node, Around(served=False)), "Workers").sentence == "The node does not run."


def test_an_image_that_waits_long_wants_attention(node: Node) -> None:
    ingest.receive(node, ct(), SCANNER)
    assert part(overview(node, ROOM), "Workers").sentence == "1 image is being worked on."
    with node.engine.begin() as connection:
        connection.execute(update(rows).values(received_at=stamp(now() - timedelta(minutes=40, seconds=5))))
    workers = part(overview(node, ROOM), "Workers")
    assert workers.sentence == "1 image has waited for a worker for 40 minutes." and workers.state == "warn"


def test_a_source_is_missed_when_it_is_silent_for_twice_its_longest_pause(node: Node) -> None:
    for day in (20, 19, 18, 15, 14):
        came(node, day)
    silent = part(overview(node, ROOM), "Reception")
    assert (
        silent.sentence
        == "aet:SCANNER has sent nothing for 14 days; its longest pause in four weeks was 3.".replace("aet:", "")
    )
    came(node, 5)
    assert part(overview(node, ROOM), "Reception").state == "good"  # its longest pause is 9 days now


@pytest.mark.parametrize(("days", "longest"), [([], None), (["2026-01-01", "2026-01-05"], None)])
def test_a_source_of_few_days_has_no_usual_pause(days: list[str], longest: int | None) -> None:
    assert arrivals.longest_pause(days) == longest
    assert arrivals.longest_pause(["2026-01-01", "2026-01-02", "2026-01-03"]) == 1


def test_the_disk_s_end_is_told_from_how_the_archive_grew(node: Node) -> None:
    for day in (29, 10, 1):
        came(node, day, size=10**9)
    grown = growth.growth(node)
    assert grown.since(30) == (3, 3 * 10**9) and grown.since(7) == (1, 10**9)
    assert grown.a_day == 10**8 and grown.days_until(9 * 10**8) == 9 and grown.days_until(10**15) is None
    soon = Around(disk=lambda _: (10**10, 9 * 10**9, 9 * 10**8))
    assert part(overview(node, soon), "Disk").sentence == "The disk is full in about 9 days."


def test_days_that_are_kept_are_not_counted_again(node: Node) -> None:
    came(node, 3, size=7)
    came(node, 0, size=5)
    before = growth.growth(node).days
    today = now().date()
    assert sums.keep(node.engine, today, growth.DAYS) == growth.DAYS and sums.keep(node.engine, today, 90) == 0
    assert growth.growth(node).days == before and [day.size for day in before] == [7, 5]
    came(node, 3, size=9)
    assert growth.growth(node).days == before


def test_what_the_console_counts_is_found_in_indexes_of_sqlite(node: Node) -> None:
    for question in (
        "SELECT COUNT(*) FROM arrivals WHERE source_kind = 'aet' AND source_name = 'S' AND received_at >= '2026'",
        "SELECT project, COUNT(*), SUM(size) FROM arrivals WHERE finished_at >= '2026-01-01' AND finished_at < "
        "'2026-01-02' AND state = 'archived' AND project IS NOT NULL GROUP BY project",
        "SELECT reason, COUNT(*), SUM(size) FROM quarantine WHERE state = 'waiting' GROUP BY reason",
        "SELECT series_uid, COUNT(*), SUM(size) FROM instances GROUP BY series_uid",
    ):
        with node.engine.connect() as connection:
            plan = " ".join(str(row) for row in connection.execute(text(f"EXPLAIN QUERY PLAN {question}")))
        assert "COVERING INDEX" in plan, plan


def test_the_audit_trail_is_checked_in_steps_round_after_round(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "NEW_ROWS", 3)
    monkeypatch.setattr(watching, "ROWS", 3)
    monkeypatch.setattr(watching, "ROUND", timedelta(0))
    for number in range(5):
        node.audit.append("searched", "nora", str(number))
    watch = Watch(node, ROOM)
    assert standing.trail(node).sentence == "Checked up to row 3 of 5."
    watch.care()
    watch.care()
    assert standing.trail(node).sentence == "Whole up to row 5, just checked."
    audit = node_tables.tables["audit"]
    with node.engine.begin() as connection:
        connection.execute(update(audit).where(audit.c.seq == 4).values(actor="mallory"))
    for _ in range(4):  # a broken trail stays so while the next round is under way
        watch.care()
        watch.care()
        found = standing.trail(node)
        assert "broken at row 4" in found.sentence and found.state == "bad"


def test_a_round_through_the_trail_begins_once_a_minute(node: Node) -> None:
    watch = Watch(node, ROOM)
    watch.care()
    first = trail.last_check(node.engine)
    watch.care()
    assert first is not None and trail.last_check(node.engine) == first


def test_a_trail_whose_end_was_cut_off_is_not_whole(node: Node) -> None:
    for number in range(3):
        node.audit.append("searched", "nora", str(number))
    audit = node_tables.tables["audit"]
    with node.engine.begin() as connection:
        connection.execute(audit.delete().where(audit.c.seq == 3))
    assert "broken at row 3" in standing.trail(node).sentence


def test_a_hub_that_is_silent_and_a_clock_that_is_wrong_want_attention(node: Node) -> None:
    at = now()
    hub = {
        "id": "h-x",
        "title": "Centre",
        "url": "http://hub",
        "broker": "b:1",
        "broker_ca": "",
        "key": {"kty": "OKP", "crv": "Ed25519", "x": "A"},
    }
    with node.engine.begin() as connection:
        connection.execute(
            insert(hubs),
            {**hub, "joined_at": stamp(at), "state": "joined", "last_contact": stamp(at - timedelta(hours=1))},
        )
        states = {"hub": "h-x", "number": 1, "issued_at": stamp(at - timedelta(seconds=25)), "received_at": stamp(at)}
        connection.execute(insert(permit_states), {**states, "states": {}})
    assert standing.hubs(node, at).sentence == "Centre was last heard 60 minutes ago."
    assert standing.hubs(node, at, served=False).state == "good"
    assert standing.clock(node).sentence == "The clock is 25 s apart from that of Centre."
    assert part(overview(node, ROOM), "Keys and certificates").state == "warn"


def test_a_server_s_care_checks_the_trail_and_keeps_sums(node: Node) -> None:
    take(node, 1)
    watch = Watch(node, ROOM)
    assert part(watch.overview(), "Audit trail").state == "good"
    watch.care()
    assert part(overview(node, ROOM, Seen(watch.arriving(), watch.growth())), "Audit trail").sentence
    with node.engine.connect() as connection:
        assert connection.execute(text("SELECT COUNT(*) FROM growth")).scalar_one() == growth.DAYS


def test_storage_adds_up(node: Node) -> None:
    take(node, 1, 2)
    ingest.receive(node, b"x" * 500, SCANNER)
    with node.engine.connect() as connection:
        [held] = connection.execute(quarantine.select()).all() or [None]
    found = growth.storage(node, growth.growth(node), (100, 60, 40))
    assert found.growth.archive.instances == 2 and found.growth.size == sum(one.size for one in found.growth.heaps) > 0
    assert (found.total, found.free) == (100, 40) and found.records > 0
    assert held is None or found.held == {held.reason: (1, held.size)}
    put_away = waiting.entries(node)[0]
    waiting.discard(node, "ana", ids=[put_away.id])
    found = growth.storage(node, growth.growth(node), (100, 60, 40))
    assert (found.held, found.discarded) == ({}, (1, put_away.size))


@pytest.mark.parametrize(
    ("heard", "known", "said"),
    [
        (1, 1, "1 source was heard today."),
        (2, 2, "All 2 sources were heard today."),
        (0, 1, "The source was not heard today."),
        (0, 2, "None of 2 sources was heard today."),
        (1, 3, "1 of 3 sources was heard today."),
        (2, 3, "2 of 3 sources were heard today."),
    ],
)
def test_one_source_is_told_of_otherwise_than_many(heard: int, known: int, said: str) -> None:
    assert _heard(heard, known) == said
