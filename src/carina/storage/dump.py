"""The records as lines of text, from one kind of database into another.

Each table is a sequence of lines: the first is a JSON list of its columns' names, each other one of a row's values.
Values are as the database has them: JSON columns as the text that they hold, bytes as {"b": base64}. All tables are of
one moment. Rows are put into tables of the same revision; migrations then bring them to this version.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import IO, Any

from sqlalchemy import (
    JSON,
    Connection,
    Engine,
    Table,
    Text,
    cast,
    column,
    delete,
    func,
    insert,
    inspect,
    select,
    table,
    text,
)
from sqlalchemy.exc import SQLAlchemyError

from carina.errors import BadInput, Conflict
from carina.storage.database import TABLES, Role, migrate

_AT_ONCE = 500  # rows
_LONGEST = 1 << 28  # characters of a line
_SKIPPED = {"sessions", "attempts", "visits"}  # who is signed in now
Put = Callable[[str], AbstractContextManager[IO[bytes]]]
"""Where a table's lines go, by the table's name."""


def revision(connection: Connection) -> str:
    """Of the tables."""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def dump(connection: Connection, role: Role, put: Put) -> dict[str, int]:
    """Write each table to what `put` gives for its name; how many rows each has.

    connection   of `engine.connect()`, so that all tables are of one moment
    """
    counts = {}
    for one in TABLES[role].sorted_tables:
        if one.name in _SKIPPED:
            continue
        with put(one.name) as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, mtime=0) as out:
            counts[one.name] = 0
            for line in _lines(connection, one):
                out.write(line)
                counts[one.name] += 1
            counts[one.name] -= 1  # the names of the columns
    return counts


def _lines(connection: Connection, rows: Table) -> Iterator[bytes]:
    yield _line([one.name for one in rows.columns])
    columns = [cast(one, Text) if isinstance(one.type, JSON) else one for one in rows.columns]
    wanted = select(*columns).order_by(*rows.primary_key.columns)
    for row in connection.execution_options(yield_per=_AT_ONCE).execute(wanted):
        yield _line([_plain(value) for value in row])


def _plain(value: Any) -> Any:
    return {"b": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _line(values: list[Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def require_empty(engine: Engine) -> None:
    """Raise `Conflict` when the database has tables."""
    with engine.connect() as connection:
        if inspect(connection).get_table_names():
            raise Conflict(
                "There are records in this database already.",
                "Name an empty one; what an import that was cut off left can be dropped.",
            )


def load(engine: Engine, role: Role, made_with: str, tables: Iterable[tuple[str, IO[bytes]]]) -> dict[str, int]:
    """Fill an empty database with what `dump` wrote, and bring it to this version; in one transaction.

    made_with   the revision of the tables
    tables      each table's name and bytes

    Raises `BadInput` for what is no dump, and `BadSettings` for one of a newer version. How many rows each has.
    """
    known = [one.name for one in TABLES[role].sorted_tables]
    with engine.begin() as connection:
        migrate(connection, role, made_with)
        present = {name: _columns(connection, name) for name in inspect(connection).get_table_names()}
        found = dict(tables)
        strange = found.keys() - present.keys()
        if strange:
            raise BadInput("This back-up has a table that records do not have.")
        for name in reversed([one for one in known if one in present]):
            connection.execute(delete(table(name)))  # rows that migrations made
        counts = {name: _fill(connection, name, present[name], found[name]) for name in known if name in found}
        _go_on_counting(connection, present)
        migrate(connection, role, "head")
    return counts


def _columns(connection: Connection, name: str) -> set[str]:
    return {str(one["name"]) for one in inspect(connection).get_columns(name)}


def _fill(connection: Connection, name: str, present: set[str], raw: IO[bytes]) -> int:
    with gzip.GzipFile(fileobj=raw, mode="rb") as lines:
        rows = _rows(lines)
        columns = next(rows, None)
        if columns is None or not all(isinstance(one, str) and one in present for one in columns):
            raise BadInput("A table of this back-up has columns that the records do not have.")
        statement = insert(table(name, *map(column, columns)))  # without types, so values go in as they are
        count, batch = 0, []
        for row in rows:
            if len(row) != len(columns):
                raise BadInput("A table of this back-up has a row of another length.")
            batch.append(dict(zip(columns, map(_value, row), strict=True)))
            if len(batch) == _AT_ONCE:
                count += _insert(connection, statement, batch)
                batch = []
        return count + _insert(connection, statement, batch)


def _insert(connection: Connection, statement: Any, batch: list[dict[str, Any]]) -> int:
    if batch:
        try:
            connection.execute(statement, batch)
        except SQLAlchemyError as error:
            raise BadInput("A table of this back-up has a row that the records do not take.") from error
    return len(batch)


def _rows(lines: gzip.GzipFile) -> Iterator[list[Any]]:
    try:
        while line := lines.readline(_LONGEST):
            row = json.loads(line)
            if not isinstance(row, list):
                raise BadInput("A table of this back-up is no table.")
            yield row
    except (ValueError, EOFError, OSError):
        raise BadInput("A table of this back-up cannot be read.") from None


def _value(value: Any) -> Any:
    return base64.b64decode(value["b"]) if isinstance(value, dict) else value


def _go_on_counting(connection: Connection, present: dict[str, set[str]]) -> None:
    """PostgreSQL numbers rows by sequences that do not see what was put in with a number."""
    if connection.dialect.name != "postgresql":
        return
    for name, columns in present.items():
        own = text("SELECT pg_get_serial_sequence(:name, 'id')")
        sequence = connection.execute(own, {"name": name}).scalar() if "id" in columns else None
        if sequence is not None:
            last = connection.execute(select(func.max(column("id"))).select_from(table(name))).scalar() or 0
            connection.execute(select(func.setval(sequence, last + 1, False)))
