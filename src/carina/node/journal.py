"""The journal of who is forgotten: a file outside of the node's folder, so that no back-up of the folder undoes it.

Each line says `forgotten` or `lifted`, when, in which project, and a keyed digest (`tombstones.digest_of`): it names
nobody. Lines are only ever added; the last one about a person counts.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Literal

from carina.errors import BadSettings, Conflict, Full
from carina.model.clock import stamp
from carina.model.ids import ProjectId
from carina.node.site import Node
from carina.node.tombstones import Mark
from carina.storage.files import synchronise

Word = Literal["forgotten", "lifted"]

_LINE = re.compile(r"(forgotten|lifted) \S+ ([a-z][a-z0-9-]{0,39}) ([0-9a-f]{64})", re.ASCII)
_HINT = "Name a file that the node may write, as `forgotten` under `[archive]` in node.toml."


def path_of(node: Node) -> Path:
    """Where the node's journal is."""
    return node.journal or node.folder.resolve().with_name(f"{node.folder.resolve().name}.forgotten")


def read(node: Node) -> dict[Mark, Word]:
    """The last word about each person; a last line that a crash cut off does not count.

    Raises `Conflict` for a line that is none, and `BadSettings` when the file cannot be read.
    """
    try:
        text = path_of(node).read_text(encoding="ascii")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise BadSettings("The journal of forgotten persons cannot be read.", _HINT) from None
    words: dict[Mark, Word] = {}
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        found = _LINE.fullmatch(line.removesuffix("\n"))
        if not line.endswith("\n"):
            break
        if found is None:
            raise Conflict(
                f"Line {number} of the journal of forgotten persons is damaged.",
                "Put its back-up in place; without it, restoring a back-up may bring forgotten persons back.",
            )
        words[(ProjectId(found[2]), found[3])] = "forgotten" if found[1] == "forgotten" else "lifted"
    return words


def append(node: Node, word: Word, marks: Iterable[Mark]) -> None:
    """Say it of each; durable when this returns. Raises `Full`, and `BadSettings` when the file cannot be written."""
    at = stamp()
    text = "".join(f"{word} {at} {project} {digest}\n" for project, digest in sorted(set(marks)))
    path = path_of(node)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _to_the_end(file)
            file.write(text.encode("ascii"))
            file.flush()
            os.fsync(file.fileno())
        synchronise(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Full("There is no room left on the disk for the journal of forgotten persons.") from None
        raise BadSettings("The journal of forgotten persons cannot be written.", _HINT) from None


def _to_the_end(file: BinaryIO) -> None:
    """Go behind the last whole line; what a crash left of another is cut off."""
    whole = file.read()
    end = whole.rfind(b"\n") + 1
    file.truncate(end)
    file.seek(end)
