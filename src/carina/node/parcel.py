"""What rests in spool and quarantine: the bytes received with a line that says whence and when.

The line travels inside the sealed file, so that a spool whose records are behind it loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass, field

from carina.errors import InvalidInstance
from carina.model.instance import Source

_KINDS = ("aet", "token", "folder")


@dataclass(frozen=True)
class Parcel:
    """Bytes as received, identifying; `received_at` is a stamp."""

    source: Source
    received_at: str
    data: bytes = field(repr=False)


UNASSIGNED = "(not assigned)"


def recorded(source: Source, assigned: Container[Source]) -> Source:
    """The source as records may name it: what nobody configured, a folder or a calling AE title, may name a patient."""
    return source if source in assigned else Source(source.kind, UNASSIGNED)


def wrap(parcel: Parcel) -> bytes:
    """One line of JSON, then the bytes."""
    line = json.dumps(
        {"v": 1, "kind": parcel.source.kind, "name": parcel.source.name, "received_at": parcel.received_at},
        separators=(",", ":"),
    )
    return b"".join((line.encode(), b"\n", parcel.data))


def unwrap(wrapped: bytes) -> Parcel:
    """The parcel of `wrap`; `InvalidInstance` if these bytes are none."""
    line, newline, data = wrapped.partition(b"\n")
    try:
        head = json.loads(line) if newline else None
        if isinstance(head, dict) and head.get("v") == 1 and head.get("kind") in _KINDS:
            return Parcel(Source(head["kind"], str(head["name"])), str(head["received_at"]), data)
    except (ValueError, KeyError):
        pass
    raise InvalidInstance("A file of the spool or quarantine does not begin as Carina writes it.")
