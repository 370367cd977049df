"""The de-identified header of an instance, row by row, as people read it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_description, dictionary_keyword

from carina.dicom.json import values_of
from carina.errors import NotFound
from carina.node.authorise import Grant
from carina.node.retrieve import find_instance, is_picture
from carina.node.site import Node

MOST = 20_000  # rows; enhanced images of thousands of frames have more
LONGEST = 1000  # characters of a value
DEEPEST = 20  # sequences in one another


@dataclass(frozen=True, slots=True)
class Row:
    """An attribute. `depth`: in how many sequences it is; of an item, `keyword` is empty and `vr` too."""

    tag: str
    keyword: str
    name: str
    vr: str
    value: str
    depth: int


def header_rows(node: Node, grant: Grant, study: str, series: str, uid: str, *, whole: bool = False) -> list[Row]:
    """All attributes in order, sequences item by item. Raises `NotFound`, also where the header is itself what only a
    permit to retrieve gives: that of reports, segmentations and objects of radiotherapy.

    whole  whether who asks may retrieve the object, too (`retrieve.may_retrieve`); staff may read all
    """
    one = find_instance(node, grant, study, series, uid)
    if not (whole or grant.staff or is_picture(one.header)):
        raise NotFound("The header of this object is its content, which is not shown here.", "Retrieve the object.")
    found: list[Row] = []
    for row in _rows(one.header, 0):
        if len(found) == MOST:
            break
        found.append(row)
    return found


def _rows(header: dict[str, Any], depth: int) -> Iterator[Row]:
    for tag, element in header.items():
        vr = str(element.get("vr", ""))
        keyword, name = _named(tag)
        items = [one for one in element.get("Value") or () if isinstance(one, dict)] if vr == "SQ" else []
        yield Row(tag, keyword, name, vr, _text(header, tag, element, len(items)), depth)
        for item in items if depth < DEEPEST else ():
            yield from _rows(item, depth + 1)


def _named(tag: str) -> tuple[str, str]:
    try:
        return dictionary_keyword(int(tag, 16)), dictionary_description(int(tag, 16))
    except (KeyError, ValueError):
        return "", "Private" if int(tag[3], 16) % 2 else ""


def _text(header: dict[str, Any], tag: str, element: dict[str, Any], items: int) -> str:
    if element.get("vr") == "SQ":
        return f"{items} item" if items == 1 else f"{items} items"
    if "BulkDataURI" in element:
        return "binary"
    text = " \\ ".join(str(one) for one in values_of(header, tag))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
