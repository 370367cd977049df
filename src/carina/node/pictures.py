"""Frames drawn as pictures, here or by processes beside the server, and the pictures that were drawn last."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from pydicom import Dataset

from carina.dicom import frames, rendering
from carina.dicom.rendering import Drawing
from carina.node.recent import Recent

MOST = 64 << 20  # bytes of pictures in memory

Draw: TypeAlias = Callable[[Dataset, bytes, int, Drawing], bytes]
"""A picture of one frame, from the header of its image, the frame as it is stored, and its number, from 1."""


def draw_here(header: Dataset, stored: bytes, number: int, how: Drawing) -> bytes:
    """In the thread that asks. Raises as `dicom.rendering.render`."""
    return rendering.draw(header, frames.decoded(frames.alone(header, stored), 1), number, **how)


class Pictures:
    """What draws, and what was drawn. `draw`: set when the service starts with processes for that."""

    def __init__(self) -> None:
        self.draw: Draw = draw_here
        self.kept: Recent[bytes] = Recent(MOST, len)
