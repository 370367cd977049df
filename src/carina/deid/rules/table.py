"""Table E.1-1 of DICOM PS3.15 as data: what the Basic Profile and its options ask of each attribute.

`data/ps315_e1.json` names its edition and origin; `scripts/make_deid_table.py` writes it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Row:
    """One row of the table.

    tag       eight hex digits, `x` for any; or `PRIVATE`
    basic     the Basic Profile's action: X, Z, D, U, or a choice such as X/Z by the attribute's type in its IOD
    options   for each option that says otherwise, its action: K (keep) or C (clean)
    """

    tag: str
    name: str
    basic: str
    options: dict[str, str]


_DATA = (resources.files("carina.deid") / "data" / "ps315_e1.json").read_bytes()
_CONTENT = json.loads(_DATA)

DIGEST = hashlib.sha256(_DATA).hexdigest()
EDITION: str = _CONTENT["edition"]
ROWS: tuple[Row, ...] = tuple(Row(*row) for row in _CONTENT["rows"])
CONTENT_ITEMS: list[list[Any]] = _CONTENT["content_items"]
"""The rows of Table E.3.4-1, for `contents`."""
