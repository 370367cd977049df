"""The words in a header that identify this person, their doctors, hospital and orders: no kept text may hold them."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.valuerep import PersonName

from carina.deid.texts import is_ordinary, pieces

_SHORTEST = 3
_NAMING = (
    0x00080050,  # Accession Number
    0x00080080,  # Institution Name
    0x00080081,  # Institution Address
    0x00081010,  # Station Name
    0x00081040,  # Institutional Department Name
    0x00100020,  # Patient ID
    0x00100021,  # Issuer of Patient ID
    0x00101000,  # Other Patient IDs
    0x00101040,  # Patient's Address
    0x00102154,  # Patient's Telephone Numbers
    0x00181000,  # Device Serial Number
    0x00200010,  # Study ID
)


def own_identifiers(dataset: Dataset) -> frozenset[str]:
    """Words of three characters or more, as capitals, from names and identifiers at the root and in its sequences.

    Words of technique and anatomy are left out, so that a phantom called HEAD keeps its body part.
    """
    found = {piece for text in _texts(dataset) for piece in pieces(text)}
    return frozenset(piece for piece in found if len(piece) >= _SHORTEST and not is_ordinary(piece))


def _texts(dataset: Dataset) -> Iterator[str]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _texts(item)
        elif element.VR == "PN" or int(element.tag) in _NAMING:
            value = element.value
            for part in [value] if isinstance(value, str | PersonName) else value or ():
                yield str(part)
