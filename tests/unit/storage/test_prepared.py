"""Statements that SQLite executes as SQLAlchemy has written them: the same values in and out, the same errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Engine,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    insert,
    select,
    update,
)

from carina.errors import BadSettings
from carina.storage.database import open_engine
from carina.storage.prepared import Prepared

TABLE = Table(
    "things",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", String),
    Column("told", JSON),
    Column("gone", Boolean),
)
ADD = Prepared(insert(TABLE))
NAMED = Prepared(
    select(TABLE.c.told, TABLE.c.gone, TABLE.c.id).where(
        TABLE.c.name == bindparam("wanted"), TABLE.c.gone.is_(False), TABLE.c.id < 9
    )
)
MORE = Prepared(update(TABLE).where(TABLE.c.id == 1).values(id=TABLE.c.id + bindparam("more")).returning(TABLE.c.id))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    made = open_engine(tmp_path / "records.db")
    yield made
    made.dispose()


def row(number: int, name: str = "a") -> dict[str, object]:
    return {"id": number, "name": name, "told": {"b": [number, None]}, "gone": False}


def test_values_are_changed_on_their_way_in_and_out_as_sqlalchemy_does(engine: Engine) -> None:
    with engine.begin() as connection:
        TABLE.create(connection)
        ADD.run_all(connection, [row(1), row(2, "c"), row(9)])
    with engine.connect() as connection:
        stored = [dict(found) for found in connection.execute(select(TABLE).order_by(TABLE.c.id)).mappings()]
    assert stored == [row(1), row(2, "c"), row(9)]
    assert NAMED.ask(engine, {"wanted": "a"}) == [({"b": [1, None]}, False, 1)]
    assert NAMED.ask(engine, {"wanted": "' or 1 --"}) == []


def test_it_belongs_to_the_callers_transaction(engine: Engine) -> None:
    with engine.begin() as connection:
        TABLE.create(connection)
        ADD.run(connection, row(1))
    with pytest.raises(ZeroDivisionError), engine.begin() as connection:
        assert MORE.run(connection, {"more": 2}) == [(3,)]
        raise ZeroDivisionError
    assert [found[2] for found in NAMED.ask(engine, {"wanted": "a"})] == [1]


def test_what_people_can_do_about_an_error_is_said(tmp_path: Path) -> None:
    place = tmp_path / "records.db"
    engine = open_engine(place)
    with engine.begin() as connection:
        TABLE.create(connection)
    engine.dispose()
    place.write_bytes(b"no database at all" * 500)
    with pytest.raises(BadSettings):
        NAMED.ask(engine, {"wanted": "a"})
    engine.dispose()
