"""The private data elements that may stay when their values fit: Table E.3.10-1 of PS3.15 and TCIA's knowledge base.

`data/private_safe.json` names its origin and says what was left out; `scripts/make_deid_private.py` writes it. It is
read when the first private element is asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType


@dataclass(frozen=True)
class Safe:
    """One element of the list; `source` is E.3.10-1 or TCIA."""

    creator: str
    group: int
    low: int
    vr: str
    source: str


def safe(creator: str, tag: int) -> Safe | None:
    """The entry for this tag in a block of this creator; None where the list has none."""
    return _by_place().get((_plain(creator), tag >> 16, tag & 0xFF))


def entries() -> Iterator[Safe]:
    """The list, in the order of creators and tags."""
    yield from _by_place().values()


@cache
def digest() -> str:
    """SHA-256 (hex) of the data."""
    return hashlib.sha256(_bytes()).hexdigest()


def _bytes() -> bytes:
    return (resources.files("carina.deid") / "data" / "private_safe.json").read_bytes()


@cache
def _by_place() -> Mapping[tuple[str, int, int], Safe]:
    content = json.loads(_bytes())["elements"]
    found = (Safe(creator, int(group, 16), int(low, 16), vr, source) for creator, group, low, vr, source in content)
    return MappingProxyType({(entry.creator, entry.group, entry.low): entry for entry in found})


def _plain(creator: str) -> str:
    """A creator's name with single blanks, as the list has them."""
    return " ".join(creator.strip("\0").split())
