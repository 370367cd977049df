"""`carina node export`: a back-up of a node, made while it runs, all of one moment.

The moment is that of the records. What they name is kept from leaving until it is copied: the encrypted files of spool
and quarantine have a second name each (a hard link) meanwhile, and those of the store stay anyway, unless a person is
forgotten. Keys are never in a back-up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, select, union

from carina.app.site import open_node
from carina.errors import BadInput, Busy, Full, NotFound
from carina.model.clock import stamp
from carina.model.keys import KeyRing, check_value, derive, key_names
from carina.node.site import Node
from carina.storage import dump
from carina.storage.backup import Backup, BackupWriter, Member
from carina.storage.schema import instance_versions, instances

PINS = ".new-export"
"""The folder within spool and quarantine with the second names; their own lists and sweeps leave it alone."""
SEALED = ("spool", "quarantine")
_MAP = "way-back.sqlite"
_SMALL = ("node.toml", "aliases", f"{_MAP}.trail")


@dataclass
class Exported:
    """What a back-up has.

    files    stored files in it, of which `earlier` are in the back-ups before
    sealed   encrypted files of spool and quarantine
    absent   contents that the records name and the store does not have
    damaged  contents whose bytes are not what they were; they are in the back-up as they are
    size     bytes
    """

    files: int = 0
    earlier: int = 0
    sealed: int = 0
    size: int = 0
    absent: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def backup_key(ring: KeyRing) -> bytes:
    """Under which a back-up's manifest is signed."""
    return derive(ring.storage, "backup")


def export_node(folder: Path, archive: Path, since: Path | None = None) -> Exported:
    """Write a back-up of the node in `folder` to the new file `archive`.

    since   an earlier back-up of the same node: what is in it, or in those that it was made since, is left out

    Raises `Conflict` when `archive` exists, `Busy` while another export runs, `Full`, and as `open_node` does.
    """
    if archive.resolve().is_relative_to(folder.resolve()):
        raise BadInput("The back-up would lie inside the node's folder.", "Choose a place on another disk.")
    with open_node(folder) as node, _pins(folder) as pin:
        earlier = _earlier(node, since)
        with BackupWriter(archive, secrets.token_hex(16)) as out, contextlib.ExitStack() as stack:
            with _moment(node, pin) as connection:
                about = _about(node, connection, since)
                parts = _records(connection, stack, archive.parent)
                contents = _contents(connection, stack, archive.parent)
            for name, stream in parts.items():
                _add(out, f"records/{name}.jsonl.gz", stream)
            _add_small(node, out, folder, archive)
            result = Exported(sealed=_add_sealed(out, folder))
            _add_store(node, out, contents, earlier, result)
            result.size = out.finish(
                {**about, "absent": result.absent, "damaged": result.damaged}, backup_key(node.keys)
            )
        node.audit.append("node-exported", "operator", full=since is None, size=result.size)
        return result


def drop_pins(folder: Path) -> None:
    """Remove the second names that an export which was killed left; not those of one that runs. For a node's start."""
    with contextlib.suppress(Busy), _pins(folder):
        pass


def _about(node: Node, connection: Connection, since: Path | None) -> dict[str, Any]:
    return {
        "node": node.id,
        "made_at": stamp(),
        "version": version("carina"),
        "revision": dump.revision(connection),
        "keys": {name: check_value(getattr(node.keys, name)) for name in key_names()},
        "incremental": since is not None,
    }


# --- the moment ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _pins(folder: Path) -> Iterator[Callable[[], None]]:
    """A call that gives all encrypted files a second name; at the end these are gone. `Busy` while another has them."""
    places = [folder / name / PINS for name in SEALED]
    with contextlib.ExitStack() as stack:
        for place in places:
            place.parent.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(places[0].parent, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy("Another export of this node runs.", "Wait until it has ended.") from None
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
            stack.callback(shutil.rmtree, place, ignore_errors=True)

        def pin() -> None:
            for place in places:
                place.mkdir(mode=0o700, exist_ok=True)
                _pin_all(place)

        yield pin


def _pin_all(place: Path) -> None:
    known = {path.name for path in place.iterdir()}
    with os.scandir(place.parent) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.name not in known:
                with contextlib.suppress(FileNotFoundError):  # a worker was done with it
                    os.link(entry.path, place / entry.name)


@contextlib.contextmanager
def _moment(node: Node, pin: Callable[[], None]) -> Iterator[Connection]:
    """A connection that reads the records as they are now, whatever is written meanwhile.

    While it begins nobody can write: an encrypted file is removed only after what makes it needless has committed, so
    each that the records name then has its second name.
    """
    pin()  # most of them, while others may write
    with node.engine.connect() as connection:
        with node.engine.begin():
            dump.revision(connection)  # the first statement sets the moment
            pin()
        yield connection


def _records(connection: Connection, stack: contextlib.ExitStack, folder: Path) -> dict[str, IO[bytes]]:
    """Each table's lines, in files that vanish with this process."""
    parts: dict[str, IO[bytes]] = {}

    @contextlib.contextmanager
    def put(name: str) -> Iterator[IO[bytes]]:
        parts[name] = _scratch(stack, folder)
        yield parts[name]

    dump.dump(connection, "node", put)
    return parts


def _scratch(stack: contextlib.ExitStack, folder: Path) -> IO[bytes]:
    """A file without a name, so that nothing is left of it whatever happens. Raises `Full`."""
    try:
        return stack.enter_context(tempfile.TemporaryFile(dir=folder))
    except OSError as error:
        raise Full("The back-up cannot be written there.", f"The system says: {error.strerror}.") from None


def _contents(connection: Connection, stack: contextlib.ExitStack, folder: Path) -> IO[bytes]:
    """All that the store must have, sorted, a line each."""
    lines = _scratch(stack, folder)
    named = union(*(select(table.c.content) for table in (instances, instance_versions))).order_by("content")
    for content in connection.execution_options(yield_per=1000).execute(named).scalars():
        lines.write(f"{content}\n".encode())
    lines.seek(0)
    return lines


# --- the members -----------------------------------------------------------------------------------------------------


def _add(out: BackupWriter, name: str, stream: IO[bytes]) -> str:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    return out.add(name, stream, size)


def _add_small(node: Node, out: BackupWriter, folder: Path, archive: Path) -> None:
    for name in _SMALL:
        if (folder / name).is_file():
            with (folder / name).open("rb") as stream:
                _add(out, name, stream)
    if node.way_back is not None:
        copy = archive.with_name(f".new-{archive.name}.map")
        copy.unlink(missing_ok=True)
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL, 0o600))
        try:
            node.way_back.copy(copy)
            with copy.open("rb") as stream:
                _add(out, _MAP, stream)
        finally:
            copy.unlink(missing_ok=True)


def _add_sealed(out: BackupWriter, folder: Path) -> int:
    count = 0
    for name in SEALED:
        for path in sorted((folder / name / PINS).iterdir()):
            with path.open("rb") as stream:
                _add(out, f"{name}/{path.name}", stream)
            count += 1
    return count


Earlier = dict[bytes, tuple[int, str]]
"""Size, and the back-up that has the bytes, by content."""


def _add_store(node: Node, out: BackupWriter, contents: IO[bytes], earlier: Earlier, result: Exported) -> None:
    for line in contents:
        content = line.decode().strip()
        known = earlier.get(bytes.fromhex(content))
        if known is not None:
            out.name_earlier(Member(store_name(content), content, *known))
            result.earlier += 1
        elif not _add_stored(node, out, content, result):
            continue
        result.files += 1


def _add_stored(node: Node, out: BackupWriter, content: str, result: Exported) -> bool:
    """Copy a stored file; False when it is not there."""
    try:
        stream = node.instances.open(content)
    except NotFound:
        if _is_needed(node, content):  # else somebody was forgotten meanwhile
            result.absent.append(content)
        return False
    with stream:
        if _add(out, store_name(content), stream) != content:
            result.damaged.append(content)
    return True


def store_name(content: str) -> str:
    """The member, and the file in a node's folder, of a content."""
    return f"store/{content[:2]}/{content}.dcm"


def _is_needed(node: Node, content: str) -> bool:
    named = union(
        *(select(table.c.content).where(table.c.content == content) for table in (instances, instance_versions))
    )
    with node.engine.connect() as connection:
        return connection.execute(named).first() is not None


def _earlier(node: Node, since: Path | None) -> Earlier:
    """What earlier back-ups have of the store: size and back-up by content. Damaged ones are not among them."""
    if since is None:
        return {}
    with Backup(since, lambda _name: True) as backup:
        if backup.about.get("node") != node.id:
            raise BadInput("The earlier back-up is another node's.")
        backup.check(backup_key(node.keys))
        return {
            bytes.fromhex(member.digest): (member.size, member.archive)
            for member in backup.members()
            if member.name == store_name(member.digest)
        }
