"""Paths around masks are the masks again when they are filled, and colours are those of the header."""

from __future__ import annotations

import numpy as np
import pytest

from carina.dicom.contours import inside
from carina.dicom.letters import letters_of, letters_told
from carina.dicom.outlines import PALETTE, borders, colour_of

RANDOM = np.random.default_rng(3)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_filled_paths_are_the_mask(share: float) -> None:
    mask = RANDOM.random((37, 53)) < share
    corners = [path[:, ::-1] - 0.5 for path in borders(mask)]
    assert np.array_equal(inside(corners, *mask.shape), mask)


def test_a_ring_has_two_paths_and_nothing_has_none() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    mask[4, 4] = False
    paths = borders(mask)
    assert sorted(len(path) for path in paths) == [4, 4]
    assert borders(np.zeros((4, 4), bool)) == []


def test_a_mask_at_the_edge_of_the_picture_is_closed_there() -> None:
    [path] = borders(np.ones((3, 5), bool))
    assert path.min() == 0
    assert path.max(axis=0).tolist() == [5, 3]


def test_colours_are_those_of_the_header_or_of_the_palette() -> None:
    assert colour_of([34885, 53485, 50171], 1, lab=True) == colour_of(["34885", "53485", "50171"], 1, lab=True)
    assert colour_of([0, 32896, 32896], 1, lab=True) == "#000000"
    assert colour_of([300, -4, 7], 1, lab=False) == "#ff0007"
    assert colour_of(["x", 1, 2], 3, lab=True) == PALETTE[2]
    assert colour_of(None, len(PALETTE) + 1, lab=True) == PALETTE[0]


def test_letters_are_those_of_the_patients_sides() -> None:
    assert letters_of([(0, 1, 0), (0, 0, -1)]) == ("H", "P", "F", "A")
    assert letters_of([(1, 0, 0), (0, 0.8, -0.6)]) == ("AH", "L", "PF", "R")
    assert letters_told(["L", "F"]) == ("H", "L", "F", "R")
    assert letters_told(["RT", "CD"]) == ("",) * 4
    assert letters_told(["LEFT?", ""]) == ("",) * 4
