"""What a look at an instance's pixels found: places, never the text that stands there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Need(StrEnum):
    """Whether an instance's pixels must be looked at before it may pass."""

    NONE = "none"  # it has no pixels, or such as no text can stand in
    SAMPLE = "sample"  # a plain image of a measuring machine: one of each layout
    ALL = "all"  # text may stand in every one


@dataclass(frozen=True, order=True)
class Box:
    """A rectangle in pixels: rows `top` to `bottom`, columns `left` to `right`, the ends left out.

    frame   0-based; None for every frame
    """

    top: int
    left: int
    bottom: int
    right: int
    frame: int | None = None


@dataclass(frozen=True)
class Findings:
    """What was found in one instance's pixels, and who says so; `boxes` are to be blanked.

    finder   the text finder and its version
    by       "machine", or "reader" where a person has looked at it
    proven   whether, the boxes blanked, a second search found no more (a reader may have left a false alarm)
    """

    boxes: tuple[Box, ...]
    finder: str
    by: Literal["machine", "reader"] = "machine"
    proven: bool = True
