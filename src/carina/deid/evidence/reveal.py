"""The way back from a pseudonym to its person, for the key holder alone.

An SQLite file of sealed lines (AES-256-GCM), one for each original that a pseudonym or a new UID stands for. Without
the key nothing can be read of it but how many there are; without the file the key holder still could find a pseudonym
of a known person, by making it again, but not the person of an unknown pseudonym. Each look is written to a trail in
which every line holds a keyed digest of itself and of the line before.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from carina.deid.pseudonyms import is_pseudonym
from carina.errors import BadInput, Busy, Conflict, NotFound, WrongKey
from carina.model.clock import stamp
from carina.model.instance import CleanInstance
from carina.model.keys import derive

_NONCE = 12
_FIRST = "0" * 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sealed (
    pseudonym TEXT NOT NULL, original BLOB NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (pseudonym, original)
) WITHOUT ROWID;
"""
SealedRow = tuple[str, bytes, bytes]
"""A pseudonym, what tells its originals apart without saying them, and the sealed original."""


@dataclass(frozen=True)
class Original:
    """What a pseudonym stands for. Identifying.

    kind     "patient", "study", "series" or "instance"
    value    Patient ID (0010,0020) or the UID
    issuer   of a Patient ID (0010,0021), as the instance says it
    """

    kind: Literal["patient", "study", "series", "instance"]
    value: str = field(repr=False)
    issuer: str = field(default="", repr=False)


@dataclass(frozen=True)
class Originals:
    """What an instance was called before; identifying."""

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    study_uid: str = field(repr=False)
    series_uid: str = field(repr=False)
    uid: str = field(repr=False)

    def pairs(self, clean: CleanInstance) -> list[tuple[str, Original]]:
        """Each pseudonym of the clean instance with its original."""
        return [
            (clean.patient, Original("patient", self.patient_id, self.issuer)),
            (clean.study_uid, Original("study", self.study_uid)),
            (clean.series_uid, Original("series", self.series_uid)),
            (clean.uid, Original("instance", self.uid)),
        ]


class Sealer:
    """Seals originals; remembers the last of each kind, so that a series' instances seal their person once."""

    def __init__(self, master: bytes) -> None:
        self._cipher = AESGCM(derive(master, "way-back", "seal"))
        self._names = derive(master, "way-back", "names")
        self._last: dict[str, tuple[str, Original]] = {}

    def seal(self, pairs: Iterable[tuple[str, Original]]) -> list[SealedRow]:
        """The rows of what was not sealed just before."""
        rows = []
        for pair in pairs:
            pseudonym, original = pair
            if self._last.get(original.kind) == pair:
                continue
            self._last[original.kind] = pair
            text = json.dumps([original.kind, original.value, original.issuer]).encode()
            nonce = os.urandom(_NONCE)
            sealed = nonce + self._cipher.encrypt(nonce, text, pseudonym.encode())
            rows.append((pseudonym, hmac.digest(self._names, text, hashlib.sha256)[:12], sealed))
        return rows

    def forget(self) -> None:
        """What was sealed before was not kept: seal it again."""
        self._last.clear()

    def unseal(self, pseudonym: str, sealed: bytes) -> Original:
        """What was sealed for this pseudonym. Raises `WrongKey`."""
        try:
            text = self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], pseudonym.encode())
        except InvalidTag:
            raise WrongKey("The map does not open: it was made with another key, or was changed.") from None
        kind, value, issuer = json.loads(text)
        return Original(kind, value, issuer)


class WayBack:
    """The map and the trail of who looked into it, in two files: `path`, and the same with `.trail` after it."""

    def __init__(self, path: Path, master: bytes) -> None:
        self._path = path
        self._sealer = Sealer(master)
        self._trail_key = derive(master, "way-back", "trail")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._database = sqlite3.connect(path, timeout=60, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA secure_delete = ON")
        self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Write all down."""
        self._database.commit()
        self._database.close()

    def put(self, rows: Iterable[SealedRow]) -> None:
        """Keep rows of `Sealer`; `commit` makes them last."""
        self._database.executemany("INSERT OR IGNORE INTO sealed VALUES (?, ?, ?)", rows)

    def commit(self) -> None:
        """What was put so far survives the end of this process."""
        self._database.commit()

    def remember(self, clean: CleanInstance, originals: Originals) -> None:
        """Keep what an instance was called; durable when this returns."""
        self.put(self._sealer.seal(originals.pairs(clean)))
        self.commit()

    def remember_all(self, instances: Iterable[tuple[CleanInstance, Originals]]) -> None:
        """The same for several at once. Raises `Busy` when the map cannot be written now; then none is kept."""
        try:
            for clean, originals in instances:
                self.put(self._sealer.seal(originals.pairs(clean)))
            self.commit()
        except sqlite3.OperationalError:
            self._database.rollback()
            self._sealer.forget()
            raise Busy("The map of the way back cannot be written.", "See whether the disk is full.") from None

    def forget(self, pseudonyms: Iterable[str]) -> int:
        """Delete all originals of these pseudonyms and UIDs, overwritten in the file; how many lines there were.

        Durable when it returns. Raises `Busy` when the map cannot be written now; then none is deleted.
        """
        try:
            gone = sum(self._delete(pseudonym) for pseudonym in pseudonyms)
            self.commit()
            self._sealer.forget()  # who returns under an alias is written down anew
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.OperationalError:
            self._database.rollback()
            raise Busy("The map of the way back cannot be written.", "See whether the disk is full.") from None
        return gone

    def _delete(self, pseudonym: str) -> int:
        return self._database.execute("DELETE FROM sealed WHERE pseudonym = ?", (pseudonym,)).rowcount

    def rekey(self, old: str, new: str) -> int:
        """Let what one pseudonym stands for be the other's; how many originals. Durable, raises as `forget` does."""
        originals = [self._sealer.unseal(old, sealed) for (sealed,) in self._rows(old)]
        self._sealer.forget()
        try:
            self.put(row for original in originals for row in self._sealer.seal([(new, original)]))
            self._delete(old)
            self.commit()
        except sqlite3.OperationalError:
            self._database.rollback()
            raise Busy("The map of the way back cannot be written.", "See whether the disk is full.") from None
        return len(originals)

    def rewrite(self) -> None:
        """Write the map anew, so that no copy of a deleted line is left in it; later, when somebody holds it now."""
        with contextlib.suppress(sqlite3.OperationalError):
            self._database.execute("VACUUM")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def patients(self) -> list[str]:
        """The pseudonyms of persons that the map has; nobody is told whose they are, so it is no look."""
        query = "SELECT DISTINCT pseudonym FROM sealed WHERE pseudonym > 'A'"  # UIDs begin with a digit
        return [pseudonym for (pseudonym,) in self._database.execute(query)]

    def has(self, subject: str) -> bool:
        """Whether the map has something for this pseudonym or UID; nobody is told what, so it is no look."""
        return bool(self._rows(subject))

    def verify(self) -> int:
        """How many lines the map has, each of which opens; nobody is told what it says.

        Raises `WrongKey` when one does not open, and `Conflict` when the file is no whole database.
        """
        count = 0
        try:
            for pseudonym, sealed in self._database.execute("SELECT pseudonym, sealed FROM sealed"):
                self._sealer.unseal(pseudonym, sealed)
                count += 1
        except sqlite3.DatabaseError:
            raise Conflict("The map of the way back is damaged.", "Put a back-up of it in place.") from None
        return count

    def copy(self, path: Path) -> None:
        """A copy of the map as it is at one moment, made while others write to it."""
        with contextlib.closing(sqlite3.connect(path)) as target:
            self._database.backup(target, pages=4096)

    def _rows(self, pseudonym: str) -> list[tuple[bytes]]:
        query = "SELECT sealed FROM sealed WHERE pseudonym = ? ORDER BY original"
        return self._database.execute(query, (pseudonym,)).fetchall()

    def look(self, pseudonym: str, actor: str) -> list[Original]:
        """What a pseudonym or new UID stands for; the look is written down first, whatever it finds.

        actor   who looks: an account's name

        Raises `NotFound`, `WrongKey` when the map is another key's, and `BadInput` for what is no pseudonym: that may
        be a person's name, so it is not written down.
        """
        rows = self._rows(pseudonym)
        if not rows and not is_pseudonym(pseudonym):
            self._write_down({"actor": actor, "action": "reveal", "subject": "", "found": 0})
            raise BadInput(
                "This is no pseudonym, and no UID that was made here.",
                "A pseudonym is P and 16 capitals and digits; a new UID begins with 2.25.",
            )
        self._write_down({"actor": actor, "action": "reveal", "subject": pseudonym, "found": len(rows)})
        if not rows:
            raise NotFound("The map does not have this pseudonym or UID.", "Check it; it may come from another map.")
        return [self._sealer.unseal(pseudonym, sealed) for (sealed,) in rows]

    # --- the trail --------------------------------------------------------------------------------------------------

    @property
    def trail(self) -> Path:
        """The file of who looked: one JSON object in each line."""
        return self._path.with_name(self._path.name + ".trail")

    def verify_trail(self) -> int:
        """How many looks there were, all unbroken; raises `Conflict` that names the first line that is not.

        Lines that were taken off the end are noticed only by who knows how many there were.
        """
        return len(self._lines(self.trail.read_text(encoding="utf-8"))) if self.trail.exists() else 0

    def _lines(self, text: str) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = []
        previous = _FIRST
        for number, line in enumerate(text.splitlines(), 1):
            try:
                entry = json.loads(line)
                digest = entry.pop("digest")
            except (ValueError, KeyError, AttributeError):
                raise _broken(number) from None
            if entry.get("previous") != previous or not hmac.compare_digest(str(digest), self._digest(entry)):
                raise _broken(number)
            previous = digest
            lines.append({**entry, "digest": digest})
        return lines

    def _write_down(self, what: dict[str, Any]) -> None:
        descriptor = os.open(self.trail, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            lines = self._lines(file.read())
            previous = lines[-1]["digest"] if lines else _FIRST
            entry = {"seq": len(lines) + 1, "at": stamp(), **what, "previous": previous}
            file.write(json.dumps({**entry, "digest": self._digest(entry)}, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _digest(self, entry: dict[str, Any]) -> str:
        return hmac.new(self._trail_key, json.dumps(entry, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _broken(number: int) -> Conflict:
    return Conflict(
        f"The trail of looks into the map is broken at line {number}: it was changed, removed or moved.",
        "Compare with a back-up; what stands before this line is unchanged.",
    )
