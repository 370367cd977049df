"""Chance that anybody can repeat: every draw follows from the words it was begun with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draws:
    """A stream of draws from SHA-256 over its words and a counter; the same on every machine and Python."""

    def __init__(self, *words: object) -> None:
        self._label = "/".join(str(word) for word in words).encode()
        self._drawn = 0

    def seed(self) -> int:
        """The next 128 bits as a number; also what numpy's generators and UIDs are begun with."""
        digest = hashlib.sha256(self._label + b"#" + str(self._drawn).encode()).digest()
        self._drawn += 1
        return int.from_bytes(digest[:16], "big")

    def number(self, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        return low + self.seed() % (high - low + 1)

    def real(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * (self.seed() >> 75) / (1 << 53)

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`."""
        return items[self.seed() % len(items)]

    def chance(self, probability: float) -> bool:
        """True as often as `probability` says."""
        return self.real(0, 1) < probability

    def digits(self, count: int) -> str:
        """`count` decimal digits, the first not zero."""
        return str(self.number(10 ** (count - 1), 10**count - 1))


def uid(*words: object) -> str:
    """A UID under `2.25.` (PS3.5 annex B.2) that follows from `words`, shaped as a version 4 UUID."""
    number = Draws("uid", *words).seed()
    number = number & ~(0xF << 76) | 0x4 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return f"2.25.{number}"
