"""Who an image or a clinical row is about: an identifier and whoever issued it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from carina.errors import Withheld
from carina.model.instance import Reason

_AROUND = " \t\r\n\0"


@dataclass(frozen=True)
class Person:
    """One person as one issuer knows them. Identifying: lives in memory and in the encrypted alias list only."""

    issuer: str = field(repr=False)
    identifier: str = field(repr=False)


def person(issuer: str, identifier: str, default_issuer: str = "", strip_leading_zeros: bool = False) -> Person | None:
    """The person whom these two texts name, by the site's rule; None when the identifier is empty.

    Blanks around both texts are removed and letters composed (Unicode NFC); an empty issuer means the site's own.
    With `strip_leading_zeros`, `007` and `7` are the same person, as in systems that pad their numbers.
    """
    name = unicodedata.normalize("NFC", identifier.strip(_AROUND))
    if strip_leading_zeros:
        name = name.lstrip("0") or name[-1:]
    if not name:
        return None
    return Person(unicodedata.normalize("NFC", issuer.strip(_AROUND) or default_issuer.strip(_AROUND)), name)


def person_of(dataset: Dataset, default_issuer: str = "", strip_leading_zeros: bool = False) -> Person:
    """The person of a DICOM instance: Patient ID (0010,0020) and Issuer of Patient ID (0010,0021).

    Raises `Withheld` (missing identity) when there is no identifier: images of several people must not become one.
    """
    found = person(_text(dataset, 0x00100021), _text(dataset, 0x00100020), default_issuer, strip_leading_zeros)
    if found is None:
        raise Withheld(
            Reason.MISSING_IDENTITY,
            "The instance has no Patient ID, so its pseudonym cannot be made.",
            "Add the identifier at the source and send it again.",
        )
    return found


def _text(dataset: Dataset, tag: int) -> str:
    value = dataset[tag].value if tag in dataset else None
    if value is None:
        return ""
    return value if isinstance(value, str) else "\\".join(str(part) for part in value)


def merged(person: Person, aliases: Mapping[Person, Person]) -> Person:
    """The person that `person` was merged into, over as many steps as there are; itself if it was not."""
    seen = {person}
    while (target := aliases.get(person)) is not None and target not in seen:
        seen.add(target)
        person = target
    return person
