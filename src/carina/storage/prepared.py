"""Statements that every request has executed: SQLAlchemy makes their text once, and SQLite has it as it is.

What SQLAlchemy does around each execution costs ten times what SQLite needs to look up a row. Other databases, which
answer over a network, are asked through SQLAlchemy.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Engine, Executable, Select
from sqlalchemy.sql.dml import UpdateBase

from carina.storage.database import explained

Row: TypeAlias = tuple[Any, ...]
Values: TypeAlias = Mapping[str, Any]
_Convert: TypeAlias = Callable[[Any], Any]


class Prepared:
    """A statement whose shape never changes: no lists of values."""

    def __init__(self, statement: Select[Any] | UpdateBase) -> None:
        self._statement: Executable = statement
        returned = statement.selected_columns if isinstance(statement, Select) else statement.exported_columns
        self._returned = [column.type for column in returned]
        self._made: WeakKeyDictionary[Dialect, _Text] = WeakKeyDictionary()

    def ask(self, engine: Engine, values: Values) -> list[Row]:
        """What one question that only reads finds. Raises what the engine raises."""
        if engine.dialect.name != "sqlite":
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(self._statement, dict(values))]
        text = self._text(engine.dialect)
        held = engine.raw_connection()  # one statement is its own transaction
        try:
            return text.run(cast(sqlite3.Connection, held.driver_connection), values)
        finally:
            held.close()

    def run(self, connection: Connection, values: Values) -> list[Row]:
        """Execute it in the caller's transaction; what it returns."""
        if connection.dialect.name != "sqlite":
            found = connection.execute(self._statement, dict(values))
            return [tuple(row) for row in found] if found.returns_rows else []
        return self._text(connection.dialect).run(_raw(connection), values)

    def run_all(self, connection: Connection, rows: Sequence[Values]) -> None:
        """Execute it for each of the rows, in the caller's transaction."""
        if connection.dialect.name != "sqlite":
            connection.execute(self._statement, [dict(row) for row in rows])
            return
        self._text(connection.dialect).run_all(_raw(connection), rows)

    def _text(self, dialect: Dialect) -> _Text:
        """Made once for each engine, which may have its own way to write JSON."""
        made = self._made.get(dialect)
        if made is None:
            made = self._made[dialect] = _Text(self._statement, self._returned, dialect)
        return made


class _Text:
    """A statement as SQLite has it, and what changes values on their way in and out."""

    def __init__(self, statement: Executable, returned: Sequence[Any], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        self._text = str(compiled)
        self._fixed: dict[str, Any] = dict(compiled.params)
        self._names: list[str] = list(compiled.positiontup or ())
        kinds = {name: compiled.binds[name].type.dialect_impl(dialect) for name in self._names}
        into = {name: kind.bind_processor(dialect) for name, kind in kinds.items()}
        self._into: list[tuple[str, _Convert | None]] = [(name, into[name]) for name in self._names]
        out = (kind.dialect_impl(dialect).result_processor(dialect, None) for kind in returned)
        self._out: list[tuple[int, _Convert]] = [(place, convert) for place, convert in enumerate(out) if convert]

    def run(self, raw: sqlite3.Connection, values: Values) -> list[Row]:
        try:
            rows: list[Row] = raw.execute(self._text, self._bound(values)).fetchall()
        except sqlite3.Error as error:
            raise explained(error) or error from error
        return [self._converted(row) for row in rows] if self._out else rows

    def run_all(self, raw: sqlite3.Connection, rows: Sequence[Values]) -> None:
        try:
            raw.executemany(self._text, [self._bound(row) for row in rows])
        except sqlite3.Error as error:
            raise explained(error) or error from error

    def _bound(self, values: Values) -> list[Any]:
        bound = []
        for name, convert in self._into:
            value = values[name] if name in values else self._fixed[name]
            bound.append(value if convert is None else convert(value))
        return bound

    def _converted(self, row: Row) -> Row:
        changed = list(row)
        for place, convert in self._out:
            changed[place] = convert(changed[place])
        return tuple(changed)


def _raw(connection: Connection) -> sqlite3.Connection:
    return cast(sqlite3.Connection, connection.connection.driver_connection)
