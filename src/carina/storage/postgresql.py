"""Records in PostgreSQL: the same promises as SQLite's, made of what PostgreSQL has.

`engine.begin()` first takes one lock for all who write (waiting up to 30 s), so that what it reads cannot change before
it writes, and no two writers can wait for each other; `engine.connect()` reads one state from its first statement to
its end, and never waits. Text that PostgreSQL cannot keep, which is the character NUL alone, is kept as U+FFFD.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import ExceptionContext

from carina.errors import BadSettings, Busy, CarinaError, Full

DRIVER = "postgresql+psycopg"
WRITERS = 0x636172696E61  # the advisory lock of those who write; of this database alone
_PATIENCE = 30  # s that a writer waits for another
_CONNECT = 10  # s for a connection
_MOST = 40  # connections beyond the pool's own five
_LOCK = text(f"SELECT pg_advisory_xact_lock({WRITERS})")

_NO_ROOM = {"53100"}  # disk_full
_HELD = {"55P03", "40001", "40P01", "57014"}  # lock_not_available, serialization_failure, deadlock, query_canceled
_AWAY = ("08", "57P", "53")  # connection exceptions, operator's intervention, no resources: too many connections
_REFUSED = ("28", "3D", "42501")  # authorisation, no such database, no right to it


class _PostgresEngine(Engine):
    """An engine whose `begin()` waits until nobody else writes."""

    @contextlib.contextmanager
    def begin(self) -> Iterator[Connection]:
        with self.connect() as connection:
            writing = connection.execution_options(isolation_level="READ COMMITTED")
            with writing.begin():
                writing.execute(_LOCK)
                yield writing


def open_postgresql(address: URL, **options: Any) -> Engine:
    """The database at `address`, `postgresql+psycopg://…`; `options` are SQLAlchemy's. Nothing is connected to yet.

    Raises `BadSettings` for another driver's address, or when psycopg is not installed. Whatever uses the engine raises
    `Full` when the server's disk is, `Busy` when it does not answer or a lock is held for more than 30 s, and
    `BadSettings` when it does not let this service in.
    """
    if address.drivername != DRIVER:
        raise BadSettings("The records can be in SQLite or PostgreSQL.", f"Write the address as {DRIVER}://…")
    try:
        made = create_engine(
            address,
            hide_parameters=True,
            isolation_level="REPEATABLE READ",
            pool_pre_ping=True,  # a server that was started again meanwhile is no error
            max_overflow=_MOST,
            connect_args={"connect_timeout": _CONNECT, "options": _with_options(address)},
            **options,
        )
    except ModuleNotFoundError:
        raise BadSettings(
            "Records in PostgreSQL need a part that is not installed (psycopg).",
            "Install it with: pip install 'carina[node,postgresql]'",
        ) from None
    engine = _PostgresEngine(made.pool, made.dialect, made.url, hide_parameters=True)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "handle_error", _explain)
    return engine


def _with_options(address: URL) -> str:
    """What the server is to hold to in our sessions, after what the address itself asks of it."""
    own = address.query.get("options", "")
    asked = own if isinstance(own, str) else " ".join(own)
    return f"{asked} -c lock_timeout={_PATIENCE * 1000} -c synchronous_commit=on -c timezone=UTC".strip()


def _prepare(connection: Any, _record: object) -> None:
    from psycopg.types.string import StrDumperUnknown  # here, for the driver is an extra

    class Text(StrDumperUnknown):
        """Text without the one character that PostgreSQL has no place for."""

        def dump(self, obj: str) -> Any:
            """The text in the connection's encoding."""
            return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in obj else obj)

    connection.adapters.register_dumper(str, Text)


def _explain(context: ExceptionContext) -> None:
    if context.is_pre_ping:
        return  # SQLAlchemy connects anew, and says so if that fails
    explained = explained_error(context.original_exception)
    if explained is not None:
        raise explained from None  # the driver's words may quote values


def explained_error(error: BaseException | None) -> CarinaError | None:
    """What a person can do about an error of the driver; None for a fault of our own."""
    import psycopg  # here, for the driver is an extra

    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate
    if state in _NO_ROOM:
        return Full("There is no room left on the disk for the records.")
    if state in _HELD:
        return Busy("Another process is writing the records and does not finish.", "Try again in a minute.")
    if _says_no(error, state or ""):
        return BadSettings(
            "The server of the records does not let this service in.",
            "Check user, password and database in the address of the records, and the server's rights.",
        )
    if isinstance(error, psycopg.OperationalError) and (state is None or state.startswith(_AWAY)):
        return Busy("The server of the records does not answer.", "See whether PostgreSQL runs; then try again.")
    return None


def _says_no(error: BaseException, state: str) -> bool:
    """Whether the server refused us. When a connection fails, libpq gives no state, only its text."""
    words = "" if state else str(error)
    told = ("authentication failed", "does not exist", "no password supplied", "no pg_hba.conf entry")
    return state.startswith(_REFUSED) or any(one in words for one in told)
