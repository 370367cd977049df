"""What rests in spool and quarantine: the bytes received with a line that says whence and when.

The line travels inside the sealed file, so that a spool whose records are behind it loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass, field
from typing import BinaryIO

from carina.errors import InvalidInstance
from carina.model.instance import Source

_KINDS = ("aet", "token", "folder")
_LONGEST_LINE = 4096  # bytes


@dataclass(frozen=True)
class Label:
    """What the line says: whence and when, as a stamp. `sent` is the digest of `ingest.sent_digest`, or ""."""

    source: Source
    received_at: str
    sent: str = ""

    def line(self) -> bytes:
        """One line of JSON; the bytes received follow."""
        name = {"v": 1, "kind": self.source.kind, "name": self.source.name, "received_at": self.received_at}
        return json.dumps({**name, "sent": self.sent}, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True)
class Parcel:
    """Bytes as received, identifying; `received_at` is a stamp."""

    source: Source
    received_at: str
    data: bytes = field(repr=False)
    sent: str = ""

    @property
    def label(self) -> Label:
        """The parcel without its bytes."""
        return Label(self.source, self.received_at, self.sent)


UNASSIGNED = "(not assigned)"


def recorded(source: Source, assigned: Container[Source]) -> Source:
    """The source as records may name it: what nobody configured, a folder or a calling AE title, may name a patient."""
    return source if source in assigned else Source(source.kind, UNASSIGNED)


def wrap(parcel: Parcel) -> bytes:
    """One line of JSON, then the bytes."""
    return parcel.label.line() + parcel.data


def unwrap(wrapped: bytes) -> Parcel:
    """The parcel of `wrap`; `InvalidInstance` if these bytes are none."""
    end = wrapped.find(b"\n", 0, _LONGEST_LINE) + 1
    label = _label(wrapped[:end])
    return Parcel(label.source, label.received_at, wrapped[end:], label.sent)


def read_label(stream: BinaryIO) -> tuple[Label, int]:
    """What a parcel's line says, and where the bytes received begin; `InvalidInstance` if this is no parcel."""
    line = stream.read(_LONGEST_LINE)
    end = line.find(b"\n") + 1
    return _label(line[:end]), end


def _label(line: bytes) -> Label:
    try:
        head = json.loads(line) if line else None
        if isinstance(head, dict) and head.get("v") == 1 and head.get("kind") in _KINDS:
            source = Source(head["kind"], str(head["name"]))
            return Label(source, str(head["received_at"]), str(head.get("sent", "")))
    except (ValueError, KeyError):
        pass
    raise InvalidInstance("A file of the spool or quarantine does not begin as Carina writes it.")
