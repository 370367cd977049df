"""Instances of any size from the spool into the store, with a few megabytes of memory: de-identified as they stream.

It is the way of `Engine.clean` for large files whose pixels are native and little-endian, with the same bytes as its
result; what it cannot take is left to that way, up to `MOST_IN_MEMORY`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import orjson

from carina.deid.engine.encode import Written
from carina.deid.engine.engine import NO_ALIASES, Engine, Write
from carina.deid.engine.files import split_large
from carina.deid.person import Person
from carina.deid.pixels.findings import Findings
from carina.dicom.describe import Described, described
from carina.dicom.frametable import frames_in
from carina.errors import InvalidInstance, Withheld
from carina.model.instance import CleanInstance, Reason
from carina.node.parcel import Label
from carina.node.site import Node
from carina.node.spooled import opened_parcel
from carina.storage.instances import InstanceWriter

LARGE = 64 * 2**20
"""Bytes; what is larger comes this way."""
MOST_IN_MEMORY = 10**9
"""Bytes of the largest instance that may be read as a whole; its memory is several times as much."""


@dataclass(frozen=True)
class Large:
    """A clean instance whose file is in the store.

    clean       without its `data`
    size        bytes of its file
    head        as it arrived, identifying: all but the values of its Pixel Data
    """

    clean: CleanInstance
    content: str
    size: int
    described: Described
    head: bytes = field(repr=False)


def store(
    node: Node,
    arrival_id: str,
    engine: Engine,
    *,
    aliases: Mapping[Person, Person] = NO_ALIASES,
    findings: Findings | None = None,
    looks: bool = False,
    may: Callable[[CleanInstance], None] = lambda clean: None,
) -> Large | None:
    """De-identify what rests under this id, and store it; None for what must be read as a whole.

    looks  whether its pixels may have to be looked at first, which needs all of its bytes
    may    is asked with the clean instance, of which its digest is not known yet, before anything is written; what it
           raises comes out

    Raises as `Engine.clean`, `Withheld` (too large) instead of None for what is larger than `MOST_IN_MEMORY`, and
    `Full`; then nothing is stored. Repeatable.
    """
    with opened_parcel(node, arrival_id) as (_, source, size):
        split = None if looks else split_large(source, size)
        if split is None:
            _require_small(size)
            return None
        staged = _Staged(node, may)
        try:
            clean = engine.clean_stream(source, split, staged.begin, aliases=aliases, findings=findings)
            if clean is None:
                _require_small(size)
                return None
            content = staged.finish()
        except BaseException:
            staged.abort()
            raise
    return Large(clean, content, staged.size, _described(staged.written), split[0])


def set_aside(node: Node, arrival_id: str) -> Label:
    """Put what rests in the spool under this id into quarantine too, as it came, durably; what its line says.

    With a few megabytes of memory, whatever its size. The caller removes it from the spool afterwards. Raises `Full`,
    `NotFound` and `WrongKey`. Repeatable: what is in quarantine alone stays there.
    """
    with opened_parcel(node, arrival_id) as (label, source, _):
        if arrival_id not in node.spool:
            return label
        writer = node.quarantine.writer(arrival_id)
        try:
            writer.write(label.line())
            while data := source.read(1 << 20):
                writer.write(data)
            writer.finish()
        except BaseException:
            writer.abort()
            raise
        node.quarantine.synchronise()
    return label


class _Staged:
    """The clean file on its way into the store."""

    def __init__(self, node: Node, may: Callable[[CleanInstance], None]) -> None:
        self._node = node
        self._may = may
        self._writer: InstanceWriter | None = None
        self._written: Written | None = None

    @property
    def written(self) -> Written:
        """What was begun."""
        if self._written is None:
            raise ValueError("nothing was begun")
        return self._written

    @property
    def size(self) -> int:
        """Bytes of the file."""
        first, last = self.written.pixels
        return len(self.written.before) + last - first + len(self.written.after)

    def begin(self, written: Written) -> Write:
        self._may(written.instance)
        self._written = written
        self._writer = self._node.instances.writer()
        return self._writer.write

    def finish(self) -> str:
        if self._writer is None:
            raise ValueError("nothing was begun")
        return self._writer.finish()

    def abort(self) -> None:
        if self._writer is not None:
            self._writer.abort()


def _require_small(size: int) -> None:
    if size > MOST_IN_MEMORY:
        raise Withheld(Reason.TOO_LARGE, "It is too large to be read as a whole, which its kind would need.")


def _described(written: Written) -> Described:
    """What the index keeps, worked out from the header: the same file with two bytes of pixels says the same."""
    first, last = written.pixels
    size = last - first
    if not size:
        raise InvalidInstance("The DICOM file is damaged: it has no pixels where it must.")
    found = described(written.before[:-4] + b"\2\0\0\0\0\0" + written.after[size % 2 :])
    start = len(written.before)
    layout = frames_in(b"", (start, start + size), _bits(found, size), found.frames, encapsulated=False)
    return replace(found, layout=layout)


def _bits(found: Described, size: int) -> int:
    """Of one frame; 0 where frames do not begin at bytes. `size` is that of all, in bytes."""
    header = orjson.loads(found.header)
    rows, columns, bits = (header.get(tag, {}).get("Value", [0])[0] for tag in ("00280010", "00280011", "00280100"))
    return size * 8 // found.frames if rows * columns * bits % 8 == 0 and size % found.frames == 0 else 0
