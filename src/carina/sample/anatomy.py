"""The paintbox for bodies: maps of tissue made of ellipsoids in a gently bent space, one byte per voxel.

A map has axes (slice, row, column): slices from the feet up, rows from front to back, columns from the patient's right
to left, as an axial image is read. Positions and radii are fractions of half the field of view, from -1 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Point = tuple[float, float, float]
ENDLESS = 99.0


class Tissue(IntEnum):
    """What a voxel is made of."""

    AIR = 0
    FAT = 1
    MUSCLE = 2
    LUNG = 3
    BONE = 4
    MARROW = 5
    BLOOD = 6
    LIVER = 7
    SPLEEN = 8
    KIDNEY = 9
    BOWEL = 10
    GREY = 11
    WHITE = 12
    FLUID = 13
    GLAND = 14
    PROSTATE = 15
    BLADDER = 16
    VESSEL = 17
    HEART = 18
    OEDEMA = 19
    NECROSIS = 20
    LESION = 21
    TABLE = 22


@dataclass(frozen=True)
class Body:
    """What makes one patient's body look like no other's: all draws come from `seed`, none from the study."""

    seed: int
    female: bool
    girth: float
    lesion: float


@dataclass(frozen=True)
class Canvas:
    """A tissue map under work; x and y are bent coordinates of shape (slices, rows, 1 or columns)."""

    labels: Labels
    x: Floats
    y: Floats
    z: Floats
    chance: np.random.Generator


def canvas(body: Body, slices: int, size: int) -> Canvas:
    """Air, in a space bent by slow waves that are this patient's own."""
    chance = np.random.default_rng(body.seed)
    line = np.linspace(-1, 1, size, dtype=np.float32)
    z = (np.linspace(-0.9, 0.9, slices, dtype=np.float32) if slices > 1 else np.zeros(1, np.float32))[:, None, None]
    waves = chance.uniform(0, 6.28, 6).astype(np.float32)
    rows, columns = line[None, :, None], line[None, None, :]
    x = columns / body.girth + 0.012 * np.sin(7 * rows + waves[0] + z) + 0.016 * np.sin(4 * rows + waves[1] - 2 * z)
    y = rows / body.girth + 0.012 * np.sin(8 * columns + waves[2] + z) + 0.018 * np.sin(3 * columns + waves[3])
    return Canvas(np.zeros((slices, size, size), np.uint8), x, y, z[:, 0, 0], chance)


def blob(
    on: Canvas, tissue: Tissue, centre: Point, radii: Point, turn: float = 0.0, *,
    over: tuple[Tissue, ...] = (), rough: float = 0.0,
) -> None:  # fmt: skip
    """Fill an ellipsoid, turned by `turn` radians in the slice; `over` limits it to voxels that are these tissues.

    rough   how far the rim wanders in and out, as a fraction of the radius
    """
    reach = max(radii[0], radii[1]) * (1 + 2 * rough) + 0.06 if turn or rough else 0.06
    wide = (reach, reach) if turn or rough else (radii[0] + reach, radii[1] + reach)
    levels = np.flatnonzero(np.abs(on.z - centre[2]) < radii[2] * (1 + rough))
    if not levels.size:
        return
    span = slice(int(levels[0]), int(levels[-1]) + 1)
    size = on.labels.shape[1]
    rows, columns = _window(centre[1], wide[1] * 1.12, size), _window(centre[0], wide[0] * 1.12, size)
    dx, dy = on.x[span, rows, columns] - centre[0], on.y[span, rows, columns] - centre[1]
    if turn:
        cosine, sine = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        dx, dy = dx * cosine + dy * sine, dy * cosine - dx * sine
    height = ((on.z[span] - centre[2]) / radii[2])[:, None, None] ** 2
    inside = (dx / radii[0]) ** 2 + (dy / radii[1]) ** 2 + height
    if rough:
        angle = np.arctan2(dy, dx)
        wave = np.sin(3 * angle + 40 * centre[0]) + 0.7 * np.sin(7 * angle + 30 * centre[1]) + 0.5 * np.sin(13 * angle)
        inside = inside * (1 + rough * wave)
    mask = inside < 1
    part = on.labels[span, rows, columns]
    if over:
        allowed = np.zeros(len(Tissue), np.bool_)
        allowed[list(over)] = True
        mask &= allowed[part]
    part[mask] = tissue


def _window(centre: float, reach: float, size: int) -> slice:
    low = int((centre - reach + 1) / 2 * (size - 1)) - 1
    high = int((centre + reach + 1) / 2 * (size - 1)) + 2
    return slice(max(0, low), min(size, max(0, high)))
