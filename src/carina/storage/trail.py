"""Reading the audit trail: part of it, all of it line by line, and how far it has been checked.

A trail may have many millions of rows, so whatever looks for some of them looks through a bounded number at a time.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Select, delete, insert, select

from carina.errors import BadInput, Conflict
from carina.model.clock import stamp
from carina.model.texts import plain_cell
from carina.storage.audit import FIRST, AuditTrail, Entry, Place
from carina.storage.schema import audit_check, node_tables

LOOKED_THROUGH = 50_000
"""Rows that one page looks through for those that are wanted."""
STEP = 20_000
"""Rows that one step of a check goes through: about a second."""
BLOCK = 1 << 16
"""Letters of one piece of a file that is sent while it is made."""
_AT_ONCE = 1_000
_LAST, _ENDED = 1, 2  # rows of `audit_check`
_audit = node_tables.tables["audit"]
State = Literal["running", "whole", "broken"]
Form = Literal["csv", "json"]


@dataclass(frozen=True)
class Wanted:
    """Which rows: of an action, an actor, about a subject, under a permit; empty: any.

    since, until   days, YYYY-MM-DD (UTC), both included
    """

    action: str = ""
    actor: str = ""
    subject: str = ""
    permit: str = ""
    since: str = ""
    until: str = ""

    def holds(self, entry: Entry) -> bool:
        """Whether the row is wanted, its day left aside."""
        same = (self.action, entry.action), (self.actor, entry.actor), (self.subject, entry.subject)
        under = (entry.subject, entry.details.get("permit"))
        return all(not mine or mine == its for mine, its in same) and (not self.permit or self.permit in under)


@dataclass(frozen=True)
class Found:
    """Rows, newest first. `before`: the number from which to look on; None when all has been looked through."""

    entries: tuple[Entry, ...]
    before: int | None


@dataclass(frozen=True)
class Check:
    """How far the trail was found whole. `seq`: the last such row; `state` broken: the next one is the first wrong one.

    total   rows of the trail now
    """

    seq: int
    at: str
    state: State
    total: int

    @property
    def percent(self) -> int:
        """How far it has come."""
        return 100 * self.seq // self.total if self.total else 100


def find(engine: Engine, wanted: Wanted, limit: int, before: int | None = None) -> Found:
    """The newest `limit` rows that are wanted, before number `before`; at most `LOOKED_THROUGH` are looked through."""
    first, end = bounds(engine, wanted.since, wanted.until)
    top = end if before is None else min(end, before)
    bottom = max(first, top - LOOKED_THROUGH)
    found: list[Entry] = []
    rows = select(_audit).where(_audit.c.seq >= bottom).order_by(_audit.c.seq.desc())
    place = top
    while place > bottom and len(found) <= limit:
        some = _page(engine, _narrowed(rows, wanted).where(_audit.c.seq < place))
        found += [entry for entry in some if wanted.holds(entry)]
        place = some[-1].seq if len(some) == _AT_ONCE else bottom
    if len(found) > limit:
        return Found(tuple(found[:limit]), found[limit - 1].seq)
    return Found(tuple(found), bottom if bottom > first else None)


def every(engine: Engine, wanted: Wanted) -> Iterator[Entry]:
    """All rows that are wanted and are there now, oldest first; a thousand at most are in memory."""
    first, end = bounds(engine, wanted.since, wanted.until)
    rows = select(_audit).where(_audit.c.seq < end).order_by(_audit.c.seq)
    place = first - 1
    while some := _page(engine, _narrowed(rows, wanted).where(_audit.c.seq > place)):
        yield from (entry for entry in some if wanted.holds(entry))
        place = some[-1].seq


def lines(entries: Iterator[Entry], form: Form) -> Iterator[str]:
    """The rows as text: JSON, one object in a line, or CSV with a heading (RFC 4180), details as JSON."""
    if form == "json":
        for entry in entries:
            yield json.dumps(asdict(entry), ensure_ascii=False) + "\n"
        return
    yield table_row(Entry.__dataclass_fields__)
    for entry in entries:
        details = json.dumps(entry.details, ensure_ascii=False, sort_keys=True)
        yield table_row(details if name == "details" else getattr(entry, name) for name in Entry.__dataclass_fields__)


def blocks(lines: Iterator[str]) -> Iterator[str]:
    """The lines put together into pieces of some 64 KiB: a server sends each piece by itself, which costs time."""
    some: list[str] = []
    size = 0
    for line in lines:
        some.append(line)
        size += len(line)
        if size >= BLOCK:
            yield "".join(some)
            some, size = [], 0
    if some:
        yield "".join(some)


def form_of(text: str) -> Form:
    """`csv` or `json`, or `BadInput`."""
    if text not in ("csv", "json"):
        raise BadInput("It is not given in this form.", "Ask for csv or json.")
    return "csv" if text == "csv" else "json"


def table_row(values: Iterable[Any]) -> str:
    """A line of CSV; no cell begins as a formula does."""
    made = io.StringIO()
    csv.writer(made).writerow([plain_cell(str(value)) for value in values])
    return made.getvalue()


def actions(engine: Engine) -> list[str]:
    """The actions that the trail has, in order; each is found by a step in an index, whatever the trail's length."""
    found: list[str] = []
    with engine.connect() as connection:
        while True:
            above = select(_audit.c.action).order_by(_audit.c.action).limit(1)
            if found:
                above = above.where(_audit.c.action > found[-1])
            word = connection.execute(above).scalar()
            if word is None:
                return found
            found.append(word)


def last_check(engine: Engine) -> Check | None:
    """How far the last check has come; None when there was none."""
    return _kept(engine, _LAST)


def last_verdict(engine: Engine) -> Check | None:
    """What the last check that came to an end has found, whole or broken; None while none has."""
    return _kept(engine, _ENDED)


def _kept(engine: Engine, which: int) -> Check | None:
    with engine.connect() as connection:
        row = connection.execute(select(audit_check).where(audit_check.c.id == which)).mappings().one_or_none()
        total = _last(connection)
    return None if row is None else Check(row["seq"], row["at"], row["state"], max(total, row["seq"]))


def glance(engine: Engine, most: int) -> Check:
    """Check the first `most` rows, and write nothing down."""
    place, state = _checked(engine, Place(), most)
    with engine.connect() as connection:
        return Check(place.seq, stamp(), state, max(_last(connection), place.seq))


def check_on(engine: Engine, *, anew: bool, most: int = STEP) -> Check:
    """Check at most `most` rows more, from the first one (`anew`) or from where the last check came to."""
    place = Place(0, FIRST, False)
    if not anew:
        with engine.connect() as connection:
            row = connection.execute(select(audit_check).where(audit_check.c.id == _LAST)).mappings().one_or_none()
        if row is not None and row["state"] != "broken":
            place = Place(row["seq"], row["digest"], False)
    place, state = _checked(engine, place, most)
    now: dict[str, Any] = {"seq": place.seq, "digest": place.digest, "at": stamp(), "state": state}
    with engine.begin() as connection:
        for which in (_LAST,) if state == "running" else (_LAST, _ENDED):
            connection.execute(delete(audit_check).where(audit_check.c.id == which))
            connection.execute(insert(audit_check), {"id": which, **now})
        total = _last(connection)
    return Check(place.seq, now["at"], state, max(total, place.seq))


def _checked(engine: Engine, place: Place, most: int) -> tuple[Place, State]:
    """Check at most `most` rows from a place on: the last one that was found whole, and what that says."""
    state: State = "running"
    trail = AuditTrail(engine)
    while state == "running" and most > 0:
        try:
            place = trail.verify_on(place, min(most, _AT_ONCE))
        except Conflict as broken:
            wrong = int("".join(letter for letter in broken.message if letter.isdigit()))
            for _ in range(max(0, wrong - 1 - place.seq)):
                place = trail.verify_on(place, 1)
            state = "broken"
        else:
            state = "whole" if place.whole else "running"
        most -= _AT_ONCE
    return place, state


def _last(connection: Connection) -> int:
    """The number of the last row; 0 where there is none."""
    return int(connection.execute(select(_audit.c.seq).order_by(_audit.c.seq.desc()).limit(1)).scalar() or 0)


def _page(engine: Engine, rows: Select[Any]) -> list[Entry]:
    with engine.connect() as connection:
        return [Entry(**row) for row in connection.execute(rows.limit(_AT_ONCE)).mappings()]


def _narrowed(rows: Select[Any], wanted: Wanted) -> Select[Any]:
    for name in ("action", "actor", "subject"):
        if value := getattr(wanted, name):
            rows = rows.where(_audit.c[name] == value)
    return rows


def bounds(engine: Engine, since: str, until: str) -> tuple[int, int]:
    """The numbers of the first row that may be wanted, and of the one after the last: rows are in order of time."""
    with engine.connect() as connection:
        last = _last(connection)

    def after(limit: str) -> int:
        """The first row whose instant is not before `limit`."""
        low, high = 1, last + 1
        while low < high:
            middle = (low + high) // 2
            with engine.connect() as connection:
                at = connection.execute(
                    select(_audit.c.at).where(_audit.c.seq >= middle).order_by(_audit.c.seq).limit(1)
                ).scalar()
            low, high = (middle + 1, high) if at is not None and at < limit else (low, middle)
        return low

    return after(since) if since else 1, after(until + "~") if until else last + 1
