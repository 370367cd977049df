"""What reads DICOM files, and opens sealed ones."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

from tests.support import ct

from carina.deid.engine.walker import pieces, without_pixels
from carina.dicom.describe import described
from carina.dicom.json import to_json
from carina.dicom.names import sent_as
from carina.dicom.parse import identifiers, parse
from carina.dicom.quiet import quiet
from carina.dicom.reader import Count, Encoding, elements, items, opened
from carina.errors import CarinaError, NotFound, WrongKey
from carina.storage.sealed import SealedFolder, seal
from tests.fuzz.target import SMALL, Target, plain

_SEEDS = 600
_KEY, _NAME = bytes(32), "sealed"


def walk(data: bytes) -> None:
    """Each walker, and that what is described without pydicom is what pydicom reads."""
    pieces(data)
    pieces(data, head_only=True)
    without_pixels(data[: len(data) // 2], data[len(data) // 2 :])
    identifiers(data)
    sent_as([data])
    _read(data)
    try:
        found = described(data)
    except CarinaError:
        found = None
    try:
        dataset = parse(data)
    except CarinaError:
        return
    assert found is not None, "what can be parsed can be described"
    with quiet():
        told = to_json(dataset)
    assert found.values.items() <= told.items() | _computed(found.values), "both say the same"


def _computed(values: object) -> object:
    raise NotImplementedError
