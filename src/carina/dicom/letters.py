"""The letters at the sides of a picture: which way the patient lies, PS3.3 sections C.7.6.2.1.1 and C.7.6.1.1.1."""

from __future__ import annotations

import re
from collections.abc import Sequence

Letters = tuple[str, str, str, str]
"""At the top, right, bottom, left; empty where it is not known."""
NONE: Letters = ("", "", "", "")

_POSITIVE, _NEGATIVE = "LPH", "RAF"  # x, y, z of the patient's system
_OPPOSITE = str.maketrans("LRAPHF", "RLPAFH")
_LEAST = 0.2  # of a direction (11.5°), below which a letter is left out
_TOLD = re.compile(r"[LRAPHF]{1,3}")


def letters_of(axes: Sequence[Sequence[float]]) -> Letters:
    """Of a slice, by the unit vectors (x, y, z) of its rows' direction and its columns' direction.

    >>> letters_of([(1, 0, 0), (0, 1, 0)])
    ('A', 'L', 'P', 'R')
    """
    right, bottom = (_way(axis) for axis in axes)
    return (bottom.translate(_OPPOSITE), right, bottom, right.translate(_OPPOSITE))


def letters_told(orientation: Sequence[object]) -> Letters:
    """Of a projection, by Patient Orientation (0020,0020); of quadrupeds, whose letters are longer, none.

    >>> letters_told(["P", "FL"])
    ('HR', 'P', 'FL', 'A')
    """
    words = [str(one or "").strip().upper() for one in orientation]
    if len(words) != 2 or not all(_TOLD.fullmatch(word) for word in words):
        return NONE
    right, bottom = words
    return (bottom.translate(_OPPOSITE), right, bottom, right.translate(_OPPOSITE))


def _way(axis: Sequence[float]) -> str:
    """The letters of a direction, the strongest first."""
    parts = [(abs(part), _POSITIVE[at] if part > 0 else _NEGATIVE[at]) for at, part in enumerate(axis)]
    return "".join(letter for size, letter in sorted(parts, key=lambda part: -part[0]) if size > _LEAST)
