"""The words that a description may hold: technique, anatomy, disease, in eight languages; capitals without accents.

The allow-list of `cleaning`: a word that is not here does not stay, whatever it is. `data/vocabulary.txt` says where
its words come from; those of `data/words.txt`, for technical texts and code strings, count as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import cache
from importlib import resources
from types import MappingProxyType


class Kind(Enum):
    """What a listed word is."""

    PLAIN = ""
    NAME = "?"  # a name of persons as well: Brown, Klein, May
    BINDING = "~"  # of, with, per: says nothing alone


def kind_of(word: str) -> Kind | None:
    """What a word in capitals without accents is; None when it is not listed."""
    return _kinds().get(word)


@cache
def _kinds() -> Mapping[str, Kind]:
    """Later lists win: a word that `words.txt` calls a name as well may be plain in a description."""
    found: dict[str, Kind] = {}
    for name in ("words.txt", "vocabulary.txt"):
        text = (resources.files("carina.deid") / "data" / name).read_text("ascii")
        for line in text.splitlines():
            if not line.startswith("#"):
                found |= dict(map(_entry, line.split()))
    return MappingProxyType(found)


def _entry(word: str) -> tuple[str, Kind]:
    mark = word[-1]
    return (word[:-1], Kind(mark)) if mark in "?~" else (word, Kind.PLAIN)
