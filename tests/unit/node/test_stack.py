"""Frames in their order in space."""

from __future__ import annotations

import math
import time

from carina.dicom.geometry import Place
from carina.node.stack import MIXED, stack_of
from carina.node.taken import Taken


def test_frames_that_all_look_in_another_direction_are_ordered_in_no_time() -> None:
    places = []
    for number in range(10_000):  # on a spiral from pole to pole, so that hardly two are parallel
        height = 1 - 2 * (number + 0.5) / 10_000
        turn, flat = number * 2.399963, math.sqrt(1 - height * height)
        down = (flat, -height * math.cos(turn), -height * math.sin(turn))
        places.append(Place((0.0, 0.0, float(number)), ((0.0, -math.sin(turn), math.cos(turn)), down), (1.0, 1.0)))
    image = Taken("1.2", len(places), tuple(places), ("",) * 4, (1.0, 0.0), None, (8, 8), "1.3")
    began = time.monotonic()
    stack = stack_of([image], len(places))
    assert time.monotonic() - began < 5
    assert len(stack.slices) == len(places) and MIXED in stack.notes
