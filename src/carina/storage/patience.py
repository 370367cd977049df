"""How long a question to the records may take: what is asked for too much is broken off, and the asker told."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from carina.errors import Busy

_STEPS = 20_000  # of SQLite's machine between two looks at the clock; some milliseconds


class Deadline:
    """The end of the time that a question has."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def is_over(self) -> bool:
        """Whether it has come."""
        return time.monotonic() > self._ends

    def keep(self) -> None:
        """Raise `Busy` when it has come."""
        if self.is_over():
            raise Busy(
                "The search takes too long and was broken off.",
                "Narrow it: name a patient, a study or a range of dates, or use fewer '*'.",
            )


@contextlib.contextmanager
def at_most(connection: Connection, seconds: float) -> Iterator[Deadline]:
    """Break off what is read within, by whichever database, after so many seconds: `Busy`.

    What goes on in Python meanwhile asks the deadline itself. On PostgreSQL each statement has this time.
    """
    deadline = Deadline(seconds)
    raw = connection.connection.driver_connection
    try:
        if isinstance(raw, sqlite3.Connection):
            raw.set_progress_handler(deadline.is_over, _STEPS)
        else:
            connection.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))
        yield deadline
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _CANCELLED and not deadline.is_over():
            raise
        Deadline(-1).keep()
    finally:
        if isinstance(raw, sqlite3.Connection):
            raw.set_progress_handler(None, 0)


_CANCELLED = "57014"  # PostgreSQL's "query_canceled"
