"""How well persons hide among each other: k-anonymity of what stays of them (doi:10.1142/S0218488502001648).

Persons who agree in every attribute of a set form a class; the smallest class has k persons, and whoever is alone in a
class can be told apart by those attributes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FEW = 5
"""Classes of fewer persons are counted as small."""

SETS: tuple[tuple[str, ...], ...] = (
    ("sex", "age"),
    ("sex", "age", "size", "weight"),
    ("sex", "age", "ethnic_group"),
    ("sex", "age", "smoking_status", "pregnancy_status", "sex_neutered"),
    ("sex", "age", "body_part"),
    ("sex", "age", "institution", "institution_address"),
    ("sex", "age", "manufacturer", "device"),
    ("sex", "age", "size", "weight", "ethnic_group", "smoking_status", "pregnancy_status", "sex_neutered",
     "body_part", "institution", "institution_address", "manufacturer", "device"),
)  # fmt: skip
"""The attributes that are judged together: images alone."""
CLINICAL = ("site", "morphology", "stage", "treatment", "vital_status", "age_at_diagnosis")
"""What stays of a person in a clinical table."""
CLINICAL_SETS: tuple[tuple[str, ...], ...] = (
    ("sex", "age", "site"),
    ("sex", "age", "site", "stage", "treatment", "vital_status"),
    (*SETS[-1], *CLINICAL),
)
"""The same, joint with a clinical table."""

Person = Mapping[str, str]
"""Of one person, each attribute as text; "" or none where nothing is known. Several values are joined by `;`."""


@dataclass(frozen=True)
class Anonymity:
    """How persons hide in one set of attributes.

    persons   how many there are
    classes   how many groups they form
    k         the size of the smallest group; 0 if there is no person
    unique    persons who are alone in their group
    few       persons in groups of fewer than `FEW`
    """

    attributes: tuple[str, ...]
    persons: int
    classes: int
    k: int
    unique: int
    few: int

    @property
    def share_unique(self) -> float:
        """The part of all persons who are alone in their group, from 0 to 1."""
        return self.unique / self.persons if self.persons else 0.0

    def to_json(self) -> dict[str, Any]:
        """As a report has it."""
        return {
            "attributes": list(self.attributes),
            "persons": self.persons,
            "classes": self.classes,
            "k": self.k,
            "unique": self.unique,
            "share_unique": round(self.share_unique, 4),
            f"in_classes_below_{FEW}": self.few,
        }


def anonymity(persons: Iterable[Person], attributes: Sequence[str]) -> Anonymity:
    """How these persons hide in these attributes.

    >>> anonymity([{"sex": "F"}, {"sex": "F"}, {"sex": "M"}], ("sex",)).k
    1
    """
    classes = Counter(tuple(person.get(name, "") for name in attributes) for person in persons)
    sizes = classes.values()
    return Anonymity(
        attributes=tuple(attributes),
        persons=sum(sizes),
        classes=len(classes),
        k=min(sizes, default=0),
        unique=sum(size == 1 for size in sizes),
        few=sum(size for size in sizes if size < FEW),
    )


def all_sets(persons: Sequence[Person], clinical: bool = False) -> list[Anonymity]:
    """Each set of `SETS`, and with a clinical table each of `CLINICAL_SETS`."""
    return [anonymity(persons, attributes) for attributes in (*SETS, *(CLINICAL_SETS if clinical else ()))]


def joined(facts: Iterable[tuple[str, Person]]) -> dict[str, Person]:
    """Facts of instances or studies, by the person's pseudonym: for each person all values of each attribute."""
    values: dict[str, dict[str, set[str]]] = {}
    for pseudonym, fact in facts:
        own = values.setdefault(pseudonym, {})
        for name, value in fact.items():
            own.setdefault(name, set()).update((value,) if value else ())
    return {
        pseudonym: {name: ";".join(sorted(found)) for name, found in own.items()} for pseudonym, own in values.items()
    }


def band(value: str, width: float) -> str:
    """A number by the band of this width that it falls in, as "70-80"; "" if it is no number.

    >>> band("74.5", 10), band("tall", 10)
    ('70-80', '')
    """
    try:
        number = float(value)
        low = number // width * width
        return f"{low:g}-{low + width:g}"
    except (ValueError, OverflowError):
        return ""
