"""`carina node verify`: read every stored file and compare it with the records, and the records with the files.

It may run beside a live server, where files and rows come and go at any moment. So nothing is held against the node at
first sight: what seems wrong is looked at again at the end, and only what is wrong then too is found.
Findings name files by the digest of their content or the id of their arrival, which identify nobody.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import func, or_, select, union

from carina.deid.evidence.reveal import WayBack
from carina.errors import BadInput, CarinaError, Conflict, NotFound, WrongKey
from carina.node import aliases
from carina.node.site import Node
from carina.storage.schema import arrivals, frame_tables, instance_versions, instances
from carina.storage.schema import quarantine as held
from carina.storage.sealed import SealedFolder

KINDS = {
    "missing": "the records name a file that the store does not have",
    "damaged": "a stored file's bytes are not those that it was stored with",
    "size": "a stored file has another size than the records say",
    "frames": "where the records say that frames lie, they cannot lie",
    "unreadable": "an encrypted file does not open: it was changed, or has another key",
    "lost": "something received waits for a worker or in quarantine, and its file is gone",
    "audit": "the audit trail is broken",
    "way-back": "the map of the way back does not open, or the trail of looks into it is broken",
    "aliases": "the list of merged identifiers does not open",
}
"""What is found, in words. Of all these a node has none."""

_BLOCK = 1 << 20
_YOUNG = 600.0  # s: a file without a row that is younger may be at work
_AT_ONCE = 500


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `subject`: a content digest, an arrival's id, or the number of a row or line."""

    kind: str
    subject: str


@dataclass
class Verified:
    """What was read, and what was found.

    files      stored files
    size       bytes read of them
    sealed     encrypted files in spool and quarantine
    audit      rows of the trail
    orphans    stored files that no row names: harmless remains of a process that was killed, or of an old version
    unclaimed  encrypted files without a row; the next start adopts them
    """

    files: int = 0
    size: int = 0
    sealed: int = 0
    audit: int = 0
    way_back: int = 0
    orphans: int = 0
    unclaimed: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def counts(self) -> dict[str, int]:
        """How many findings of each kind."""
        kinds = [finding.kind for finding in self.findings]
        return {kind: kinds.count(kind) for kind in KINDS if kind in kinds}


class Pace:
    """Keeps reading to so many bytes a second; None: as fast as the disk gives."""

    def __init__(self, rate: float | None = None) -> None:
        self._rate = rate
        self._began, self._read = time.monotonic(), 0

    def read(self, size: int) -> None:
        """So many bytes were read: wait as long as the pace asks."""
        self._read += size
        if self._rate is not None:
            time.sleep(max(0.0, self._read / self._rate - (time.monotonic() - self._began)))


def verify(node: Node, rate: float | None = None, tell: Callable[[Verified], None] | None = None) -> Verified:
    """Read all that the node stores.

    rate   bytes a second that are read at most
    tell   called now and then with what was read so far
    """
    result, pace = Verified(), Pace(rate)
    suspects: list[Finding] = []
    for shard in (f"{number:02x}" for number in range(256)):
        suspects += _shard(node, shard, result, pace)
        if tell is not None:
            tell(result)
    suspects += _sealed(node, result, pace)
    _trails(node, result)
    result.findings += [suspect for suspect in dict.fromkeys(suspects) if _stands(node, suspect)]
    result.findings.sort(key=lambda finding: (list(KINDS).index(finding.kind), finding.subject))
    return result


# --- stored files ----------------------------------------------------------------------------------------------------


def _shard(node: Node, shard: str, result: Verified, pace: Pace) -> Iterator[Finding]:
    """The files whose content begins with these two digits, and the rows of such contents."""
    wanted = _contents(node, shard)
    there = set(_stored(node.folder / "store" / shard))
    for content in sorted(wanted & there):
        yield from _file(node, content, result, pace)
    for content in wanted - there:
        yield Finding("missing", content)
    old = time.time() - _YOUNG
    result.orphans += sum(1 for content in there - wanted if _changed(node.folder, content) < old)


def _contents(node: Node, shard: str) -> set[str]:
    """All that the records name with these first digits, present and former versions."""
    end = f"{int(shard, 16) + 1:02x}" if shard != "ff" else "g"
    names = union(
        *(
            select(table.c.content).where(table.c.content >= shard, table.c.content < end)
            for table in (instances, instance_versions)
        )
    )
    with node.engine.connect() as connection:
        return set(connection.execute(names).scalars())


def _stored(folder: Path) -> Iterator[str]:
    return (path.stem for path in folder.glob("*.dcm") if not path.name.startswith("."))


def _changed(folder: Path, content: str) -> float:
    try:
        return (folder / "store" / content[:2] / f"{content}.dcm").stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _file(node: Node, content: str, result: Verified, pace: Pace) -> Iterator[Finding]:
    try:
        digest, size = _read(node.instances.open(content), pace)
    except NotFound:
        yield Finding("missing", content)
        return
    except OSError:
        yield Finding("damaged", content)
        return
    result.files += 1
    result.size += size
    if digest != content:
        yield Finding("damaged", content)
    yield from _rows(node, content, size)


def _read(stream: BinaryIO, pace: Pace) -> tuple[str, int]:
    """Digest and size."""
    digest, size = hashlib.sha256(), 0
    with stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            size += len(block)
            pace.read(len(block))
    return digest.hexdigest(), size


def _rows(node: Node, content: str, size: int) -> Iterator[Finding]:
    """What the rows of a content say of its size and its frames."""
    columns = (instances.c.size, instances.c.frames, instances.c.pixel_offset, instances.c.frame_size)
    with node.engine.connect() as connection:
        rows = connection.execute(select(*columns).where(_of(instances, content))).all()
        table = connection.execute(select(frame_tables.c.frames).where(_of(frame_tables, content))).scalar()
    if any(row.size != size for row in rows):
        yield Finding("size", content)
    if any(not _frames_fit(row, table, size) for row in rows):
        yield Finding("frames", content)


def _of(table: Any, content: str) -> Any:
    return table.c.content == content


def _frames_fit(row: Any, table: bytes | None, size: int) -> bool:
    """Whether the frames lie within the file, in their order, none in another."""
    if row.pixel_offset is not None and not 0 < row.pixel_offset <= size:
        return False
    if row.frame_size is not None:
        return row.pixel_offset is not None and row.pixel_offset + row.frames * row.frame_size <= size
    if table is None:
        return True
    if len(table) != 16 * row.frames:
        return False
    end = 0
    for place in range(0, len(table), 16):
        offset, length = (int.from_bytes(table[at : at + 8], "little") for at in (place, place + 8))
        if offset < end or length < 8:
            return False
        end = offset + length
    return end <= size


# --- encrypted files -------------------------------------------------------------------------------------------------


def _sealed(node: Node, result: Verified, pace: Pace) -> Iterator[Finding]:
    """Each encrypted file is opened to its end, and each row that needs one has it."""
    there: set[str] = set()
    for folder in (node.spool, node.quarantine):
        names = folder.names()
        known = _known(node, names)
        for name in names:
            opened = _opens(folder, name, pace)
            if opened is None:
                continue  # it left while we looked
            there.add(name)
            result.sealed += 1
            result.unclaimed += name not in known
            if not opened:
                yield Finding("unreadable", name)
    for name in _expected(node):
        if name not in there:
            yield Finding("lost", name)


def _opens(folder: SealedFolder, name: str, pace: Pace) -> bool | None:
    """Whether it opens; None when it is gone."""
    try:
        with folder.open(name) as stream:
            while block := stream.read(_BLOCK):
                pace.read(len(block))
    except NotFound:
        return None
    except (WrongKey, BadInput, OSError):
        return False
    return True


def _known(node: Node, names: list[str]) -> set[str]:
    known: set[str] = set()
    with node.engine.connect() as connection:
        for start in range(0, len(names), _AT_ONCE):
            some = select(arrivals.c.id).where(arrivals.c.id.in_(names[start : start + _AT_ONCE]))
            known |= set(connection.execute(some).scalars())
    return known


def _expected(node: Node) -> Iterable[str]:
    """The ids of what must still have its bytes: what waits for a worker, and what is kept in quarantine."""
    with node.engine.connect() as connection:
        return list(connection.execute(expected()).scalars())


def expected() -> Any:
    """Selects the ids of arrivals whose bytes must be in spool or quarantine."""
    kept = select(held.c.id).where(held.c.state.in_(("waiting", "discarded")))
    return select(arrivals.c.id).where(
        or_(arrivals.c.state == "received", (arrivals.c.state == "quarantined") & arrivals.c.id.in_(kept))
    )


# --- trails, and what else is sealed ---------------------------------------------------------------------------------


def _trails(node: Node, result: Verified) -> None:
    try:
        result.audit = node.audit.verify()
    except Conflict:
        result.findings.append(Finding("audit", _broken_at(node)))
    if node.way_back is not None:
        try:
            result.way_back = _way_back(node.way_back)
        except CarinaError:
            result.findings.append(Finding("way-back", "map"))
    try:
        aliases.count(node)
    except CarinaError:
        result.findings.append(Finding("aliases", "list"))


def _way_back(way_back: WayBack) -> int:
    way_back.verify_trail()
    return way_back.verify()


def _broken_at(node: Node) -> str:
    """The number of the first row that does not continue the one before, for a person to look at."""
    try:
        node.audit.verify()
    except Conflict as error:
        return "".join(letter for letter in error.message if letter.isdigit())
    return "0"


# --- the second look -------------------------------------------------------------------------------------------------


def _stands(node: Node, suspect: Finding) -> bool:
    """Whether it is still as it seemed: nobody moved, replaced or forgot it meanwhile."""
    match suspect.kind:
        case "missing" | "damaged" | "size" | "frames":
            content = suspect.subject
            if content not in _needed(node, content):
                return False
            return suspect in list(_file(node, content, Verified(), Pace()))
        case "unreadable":
            return any(_opens(folder, suspect.subject, Pace()) is False for folder in (node.spool, node.quarantine))
        case _:
            if suspect.subject not in _still_expected(node, suspect.subject):
                return False
            return all(_opens(folder, suspect.subject, Pace()) is None for folder in (node.spool, node.quarantine))


def _needed(node: Node, content: str) -> set[str]:
    named = union(*(select(table.c.content).where(_of(table, content)) for table in (instances, instance_versions)))
    with node.engine.connect() as connection:
        return set(connection.execute(named).scalars())


def _still_expected(node: Node, name: str) -> set[str]:
    with node.engine.connect() as connection:
        return set(connection.execute(expected().where(arrivals.c.id == name)).scalars())


def waiting(node: Node) -> int:
    """How many arrivals must have their bytes in spool or quarantine."""
    with node.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(expected().subquery())).scalar_one())
