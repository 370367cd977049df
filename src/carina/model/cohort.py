"""A cohort query: a small typed tree with one meaning everywhere, in an address and in a message too.

`All(())` is everyone who has images. The tree is asked of each series, which also has its study's age and its patient's
sex and diagnoses: a series that has the whole tree is a match, and with it its study and its patient. So `modality=CT`
and `body_part=CHEST` means a CT series of the chest. The meaning of each variable is in `model.variables`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any as Json
from typing import TypeAlias

from carina.errors import InvalidQuery

MAX_DEPTH = 4
MAX_TERMS = 50


@dataclass(frozen=True)
class OneOf:
    """The variable has one of these values; the empty tuple matches nobody."""

    variable: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Between:
    """The variable is a number in [low, high]; None leaves that side open."""

    variable: str
    low: int | None
    high: int | None


@dataclass(frozen=True)
class All:
    """Every part holds."""

    parts: tuple[Query, ...]


@dataclass(frozen=True)
class AnyOf:
    """At least one part holds."""

    parts: tuple[Query, ...]


Query: TypeAlias = "OneOf | Between | All | AnyOf"


def variables_of(query: Query) -> Iterator[str]:
    """The name of each variable the query speaks of, in order, once each."""
    seen: set[str] = set()
    for term in _terms(query):
        if term.variable not in seen:
            seen.add(term.variable)
            yield term.variable


def _terms(query: Query) -> Iterator[OneOf | Between]:
    if isinstance(query, OneOf | Between):
        yield query
    else:
        for part in query.parts:
            yield from _terms(part)


def to_json(query: Query) -> dict[str, Json]:
    """The form it has in messages."""
    match query:
        case OneOf(variable, values):
            return {"one_of": {"variable": variable, "values": list(values)}}
        case Between(variable, low, high):
            return {"between": {"variable": variable, "low": low, "high": high}}
        case All(parts):
            return {"all": [to_json(part) for part in parts]}
        case AnyOf(parts):
            return {"any": [to_json(part) for part in parts]}


def from_json(value: object) -> Query:
    """The query of a message. Raises `InvalidQuery` for any other shape; unknown variables are kept, to be named."""
    query = _from_json(value, 0)
    if sum(1 for _ in _terms(query)) > MAX_TERMS:
        raise InvalidQuery(f"The query has more than {MAX_TERMS} terms.")
    return query


def _from_json(value: object, depth: int) -> Query:
    if depth > MAX_DEPTH:
        raise InvalidQuery("The query is nested too deeply.")
    if not isinstance(value, dict) or len(value) != 1:
        raise InvalidQuery("A part of the query has no known shape.")
    [(shape, inner)] = value.items()
    if shape in ("all", "any") and isinstance(inner, list):
        parts = tuple(_from_json(part, depth + 1) for part in inner)
        return All(parts) if shape == "all" else AnyOf(parts)
    if not isinstance(inner, dict) or not isinstance(inner.get("variable"), str):
        raise InvalidQuery("A part of the query has no known shape.")
    name = inner["variable"]
    if shape == "one_of" and set(inner) == {"variable", "values"}:
        return OneOf(name, _texts(inner["values"]))
    if shape == "between" and set(inner) == {"variable", "low", "high"}:
        return Between(name, _bound(inner["low"]), _bound(inner["high"]))
    raise InvalidQuery("A part of the query has no known shape.")


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) and len(item) <= 64 for item in value):
        return tuple(value)
    raise InvalidQuery("The values of a term are not a list of short texts.")


def _bound(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and -(10**9) <= value <= 10**9):
        return value
    raise InvalidQuery("A bound is not a whole number.")


def to_pairs(query: Query) -> list[tuple[str, str]]:
    """The query as the pairs of an address: `modality=CT&modality=MR&age=40-60`.

    Only the shape an address can hold, one `All` of terms with each variable once; else `InvalidQuery`.
    """
    parts = query.parts if isinstance(query, All) else (query,)
    pairs: list[tuple[str, str]] = []
    for part in parts:
        match part:
            case OneOf(variable, values) if values:
                pairs += [(variable, value) for value in values]
            case Between(variable, low, high):
                pairs.append((variable, f"{'' if low is None else low}-{'' if high is None else high}"))
            case _:
                raise InvalidQuery("This query does not fit into an address.")
    if len({part.variable for part in parts if isinstance(part, OneOf | Between)}) != len(parts):
        raise InvalidQuery("This query does not fit into an address.")
    return pairs


def from_pairs(pairs: Iterable[tuple[str, str]], ranges: Iterable[str]) -> Query:
    """The query of an address's pairs; `ranges` names the variables that are numbers. Empty values are left out.

    Unknown variables are kept, so that whoever answers can name them.
    """
    numeric = set(ranges)
    chosen: dict[str, list[str]] = {}
    for name, value in pairs:
        if value.strip() and (name not in numeric or value.strip() != "-"):
            chosen.setdefault(name, []).append(value.strip())
    parts: list[Query] = []
    for name, values in chosen.items():
        if name in numeric:
            if len(values) > 1:
                raise InvalidQuery(f"The range of '{name}' is given twice.")
            parts.append(_range(name, values[0]))
        else:
            parts.append(OneOf(name, tuple(dict.fromkeys(values))))
    return from_json(to_json(All(tuple(parts))))


def _range(name: str, text: str) -> Between:
    low, dash, high = text.partition("-")
    if not dash:
        high = low
    if not all(side.strip() == "" or (side.strip().isdecimal() and len(side) < 9) for side in (low, high)):
        raise InvalidQuery(f"'{name}' needs whole numbers.", "Write a range as 40-60, 40- or -60.")
    bounds = [int(side) if side.strip() else None for side in (low, high)]
    if bounds[0] is not None and bounds[1] is not None and bounds[0] > bounds[1]:
        raise InvalidQuery(f"The range of '{name}' ends before it begins.")
    return Between(name, bounds[0], bounds[1])
