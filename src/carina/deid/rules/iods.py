"""Which type an attribute has in the IOD of its instance, at its place: DICOM PS3.3, by SOP class of PS3.4.

`data/iod_types.json` names its origin; `scripts/make_deid_iods.py` writes it. It is read when the first type is asked
for, and of it only the IOD asked for is opened.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import IntEnum
from functools import cache, lru_cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carina.deid.rules.rule import Place


class Type(IntEnum):
    """What an IOD asks of an attribute that is there; a condition (1C, 2C) that made it be there still holds."""

    VALUE = 1  # 1 and 1C: not without a value
    PRESENT = 2  # 2 and 2C: may be empty
    OPTIONAL = 3  # 3, or no attribute of the IOD


Level = Mapping[int, tuple[int, tuple[int, ...]]]
"""Tag → its type, and the numbers of the levels within."""

_REPEATING = 0x0040A730  # Content Sequence, which holds itself: PS3.3 lists it to some depth only


def type_of(tag: int, place: Place) -> Type | None:
    """The type of this attribute in its place; None where the SOP class, or a sequence around it, is not known."""
    level = _level_at(place)
    if level is None:
        return None
    entry = level.get(tag)
    return Type.OPTIONAL if entry is None else Type(entry[0])


@cache
def digest() -> str:
    """SHA-256 (hex) of the data."""
    return hashlib.sha256(_bytes()).hexdigest()


def _bytes() -> bytes:
    return (resources.files("carina.deid") / "data" / "iod_types.json").read_bytes()


@cache
def _content() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_bytes())
    return content


@lru_cache(maxsize=4096)
def _level_at(place: Place) -> Level | None:
    iod = _content()["classes"].get(place.sop_class)
    if iod is None:
        return None
    level = _merged(tuple(_content()["iods"][iod]))
    path = place.path
    for depth, tag in enumerate(path):
        if tag == _REPEATING and depth and path[depth - 1] == _REPEATING:
            continue
        entry = level.get(tag)
        if entry is None:
            return None
        level = _merged(entry[1])
    return level


@lru_cache(maxsize=4096)
def _merged(numbers: tuple[int, ...]) -> Level:
    """Several levels as one: the strictest type of each attribute, the levels within of all."""
    found: dict[int, tuple[int, tuple[int, ...]]] = {}
    for number in numbers:
        for tag, kind, inner in _content()["levels"][number]:
            known, levels = found.get(tag, (kind, ()))
            found[tag] = (min(known, kind), levels if inner < 0 or inner in levels else (*levels, inner))
    return MappingProxyType(found)
