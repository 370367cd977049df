"""`carina node import`: a node from its back-up, in a folder of its own.

All is unpacked beside the place, compared with the manifest, put in order and verified; then the folder gets its name.
Whatever is cut off leaves nothing at that place. Whoever was forgotten since the back-up is forgotten again: the
journal of forgotten persons lies outside of the folder, beside the keys.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from carina.app.export import backup_key, store_name
from carina.app.site import journal_of, open_node
from carina.errors import BadInput, BadSettings, Busy, Conflict, Full, WrongKey
from carina.model.keys import KeyRing, check_value, key_names
from carina.node.forget import apply_tombstones
from carina.node.removal import Counts
from carina.node.verify import Finding, Verified, verify
from carina.settings import NodeSettings, load_node, read_keys
from carina.storage import dump
from carina.storage.backup import Backup, Member, damaged, extract
from carina.storage.database import open_engine
from carina.storage.files import synchronise

_SEALED = re.compile(r"(spool|quarantine)/[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_TABLE = re.compile(r"records/([a-z][a-z_]{0,40})\.jsonl\.gz")
_STORED = re.compile(r"store/([0-9a-f]{2})/(?=\1)[0-9a-f]{64}\.dcm")
_SINGLE = {"node.toml", "aliases", "way-back.sqlite", "way-back.sqlite.trail"}
_KNOWN_BAD = {"missing": "absent", "damaged": "damaged", "size": "damaged", "frames": "damaged"}


@dataclass(frozen=True)
class Imported:
    """What came back.

    made_at    when the back-up was made
    forgotten  what was removed again
    known      what was wrong in the node already when it was backed up
    """

    node: str
    made_at: str
    files: int
    forgotten: Counts
    verified: Verified
    known: list[Finding]


def import_node(
    archive: Path,
    folder: Path,
    earlier: Sequence[Path] = (),
    *,
    keys: Path | None = None,
    records: str | None = None,
) -> Imported:
    """Make the node of a back-up in `folder`, which is empty or not there.

    earlier  the back-ups since which this one was made
    keys     where the key file is, if not where the node had it
    records  the address of an empty database, if not where the node had its records; "" for SQLite in the folder

    Raises `BadInput` for a back-up that is damaged or not whole, `WrongKey` for keys of another node or time,
    `Conflict` when there is something already or what was unpacked is not whole, `Full`, and `BadSettings`.
    """
    _require_empty(folder)
    with contextlib.ExitStack() as stack:
        backup = stack.enter_context(Backup(archive, _is_allowed))
        others = [stack.enter_context(Backup(path, _is_allowed)) for path in earlier]
        aside = stack.enter_context(_aside(folder))
        text = _with(_text(backup), keys, records)
        settings = _settings(aside, text)
        ring = read_keys(settings.keys, folder)
        _check(backup, others, ring)
        for part in (backup, *others):
            part.check(backup_key(ring))
        files = _unpack(backup, others, aside)
        _fill(backup, aside, settings)
        imported = _put_in_order(backup, aside, folder, settings, files)
        _write(aside / "node.toml", text)
        _name(aside, folder)
    return imported


# --- before anything is unpacked -------------------------------------------------------------------------------------


def _is_allowed(name: str) -> bool:
    return name in _SINGLE or any(form.fullmatch(name) for form in (_SEALED, _TABLE, _STORED))


def _require_empty(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise Conflict("There is something at this place already.", "Name an empty folder, or one that is not there.")


def _text(backup: Backup) -> str:
    try:
        return backup.read("node.toml").decode()
    except UnicodeDecodeError:
        raise damaged("its node.toml cannot be read") from None


def _with(text: str, keys: Path | None, records: str | None) -> str:
    """The settings with these places instead of those in them."""
    if keys is not None:
        text = _setting(text, "keys", f"file:{keys.resolve()}")
    return text if records is None else _setting(text, "records", records)


def _setting(text: str, name: str, value: str) -> str:
    """`node.toml` with a setting of its first part replaced or added."""
    table = re.search(r"(?m)^\s*\[", text)
    end = table.start() if table else len(text)
    first, rest = text[:end], text[end:]
    kept = [line for line in first.splitlines() if not re.match(rf"{name}\s*=", line)]
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"
    return "\n".join([*kept, line, "", ""]) + rest


def _settings(aside: Path, text: str) -> NodeSettings:
    """The settings, read as a node reads them; the file is not there yet when this returns."""
    place = aside / "node.toml"
    _write(place, text)
    try:
        return load_node(aside)
    except tomllib.TOMLDecodeError:
        raise BadSettings("node.toml of the back-up cannot be read.") from None
    finally:
        place.unlink()


def _check(backup: Backup, others: Sequence[Backup], ring: KeyRing) -> None:
    """Raise `WrongKey` when these are not the keys, and `BadInput` when the earlier back-ups are not those wanted."""
    for part in (backup, *others):
        known = part.about.get("keys")
        for name in key_names():
            if part is backup and (not isinstance(known, dict) or known.get(name) != check_value(getattr(ring, name))):
                raise WrongKey(
                    f"The key '{name}' is not the one this back-up was made with.",
                    "Name the back-up of the key file of that time with --keys.",
                )
        if part.about.get("node") != backup.about.get("node"):
            raise BadInput("The earlier back-up is another node's.")


# --- unpacking -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _aside(folder: Path) -> Iterator[Path]:
    """A folder beside the place, gone at the end unless it has got the place's name."""
    parent = folder.resolve().parent
    place = parent / f".{folder.resolve().name}.import"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            _require_nobody(place)
            shutil.rmtree(place)  # of an import that was killed
        place.mkdir(mode=0o700)
        lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Full("The back-up cannot be unpacked there.", f"The system says: {error.strerror}.") from None
    try:
        _hold(lock)
        yield place
    finally:
        os.close(lock)
        if place.exists():
            shutil.rmtree(place, ignore_errors=True)


def _require_nobody(place: Path) -> None:
    lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _hold(lock)
    finally:
        os.close(lock)


def _hold(lock: int) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Busy("Another import into this place runs.", "Wait until it has ended.") from None


def _unpack(backup: Backup, others: Sequence[Backup], aside: Path) -> int:
    """Write each member to its file; how many stored files there are."""
    for name in ("spool", "quarantine", "store", "records"):
        (aside / name).mkdir(mode=0o700)
    wanted: dict[bytes, str] = {}
    present = {backup.id, *(other.id for other in others)}
    for member in backup.members():
        if member.archive not in present:
            raise BadInput(
                "This back-up was made since another one, which is not at hand.", "Name it too, with --earlier."
            )
        if member.archive != backup.id:
            wanted[bytes.fromhex(member.digest)] = member.archive
    files = 0
    for member, stream in backup.contents():
        files += _unpack_one(member, stream, aside)
    for other in others:
        for member, stream in other.contents():
            key = bytes.fromhex(member.digest)
            if wanted.get(key) == other.id and member.name == store_name(member.digest):
                files += _unpack_one(member, stream, aside)
                del wanted[key]
    if wanted:
        raise damaged("the earlier one lacks files that it should have")
    return files


def _unpack_one(member: Member, stream: IO[bytes], aside: Path) -> bool:
    if not _is_allowed(member.name):
        raise damaged("it has a member of another name")
    if member.name == "node.toml":
        return False
    path = aside / member.name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    extract(member, stream, path)
    return member.name.startswith("store/")


# --- putting in order ------------------------------------------------------------------------------------------------


def _fill(backup: Backup, aside: Path, settings: NodeSettings) -> None:
    """Put the tables into the records, and remove their lines."""
    engine = open_engine(settings.records or aside / "records.sqlite")
    try:
        dump.require_empty(engine)
        with contextlib.ExitStack() as stack:
            tables = [
                (path.name.partition(".")[0], stack.enter_context(path.open("rb")))
                for path in sorted((aside / "records").iterdir())
            ]
            dump.load(engine, "node", str(backup.about.get("revision")), tables)
    finally:
        engine.dispose()
    shutil.rmtree(aside / "records")


def _put_in_order(backup: Backup, aside: Path, folder: Path, settings: NodeSettings, files: int) -> Imported:
    """Forget again who is forgotten, verify, and write down that this was done."""
    with open_node(aside, settings) as opened:
        node = replace(opened, journal=journal_of(settings, folder))
        forgotten = apply_tombstones(node, thorough=True)
        found = verify(node)
        told = {name: set(backup.about.get(name, ())) for name in ("absent", "damaged")}
        known = [one for one in found.findings if one.subject in told.get(_KNOWN_BAD.get(one.kind, ""), ())]
        if len(known) < len(found.findings):
            counts = ", ".join(f"{number} {kind}" for kind, number in found.counts().items())
            raise Conflict(f"What came out of the back-up is not whole: {counts}.", "Use another back-up.")
        made_at = str(backup.about.get("made_at", ""))
        node.audit.append("node-imported", "operator", backup=backup.id, made_at=made_at)
    return Imported(node.id, made_at, files, forgotten, found, known)


def _write(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _name(aside: Path, folder: Path) -> None:
    """All of it on the disk, then its name."""
    os.sync()
    try:
        aside.rename(folder.resolve())
    except OSError:
        raise Conflict("Something came to this place meanwhile.", "Name an empty folder.") from None
    synchronise(folder.resolve().parent)
