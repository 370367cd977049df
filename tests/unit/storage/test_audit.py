import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from tests.stored import process, records

from carina.errors import Conflict
from carina.storage.audit import FIRST, AuditTrail


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    with records(tmp_path) as engine:
        yield engine


@pytest.fixture
def trail(engine: Engine) -> AuditTrail:
    trail = AuditTrail(engine)
    for number in range(1, 6):
        trail.append("archived", "aet:SCANNER", f"2.25.{number}", project="lung", attempts=number)
    return trail


def change(engine: Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def test_rows_come_back_newest_first(trail: AuditTrail) -> None:
    trail.append("published", "anna", "urn:uuid:1")
    newest, second = trail.entries(2)
    assert (newest.seq, newest.actor, newest.action, newest.subject) == (6, "anna", "published", "urn:uuid:1")
    assert second.details == {"project": "lung", "attempts": 5}
    assert [entry.seq for entry in trail.entries(2, before=3)] == [2, 1]
    assert [entry.seq for entry in trail.entries(9, action="published")] == [6]


def test_a_digest_is_that_of_the_rows_canonical_json(trail: AuditTrail) -> None:
    second, first = trail.entries(2, before=3)
    assert (first.previous, second.previous) == (FIRST, first.digest)
    row = {name: value for name, value in vars(second).items() if name != "digest"}
    canonical = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert second.digest == sha256(canonical.encode()).hexdigest()


def test_an_unbroken_trail_says_how_long_it_is(engine: Engine, trail: AuditTrail) -> None:
    assert trail.verify() == 5
    trail.append("named", "ünïcode", "漢字", number=0.1, deep={"b": [1, None, True], "a": "ß"})
    assert AuditTrail(engine).verify() == 6


@pytest.mark.parametrize(
    "column", ["at = '2020'", "actor = 'x'", "action = 'x'", "subject = 'x'", "details = '{}'", "previous = digest"]
)
def test_a_changed_row_is_found(engine: Engine, trail: AuditTrail, column: str) -> None:
    change(engine, f"UPDATE audit SET {column} WHERE seq = 3")
    with pytest.raises(Conflict, match="row 3"):
        trail.verify()


def test_a_row_that_was_changed_with_its_digest_breaks_the_next(engine: Engine, trail: AuditTrail) -> None:
    entry = trail.entries(1, before=4)[0]
    row = {name: value for name, value in vars(entry).items() if name != "digest"} | {"actor": "x"}
    digest = sha256(json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()
    change(engine, f"UPDATE audit SET actor = 'x', digest = '{digest}' WHERE seq = 3")
    with pytest.raises(Conflict, match="row 4"):
        trail.verify()


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_missing_row_is_found_at_the_beginning_between_and_at_the_end(
    engine: Engine, trail: AuditTrail, number: int
) -> None:
    change(engine, f"DELETE FROM audit WHERE seq = {number}")
    with pytest.raises(Conflict, match=f"row {number}"):
        trail.verify()


def test_a_missing_row_is_found_when_the_others_close_ranks(engine: Engine, trail: AuditTrail) -> None:
    change(engine, "DELETE FROM audit WHERE seq = 3", "UPDATE audit SET seq = seq - 1 WHERE seq > 3")
    with pytest.raises(Conflict, match="row 3"):
        trail.verify()


def test_swapped_rows_are_found(engine: Engine, trail: AuditTrail) -> None:
    swap = [f"UPDATE audit SET seq = {new} WHERE seq = {old}" for old, new in ((2, 99), (3, 2), (99, 3))]
    change(engine, *swap)
    with pytest.raises(Conflict, match="row 2"):
        trail.verify()


def test_a_trail_that_was_emptied_is_found(engine: Engine, trail: AuditTrail) -> None:
    change(engine, "DELETE FROM audit")
    with pytest.raises(Conflict, match="row 1"):
        trail.verify()
    change(engine, "DELETE FROM audit_head")
    with pytest.raises(Conflict):
        trail.verify()
    with pytest.raises(Conflict):
        trail.append("archived", "x")


def test_a_row_in_the_callers_transaction_stays_or_goes_with_it(engine: Engine, trail: AuditTrail) -> None:
    with pytest.raises(RuntimeError), engine.begin() as connection:
        trail.append("archived", "x", connection=connection)
        raise RuntimeError
    assert trail.verify() == 5
    with engine.begin() as connection:
        assert trail.append("archived", "x", connection=connection) == 6
        assert trail.append("archived", "x", connection=connection) == 7
    assert trail.verify() == 7


def test_what_json_cannot_say_is_refused_and_leaves_the_trail_whole(trail: AuditTrail) -> None:
    for value in (b"bytes", float("nan")):
        with pytest.raises((TypeError, ValueError)):
            trail.append("archived", "x", value=value)
    assert trail.verify() == 5


def test_processes_append_at_once_to_one_chain(engine: Engine, trail: AuditTrail, tmp_path: Path) -> None:
    code = """
from carina.storage.audit import AuditTrail
from tests.records import new_records
trail = AuditTrail(new_records(folder / "records.sqlite", "node"))
for number in range(25):
    trail.append("archived", arguments[0], str(number))
"""
    writers = [process(code, tmp_path, name) for name in ("one", "two")]
    assert [writer.communicate(timeout=60)[1] for writer in writers] == ["", ""]
    assert trail.verify() == 55
    for name in ("one", "two"):
        mine = [int(entry.subject) for entry in trail.entries(100) if entry.actor == name]
        assert mine == list(reversed(range(25)))
