"""JSON that is text already, for columns that hold JSON."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReadyJson:
    """A value that is written to a JSON column as it is. `text` is compact JSON."""

    text: str
