"""The records of a service: one database, shared by its processes.

`engine.begin()` is a transaction that writes, `engine.connect()` one that only reads. On SQLite the first takes the
write lock at once (waiting up to 30 s), so that what it reads cannot change before it writes; the second never waits.
Every commit is on the disk when it returns.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import orjson
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import URL, Connection, Engine, MetaData, create_engine, event, insert, select
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.url import make_url
from sqlalchemy.exc import ArgumentError

from carina.errors import BadSettings, Busy, CarinaError, Full, WrongKey
from carina.model.keys import KeyRing, check_value, key_names
from carina.storage.hub_schema import hub_tables
from carina.storage.postgresql import open_postgresql
from carina.storage.ready import ReadyJson
from carina.storage.schema import node_tables

Role = Literal["node", "hub"]
TABLES: dict[Role, MetaData] = {"node": node_tables, "hub": hub_tables}

_PATIENCE = 30  # s that a writer waits for another
_PRAGMAS = (
    f"busy_timeout = {_PATIENCE * 1000}",
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",  # what is deleted is overwritten
)
_MIGRATIONS = Path(__file__).parent / "migrations"
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE}
_HELD = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNUSABLE = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY}


class _SqliteEngine(Engine):
    """An engine whose `begin()` takes SQLite's write lock at once."""

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        with self.connect() as connection:
            writing = connection.execution_options(carina_writes=True)
            with writing.begin():
                yield writing


def open_engine(place: str | Path) -> Engine:
    """The database at `place`, a SQLite file's path or an address of SQLite or PostgreSQL, for threads and processes.

    A SQLite file and its folder are made when absent, for their owner only. Whatever uses the engine raises `Full` when
    the disk is, `Busy` when another process keeps the write lock for more than 30 s, and `BadSettings` when the file
    cannot be used. Nothing is connected to yet; see `upgrade`.
    """
    try:
        address = URL.create("sqlite", database=str(place)) if isinstance(place, Path) else make_url(place)
        if address.get_backend_name() != "sqlite":
            return open_postgresql(address, **_JSON)
    except (ArgumentError, ModuleNotFoundError) as error:
        raise BadSettings("The address of the records is none that Carina can use.") from error
    if address.database not in (None, "", ":memory:"):
        _make_private(Path(str(address.database)))
    made = create_engine(
        address, connect_args={"timeout": _PATIENCE, "isolation_level": None}, max_overflow=40, **_JSON
    )
    engine = _SqliteEngine(made.pool, made.dialect, made.url, hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _explain)
    return engine


def to_text(value: object) -> str:
    """A value as JSON columns hold it: compact, in the order of its keys, letters as they are.

    Raises `ValueError` for a number that JSON has no word for (NaN, infinity) and `TypeError` for what is no JSON.
    What orjson does not take, such as keys that are numbers, half a surrogate pair or a number of more than 64 bits,
    is written by the standard library; orjson itself would write NaN as null, and nobody would know.
    """
    if isinstance(value, ReadyJson):
        return value.text
    try:
        text = orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    if b"null" in text and _has_nan(value):
        raise ValueError("a number is none that JSON knows")
    return text.decode()


def from_text(text: str | bytes) -> Any:
    """The value of a JSON column."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:  # half a surrogate pair
        return json.loads(text)


def _has_nan(value: object) -> bool:
    """Whether a number in it is not finite."""
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, dict):
        return any(_has_nan(item) for item in value.values())
    return isinstance(value, list | tuple) and any(_has_nan(item) for item in value)


_JSON: dict[str, Any] = {"json_serializer": to_text, "json_deserializer": from_text}


def _make_private(path: Path) -> None:
    """An empty file that only its owner may read; SQLite gives its companions (-wal, -shm) the same rights."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise BadSettings("The folder of the records cannot be written to.") from error


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in _PRAGMAS:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                connection.execute(f"PRAGMA {pragma}")
                break
            except sqlite3.Error as error:
                better = explained(error)
                if not isinstance(better, Busy) or time.monotonic() > until:
                    raise better or error from error
                time.sleep(0.05)  # new records: SQLite itself does not wait to make them WAL


def _begin(connection: Connection) -> None:
    """Past SQLAlchemy, for which this would be as much work as the question that follows."""
    writes = connection.get_execution_options().get("carina_writes", False)
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    try:
        raw.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    except sqlite3.Error as error:
        raise explained(error) or error from error


def _explain(context: ExceptionContext) -> None:
    error = context.original_exception
    better = explained(error) if isinstance(error, sqlite3.Error) else None
    if better is not None:
        raise better from error


def explained(error: sqlite3.Error) -> CarinaError | None:
    """What a person can do about it; None for a fault of our own."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    if code in _NO_ROOM:
        return Full("There is no room left on the disk for the records.")
    if code & 0xFF in _HELD:
        return Busy("Another process is writing the records and does not finish.", "Try again in a minute.")
    if code & 0xFF in _UNUSABLE:
        return BadSettings(
            "The file of the records cannot be used as a database.",
            "Check that it may be written, or put a back-up in its place.",
        )
    return None


def upgrade(engine: Engine, role: Role) -> None:
    """Bring the tables of a node's or hub's records to this version; nothing happens when they are. Safe to repeat.

    Raises `BadSettings` when a newer version made them, or when they are the other role's.
    """
    with engine.begin() as connection:
        migrate(connection, role, "head")


def migrate(connection: Connection, role: Role, revision: str) -> None:
    """Bring the tables to a revision (`head`: this version's) in the caller's transaction. Raises as `upgrade` does."""
    try:
        command.upgrade(_alembic(connection, role), revision)
    except CommandError as error:
        raise BadSettings(
            f"These are not records of a {role} that this version of Carina knows.",
            "Use the version that made them, or a newer one; check that the folder is the right one.",
        ) from error


def revisions(connection: Connection, role: Role) -> tuple[str | None, list[str]]:
    """The revision of these tables, None when there are none; and all that this version knows, the newest first."""
    script = ScriptDirectory.from_config(_alembic(connection, role))
    have = MigrationContext.configure(connection).get_current_revision()
    return have, [one.revision for one in script.walk_revisions()]


def _alembic(connection: Connection, role: Role) -> Config:
    """Alembic's settings for one role's migrations, run in the transaction of `connection`."""
    config = Config()
    config.set_main_option("script_location", _literal(_MIGRATIONS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _literal(_MIGRATIONS / role / "versions"))
    config.attributes.update(connection=connection, tables=TABLES[role])
    return config


def _literal(path: Path) -> str:
    return str(path).replace("%", "%%")


def check_keys(engine: Engine, ring: KeyRing) -> None:
    """Recognise the keys: their check values are kept at first; later another key raises `WrongKey`, which names it."""
    table = next(item for item in TABLES["node"].sorted_tables if item.name == "key_checks")
    with engine.begin() as connection:
        known: dict[str, Any] = {row.name: row.check for row in connection.execute(select(table))}
        for name in key_names():
            value = check_value(getattr(ring, name))
            if name not in known:
                connection.execute(insert(table), {"name": name, "check": value})
            elif known[name] != value:
                raise WrongKey(f"The key '{name}' is not the one these records were made with.")
