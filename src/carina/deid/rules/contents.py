"""Table E.3.4-1 of DICOM PS3.15 as data: what the profile and its options ask of the content items of SR documents.

`table` holds the source: edition, origin and digest are those of Table E.1-1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from carina.deid.rules import table


@dataclass(frozen=True)
class Item:
    """One row of the table: a content item by the code of its concept name.

    basic     the Basic Profile's action: X, D, or X/D by what the document's template asks for
    options   for each option that says otherwise, its action: K (keep) or C (clean)
    """

    code: str
    scheme: str
    meaning: str
    value_type: str
    basic: str
    options: dict[str, str]


ITEMS: tuple[Item, ...] = tuple(Item(*item) for item in table.CONTENT_ITEMS)


@cache
def _by_code() -> Mapping[tuple[str, str], tuple[Item, ...]]:
    found: dict[tuple[str, str], tuple[Item, ...]] = {}
    for item in ITEMS:
        found[item.code, item.scheme] = (*found.get((item.code, item.scheme), ()), item)
    return MappingProxyType(found)


def item_of(code: str, scheme: str, value_type: str) -> Item | None:
    """The row for a content item with this concept name; with other value types there, its first.

    None where the table does not list the code.
    """
    found = _by_code().get((code, scheme), ())
    return next((item for item in found if item.value_type == value_type), found[0] if found else None)
