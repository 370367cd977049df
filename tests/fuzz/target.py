"""What a target is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SMALL = 1 << 16  # bytes of an input


@dataclass(frozen=True)
class Target:
    """A function that is given any bytes and must not raise.

    run      made once; what it needs, such as an archive, is made then, in a folder that goes at the end
    seeds    inputs to begin with; the folder is one of real files
    longest  bytes of an input
    """

    run: Callable[[Path], Callable[[bytes], None]]
    seeds: Callable[[Path], Iterator[bytes]]
    longest: int = SMALL


def plain(run: Callable[[bytes], None]) -> Callable[[Path], Callable[[bytes], None]]:
    """A function that needs nothing made before."""
    return lambda _folder: run
