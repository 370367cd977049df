"""Small pictures of instances, kept once they are made.

A picture is kept under the content that it shows and what was asked for, so none can ever be out of date; whoever asks
has found the instance in the index before. What is de-identified is not sealed, as in the store. Beyond `MOST` pictures
those go that have been there longest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from carina.errors import Full
from carina.node.site import Node
from carina.storage import index
from carina.storage.files import make_folder

FOLDER = "thumbnails"
MOST = 20_000  # some kilobytes each
_LOOK = 500  # pictures that one process makes between two looks at how many there are

_made: dict[Path, int] = {}


def thumbnail(node: Node, content: str, asked: str, draw: Callable[[], bytes]) -> bytes:
    """The picture of this content that `draw` makes, or that was kept when it was last made.

    asked   what decides on how it looks: frame, size, window, media type, quality
    """
    path = _path(node, content, asked)
    with contextlib.suppress(OSError):
        return path.read_bytes()
    picture = draw()
    _keep(path, picture)
    with node.engine.connect() as connection:
        if not index.is_needed(connection, content):  # forgotten meanwhile: before its pictures were, or after
            path.unlink(missing_ok=True)
    return picture


def forget_content(node: Node, content: str) -> int:
    """Delete the pictures of this content, which the index must no longer name; how many there were."""
    found = [path for path in _folder(node, content).glob(f"{content}-*") if path.is_file()]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)


def _folder(node: Node, content: str) -> Path:
    return node.folder / FOLDER / content[:2]


def _path(node: Node, content: str, asked: str) -> Path:
    return _folder(node, content) / f"{content}-{hashlib.sha256(asked.encode()).hexdigest()[:24]}"


def _keep(path: Path, picture: bytes) -> None:
    """Whole or not at all; a disk without room keeps nothing, and the picture is given all the same."""
    try:
        make_folder(path.parent)
        unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            unfinished.write_bytes(picture)
            unfinished.chmod(0o600)
            unfinished.replace(path)
        except OSError:
            unfinished.unlink(missing_ok=True)
            return
    except Full:
        return
    root = path.parent.parent
    _made[root] = _made.get(root, 0) + 1
    if _made[root] % _LOOK == 0:
        _make_room(root)


def _make_room(root: Path) -> None:
    """Delete the oldest tenth when there are too many."""
    kept: list[tuple[float, str]] = []
    for folder in os.scandir(root):
        if folder.is_dir():
            kept += [(one.stat().st_mtime, one.path) for one in os.scandir(folder.path)]
    if len(kept) > MOST:
        for _, path in sorted(kept)[: len(kept) - MOST + MOST // 10]:
            with contextlib.suppress(OSError):
                Path(path).unlink()
