"""The audit trail: who did what, in a chain of digests from its first row.

Each row's digest is the SHA-256 of its canonical JSON, which holds the digest of the row before. A row that was
changed, removed or moved breaks the chain; rows removed from the end are missed because the head is kept apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, bindparam, insert, select, update

from carina.errors import Conflict
from carina.model.clock import stamp
from carina.storage.prepared import Prepared
from carina.storage.schema import node_tables

FIRST = "0" * 64
FIELDS = ("seq", "at", "actor", "action", "subject", "details", "previous")  # of which the digest is made
_audit = node_tables.tables["audit"]
_head = node_tables.tables["audit_head"]
_ADD = Prepared(insert(_audit))
_MOVE = Prepared(
    update(_head)
    .where(_head.c.id == 1)
    .values(seq=_head.c.seq + bindparam("more"))
    .returning(_head.c.seq, _head.c.digest)
)
_CLOSE = Prepared(update(_head).where(_head.c.id == 1).values(digest=bindparam("last")))


@dataclass(frozen=True)
class Entry:
    """One row. `at` is UTC; `details` holds constant words, ids and numbers only."""

    seq: int
    at: str
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]
    previous: str
    digest: str


class Place(NamedTuple):
    """How far the trail was found whole: its row's number and digest, and whether that was its end then."""

    seq: int = 0
    digest: str = FIRST
    whole: bool = False


class AuditRow(NamedTuple):
    """What is to be written; see `AuditTrail.append`."""

    action: str
    actor: str
    subject: str = ""
    details: Mapping[str, Any] = {}


class AuditTrail:
    """The trail of one service; any number of processes may append."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def append(
        self, action: str, actor: str, subject: str = "", connection: Connection | None = None, **details: Any
    ) -> int:
        """Write what was done: durable when it returns, or, with the caller's `connection`, when that commits.

        details     JSON values; ids, constant words and numbers, never a header value or a secret
        connection  of `engine.begin()`

        Returns the row's number.
        """
        return self.append_all([AuditRow(action, actor, subject, details)], connection)[0]

    def append_all(self, rows: Sequence[AuditRow], connection: Connection | None = None) -> list[int]:
        """`append` of several, in order, in one transaction; their numbers."""
        if not rows:
            return []
        with self._transaction(connection) as current:
            heads = _MOVE.run(current, {"more": len(rows)})
            if not heads:
                raise Conflict("The audit trail has no head.", "Restore the records from a back-up.")
            [(last, previous)], at = heads, stamp()
            first = last - len(rows) + 1
            made = []
            for number, row in enumerate(rows, first):
                fields = {"seq": number, "at": at, **row._asdict(), "previous": previous}
                previous = digest_of(fields)
                made.append({**fields, "digest": previous})
            _ADD.run_all(current, made)
            _CLOSE.run(current, {"last": previous})
            return list(range(first, first + len(rows)))

    def verify(self) -> int:
        """How many rows there are, all unbroken. Raises `Conflict` that names the first row that is not."""
        with self._engine.connect() as connection:
            head = connection.execute(select(_head).where(_head.c.id == 1)).one_or_none()
            count, previous = 0, FIRST
            wanted = select(_audit).order_by(_audit.c.seq)
            # Closed by hand: where a row is broken, PostgreSQL still has a cursor open with the rows after it.
            with closing(connection.execution_options(yield_per=1000).execute(wanted)) as rows:
                for row in rows.mappings():
                    count += 1
                    if row["seq"] != count or row["previous"] != previous or row["digest"] != digest_of(dict(row)):
                        raise _broken(count)
                    previous = row["digest"]
            if head is None or (head.seq, head.digest) != (count, previous):
                raise _broken(count + 1)
        return count

    def verify_on(self, place: Place, most: int) -> Place:
        """Check at most `most` rows from `place` on. The head's row is checked as well when its end is reached.

        Raises `Conflict` as `verify` does.
        """
        wanted = select(_audit).where(_audit.c.seq > place.seq).order_by(_audit.c.seq).limit(most)
        with self._engine.connect() as connection:
            head = connection.execute(select(_head).where(_head.c.id == 1)).one_or_none()
            rows = connection.execute(wanted).mappings().all()
        seq, previous = place.seq, place.digest
        for row in rows:
            seq += 1
            if row["seq"] != seq or row["previous"] != previous or row["digest"] != digest_of(dict(row)):
                raise _broken(seq)
            previous = row["digest"]
        whole = len(rows) < most
        if head is None or (whole and seq < head.seq) or (seq == head.seq and previous != head.digest):
            raise _broken(seq + 1)
        return Place(seq, previous, whole)

    def entries(self, limit: int, before: int | None = None, action: str | None = None) -> list[Entry]:
        """The newest `limit` rows, newest first; only those before number `before`, only of one `action`."""
        wanted = select(_audit).order_by(_audit.c.seq.desc()).limit(limit)
        if before is not None:
            wanted = wanted.where(_audit.c.seq < before)
        if action is not None:
            wanted = wanted.where(_audit.c.action == action)
        with self._engine.connect() as connection:
            return [Entry(**row) for row in connection.execute(wanted).mappings()]

    def _transaction(self, connection: Connection | None) -> AbstractContextManager[Connection]:
        return self._engine.begin() if connection is None else nullcontext(connection)


def digest_of(row: Mapping[str, Any]) -> str:
    """SHA-256 of the row without its own digest: JSON, keys sorted, no spaces, UTF-8."""
    fields = {name: row[name] for name in FIELDS}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _broken(number: int) -> Conflict:
    return Conflict(
        f"The audit trail is broken at row {number}: it was changed, removed or moved.",
        "Compare with a back-up; what was written before this row is unchanged.",
    )
