from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, update
from tests.stored import LUNG, clean, index, process, records

from carina.errors import NotFound
from carina.model.clock import new_id, now, stamp
from carina.model.ids import Uid
from carina.model.instance import Reason, Source
from carina.storage import arrivals
from carina.storage.schema import arrivals as table

SCANNER = Source("aet", "SCANNER")
FOLDER = Source("folder", "inbox")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with records(tmp_path) as engine:
        yield engine


def arrive(engine: Engine, number: int = 1, source: Source = SCANNER) -> list[str]:
    ids = [new_id() for _ in range(number)]
    with engine.begin() as connection:
        for arrival_id in ids:
            arrivals.add(connection, arrival_id, source, 100)
    return sorted(ids)


def finish(engine: Engine, arrival_id: str, state: str, reason: Reason | None = None) -> bool:
    with engine.begin() as connection:
        return arrivals.finish(connection, arrival_id, state, reason=reason)  # type: ignore[arg-type]


def test_the_oldest_is_claimed_first_and_by_one_worker_only(engine: Engine) -> None:
    first, second = arrive(engine, 2)
    one, two = arrivals.claim(engine, "w1"), arrivals.claim(engine, "w2")
    assert one is not None and two is not None
    assert (one.id, two.id) == (first, second)
    assert (one.source, one.size, one.state, one.attempts) == (SCANNER, 100, "received", 1)
    assert arrivals.claim(engine, "w3") is None


def test_a_finished_arrival_is_not_claimed_again_and_says_what_became_of_it(engine: Engine) -> None:
    [arrival_id] = arrive(engine)
    arrivals.claim(engine, "w1")
    with engine.begin() as connection:
        names = {"project": LUNG, "study_uid": Uid("2.25.1"), "uid": Uid("2.25.2")}
        assert arrivals.finish(connection, arrival_id, "archived", **names)
    assert arrivals.claim(engine, "w1") is None
    with engine.connect() as connection:
        done = arrivals.get(connection, arrival_id)
    assert (done.state, done.project, done.study_uid, done.uid) == ("archived", LUNG, "2.25.1", "2.25.2")
    assert done.finished_at is not None
    assert done.finished_at >= done.received_at


def test_what_one_worker_finished_another_does_not(engine: Engine) -> None:
    [arrival_id] = arrive(engine)
    assert finish(engine, arrival_id, "archived")
    assert not finish(engine, arrival_id, "quarantined", Reason.FAILED)
    with engine.connect() as connection:
        assert arrivals.get(connection, arrival_id).state == "archived"


def test_a_claim_ends_after_five_minutes(engine: Engine) -> None:
    [arrival_id] = arrive(engine)
    arrivals.claim(engine, "w1")

    def wait(minutes: int) -> None:
        past = stamp(now() - timedelta(minutes=minutes))
        with engine.begin() as connection:
            connection.execute(update(table).values(claimed_at=past))

    wait(4)
    assert arrivals.claim(engine, "w2") is None
    wait(6)
    again = arrivals.claim(engine, "w2")
    assert again is not None
    assert (again.id, again.attempts) == (arrival_id, 2)
    assert finish(engine, arrival_id, "archived")  # whoever comes first
    assert not finish(engine, arrival_id, "archived")


def test_claims_of_one_dead_worker_or_of_all_can_be_ended(engine: Engine) -> None:
    arrive(engine, 3)
    for worker in ("w1", "w2", "w2"):
        arrivals.claim(engine, worker)
    assert arrivals.release_claims(engine, "w1") == 1
    assert arrivals.claim(engine, "w3") is not None
    assert arrivals.release_claims(engine) == 3
    assert arrivals.release_claims(engine) == 0


def test_two_processes_never_claim_the_same(engine: Engine, tmp_path: Path) -> None:
    ids = arrive(engine, 60)
    code = """
from carina.storage import arrivals
from tests.records import new_records
engine = new_records(folder / "records.sqlite", "node")
print("ready", flush=True)
sys.stdin.readline()
while (arrival := arrivals.claim(engine, arguments[0])) is not None:
    print(arrival.id)
"""
    workers = [process(code, tmp_path, name) for name in ("w1", "w2")]
    for worker in workers:
        assert worker.stdout is not None
        worker.stdout.readline()
    claimed = [output.split() for output, _ in [worker.communicate("go\n", timeout=60) for worker in workers]]
    assert sorted(claimed[0] + claimed[1]) == ids


def test_what_is_in_quarantine_can_be_tried_again_with_its_attempts_forgotten(engine: Engine) -> None:
    [arrival_id] = arrive(engine)
    arrivals.claim(engine, "w1")
    finish(engine, arrival_id, "quarantined", Reason.FAILED)
    with engine.begin() as connection:
        arrivals.requeue(connection, [arrival_id])
    again = arrivals.claim(engine, "w1")
    assert again is not None
    assert (again.attempts, again.reason, again.finished_at) == (1, None, None)


def test_the_tally_counts_by_source_state_and_reason(engine: Engine) -> None:
    ids = arrive(engine, 6)
    for arrival_id, state in zip(ids, ("archived", "archived", "unchanged"), strict=False):
        finish(engine, arrival_id, state)
    for arrival_id, reason in zip(ids[3:5], (Reason.DAMAGED, Reason.CONFLICT), strict=True):
        finish(engine, arrival_id, "quarantined", reason)
    arrive(engine, 1, FOLDER)
    scanner, folder = arrivals.tally(engine)
    assert scanner.source == SCANNER
    assert (scanner.received, scanner.archived, scanner.unchanged, scanner.total) == (1, 2, 1, 6)
    assert scanner.quarantined == {Reason.DAMAGED: 1, Reason.CONFLICT: 1}
    assert (folder.source, folder.received, folder.total) == (FOLDER, 1, 1)
    assert arrivals.waiting(engine) == 2


def test_the_tally_reads_an_index_only(engine: Engine) -> None:
    plan = (
        "EXPLAIN QUERY PLAN SELECT source_kind, source_name, state, reason, count(*) FROM arrivals GROUP BY 1, 2, 3, 4"
    )
    with engine.connect() as connection:
        steps = [row[3] for row in connection.exec_driver_sql(plan)]
    assert any("COVERING INDEX" in step for step in steps), steps


def test_the_latest_come_newest_first(engine: Engine) -> None:
    ids = arrive(engine, 5)
    assert [arrival.id for arrival in arrivals.latest(engine, 3)] == ids[:1:-1]


def test_studies_show_how_they_fill_those_that_grew_last_first(engine: Engine) -> None:
    for instance in (clean(1), clean(1, study=2), clean(2, series=2, modality="SEG")):
        with engine.begin() as connection:
            index(connection, instance)
    first, second = arrivals.progress(engine)
    assert (first.study_uid, first.modalities, first.series, first.instances) == (
        clean().study_uid,
        ("CT", "SEG"),
        2,
        2,
    )
    assert first.first_at < second.first_at < first.last_at
    assert second.instances == 1
    assert arrivals.progress(engine, 1) == [first]


def test_an_unknown_arrival_is_not_found(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(NotFound):
        arrivals.get(connection, "nothing")


def test_a_batch_is_claimed_whole_and_what_was_tried_before_comes_alone(engine: Engine) -> None:
    with engine.begin() as connection:
        for name in ("a", "b", "c", "d"):
            arrivals.add(connection, name, SCANNER, 10)
    assert arrivals.claim(engine, "died").id == "a"  # type: ignore[union-attr]
    arrivals.release_claims(engine, "died")
    assert [one.id for one in arrivals.claim_batch(engine, "w", 10, 1000)] == ["a"]
    assert [one.id for one in arrivals.claim_batch(engine, "w", 2, 1000)] == ["b", "c"]
    assert [one.id for one in arrivals.claim_batch(engine, "w", 2, 1000)] == ["d"]
    assert arrivals.claim_batch(engine, "w", 2, 1000) == []


def test_a_batch_ends_where_its_bytes_are_reached(engine: Engine) -> None:
    with engine.begin() as connection:
        for name in ("a", "b", "c"):
            arrivals.add(connection, name, SCANNER, 600)
    assert [one.id for one in arrivals.claim_batch(engine, "w", 10, 1000)] == ["a", "b"]
