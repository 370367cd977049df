"""What an instance was called before; that goes into the way back only."""

from __future__ import annotations

from io import BytesIO

import pydicom

from carina.deid.engine.walker import Pieces, pieces
from carina.deid.evidence.reveal import Originals
from carina.dicom.quiet import quiet

_PATIENT_ID, _ISSUER = 0x00100020, 0x00100021
_STUDY, _SERIES, _INSTANCE = 0x0020000D, 0x0020000E, 0x00080018
_CHARACTER_SET = 0x00080005
_WANTED = frozenset((_PATIENT_ID, _ISSUER, _STUDY, _SERIES, _INSTANCE))


def originals_of(data: bytes) -> Originals | None:
    """The identifiers of a file; None if it has none."""
    return originals_in(data, pieces(data))


def originals_in(data: bytes, split: Pieces | None) -> Originals | None:
    """The same of a file that was taken to pieces; `split` is None for one that only pydicom reads."""
    if split is None:
        return _read(data)
    values = {tag: data[value:end] for tag, _, value, end in split.elements if tag in _WANTED}
    if any(not value.isascii() or b"\x1b" in value for value in values.values()):
        return _read(data)
    return _originals({tag: value.decode("ascii") for tag, value in values.items()})


def _read(data: bytes) -> Originals | None:
    """The same by pydicom, which knows of character sets and of every transfer syntax."""
    with quiet():
        try:
            wanted = [pydicom.tag.Tag(tag) for tag in (_CHARACTER_SET, *_WANTED)]
            dataset = pydicom.dcmread(BytesIO(data), stop_before_pixels=True, force=True, specific_tags=wanted)
            return _originals({tag: str(dataset[tag].value or "") for tag in _WANTED if tag in dataset})
        except Exception:  # noqa: BLE001  what cannot be read has no names
            return None


def _originals(values: dict[int, str]) -> Originals | None:
    texts = {tag: values.get(tag, "").strip(" \0") for tag in _WANTED}
    if not all(texts[tag] for tag in (_STUDY, _SERIES, _INSTANCE)):
        return None
    return Originals(texts[_PATIENT_ID], texts[_ISSUER], texts[_STUDY], texts[_SERIES], texts[_INSTANCE])
