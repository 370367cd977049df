"""What the key holder's side remembers of a folder's de-identification: what was done with which file.

One SQLite file for each output folder. It holds no path and no value of a header: files are known by keyed digests, so
that a second run can skip what is done and the report can speak of everything in the folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from carina.errors import Busy

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
    id BLOB PRIMARY KEY, state BLOB, outcome TEXT NOT NULL, target TEXT NOT NULL, layout TEXT NOT NULL,
    looked TEXT NOT NULL, boxes INTEGER NOT NULL, mapped INTEGER NOT NULL, size INTEGER NOT NULL,
    actions INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS files_of_a_layout ON files (layout) WHERE layout <> '';
CREATE INDEX IF NOT EXISTS files_of_a_target ON files (target) WHERE target <> '';
CREATE TABLE IF NOT EXISTS actions (id INTEGER PRIMARY KEY, counts TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS layouts (digest TEXT PRIMARY KEY, verdict TEXT NOT NULL);
"""
_FORM = 2  # of these tables; those of another form are begun anew
RELEASED = "released"
TEXT, CLEAN = "text", "clean"


@dataclass(frozen=True)
class Row:
    """What became of one file.

    outcome   `RELEASED`, or the word for why not
    target    where it was written, under the output folder; "" if it was not
    layout    keyed digest of what images that may show the same text have in common; "" where that does not count
    looked    what a search of its pixels found: `TEXT`, `CLEAN`, or "" when none was made
    boxes     how many places were blanked
    mapped    whether its identifiers were given to the mapping files
    size      bytes written
    """

    outcome: str
    target: str = ""
    layout: str = ""
    looked: str = ""
    boxes: int = 0
    mapped: bool = False
    size: int = 0


class Records:
    """The records of one output folder; only one run at a time has them."""

    def __init__(self, path: Path, key: bytes, handling: str, version: str = "") -> None:
        """Open or make them.

        handling   all that decides what is written of a file beside its bytes
        version    of Carina: another one may write what this one withheld
        """
        self._key = key
        self._handling = handling
        self._version = version
        self._tallies: dict[str, int] = {}
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.close(descriptor)
        self._database = sqlite3.connect(path)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        if self._database.execute("PRAGMA user_version").fetchone() != (_FORM,):
            names = self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            self._database.executescript("".join(f"DROP TABLE {name};" for (name,) in names))
            self._database.execute(f"PRAGMA user_version = {_FORM}")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Write all down."""
        self._database.commit()
        self._database.close()

    def commit(self) -> None:
        """What was put so far survives the end of this process."""
        self._database.commit()

    def known(self, path: str, size: int, changed: int) -> Row | None:
        """What became of this file, if it, and how files are handled, are as they were; None if it is to be done."""
        query = "SELECT outcome, target, layout, looked, boxes, mapped, size, state FROM files WHERE id = ?"
        found = self._database.execute(query, (self._digest("path", path),)).fetchone()
        if found is None or found[-1] != self._state(size, changed, found[0]):
            return None
        return Row(*found[:-1])

    def forget_what_is_gone(self, output: Path) -> None:
        """What was written and is not there as it was counts no longer; if nothing is there, nothing else does."""
        gone, there = [], 0
        for name, target, size in self._database.execute(
            "SELECT id, target, size FROM files WHERE outcome = ?", (RELEASED,)
        ):
            try:
                is_there = (output / target).stat().st_size == size
            except OSError:
                is_there = False
            there += is_there
            gone += [] if is_there else [(name,)]
        if gone and not there:
            self._database.execute("DELETE FROM files")
        self._database.executemany("DELETE FROM files WHERE id = ?", gone)
        self._database.commit()

    def names(self, target: str) -> bool:
        """Whether a file was written there, by what these records hold."""
        query = "SELECT 1 FROM files WHERE target = ? AND outcome = ?"
        return self._database.execute(query, (target, RELEASED)).fetchone() is not None

    def forget_mappings(self) -> None:
        """The run that gave identifiers to the mapping files was killed before it wrote them."""
        self._database.execute("UPDATE files SET mapped = 0")
        self._database.commit()

    def is_anothers(self, target: str, path: str) -> bool:
        """Whether another file has been written there."""
        query = "SELECT 1 FROM files WHERE target = ? AND outcome = ? AND id <> ?"
        return self._database.execute(query, (target, RELEASED, self._digest("path", path))).fetchone() is not None

    def target(self, path: str) -> str:
        """Where this file was written before; "" if it was not."""
        query = "SELECT target FROM files WHERE id = ?"
        found = self._database.execute(query, (self._digest("path", path),)).fetchone()
        return str(found[0]) if found else ""

    def put(self, path: str, size: int, changed: int, row: Row, actions: Mapping[str, int], *, last: bool) -> str:
        """Write down what became of a file; `last` is False when it must be looked at again.

        Gives the target that it had before and has no longer, "" when there is none: nothing else is written there.
        """
        name = self._digest("path", path)
        before = self._database.execute("SELECT target FROM files WHERE id = ?", (name,)).fetchone()
        state = self._state(size, changed, row.outcome) if last else None
        values = (name, state, row.outcome, row.target, row.layout, row.looked, row.boxes, row.mapped, row.size,
                  self._tally(actions))  # fmt: skip
        self._database.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        if before is None or before[0] in ("", row.target):
            return ""
        others = self._database.execute("SELECT 1 FROM files WHERE target = ?", before).fetchone()
        return "" if others else str(before[0])

    def verdicts(self) -> dict[str, str]:
        """What the sample of each layout showed."""
        return dict(self._database.execute("SELECT digest, verdict FROM layouts"))

    def judge(self, layout: str, verdict: str) -> int:
        """Remember what a sample showed. When it is `TEXT`: how many files of its layout must be done again."""
        self._database.execute("INSERT OR REPLACE INTO layouts VALUES (?, ?)", (layout, verdict))
        if verdict != TEXT:
            return 0
        others = "UPDATE files SET state = NULL WHERE layout = ? AND looked <> ? AND state IS NOT NULL"
        return self._database.execute(others, (layout, TEXT)).rowcount

    def outcomes(self) -> Counter[str]:
        """How many files met each outcome."""
        return Counter(dict(self._database.execute("SELECT outcome, count(*) FROM files GROUP BY outcome")))

    def looks(self) -> Counter[str]:
        """Of the files written: how many searches of their pixels found what, and how many places were blanked."""
        query = "SELECT looked, count(*), sum(boxes) FROM files WHERE outcome = ? GROUP BY looked"
        counts: Counter[str] = Counter()
        for looked, files, boxes in self._database.execute(query, (RELEASED,)):
            counts[looked] += files
            counts["boxes"] += boxes
        return counts

    def actions(self) -> Counter[str]:
        """How many elements of the files written met each action and reason."""
        query = (
            "SELECT actions.counts, count(*) FROM files JOIN actions ON actions.id = files.actions"
            " WHERE files.outcome = ? GROUP BY files.actions"
        )
        total: Counter[str] = Counter()
        for counts, files in self._database.execute(query, (RELEASED,)):
            for name, count in json.loads(counts).items():
                total[name] += count * files
        return total

    def targets(self) -> Iterator[str]:
        """Where each file was written, in order."""
        query = "SELECT DISTINCT target FROM files WHERE outcome = ? ORDER BY target"
        return (str(target) for (target,) in self._database.execute(query, (RELEASED,)))

    def _tally(self, actions: Mapping[str, int]) -> int:
        """The number of these counts; most images of a series share theirs."""
        text = json.dumps(dict(sorted(actions.items())))
        number = self._tallies.get(text)
        if number is None:
            self._database.execute("INSERT OR IGNORE INTO actions (counts) VALUES (?)", (text,))
            found = self._database.execute("SELECT id FROM actions WHERE counts = ?", (text,)).fetchone()
            if len(self._tallies) > 10_000:
                self._tallies.clear()
            number = self._tallies[text] = int(found[0])
        return number

    def _state(self, size: int, changed: int, outcome: str) -> bytes:
        version = "" if outcome == RELEASED else self._version
        return self._digest("state", f"{size} {changed} {version} {self._handling}")

    def _digest(self, purpose: str, text: str) -> bytes:
        message = f"{purpose}:{text}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._key, message, hashlib.sha256)[:16]


@contextmanager
def only_run(path: Path) -> Iterator[None]:
    """Hold these records for one run; `Busy` while another has them. The hold ends with the process."""
    descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy("Another run writes to this folder.", "Wait for its end, or write to another folder.") from None
        yield
