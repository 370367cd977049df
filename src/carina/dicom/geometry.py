"""Where slices lie in the patient, PS3.3 sections C.7.6.2 and C.7.6.16.2.3, from headers as DICOM JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, isfinite, sqrt
from typing import Any as Json

from carina.dicom.json import values_of

_POSITION, _ORIENTATION = "00200032", "00200037"
_SHARED, _PER_FRAME = "52009229", "52009230"
_PLANE_POSITION, _PLANE_ORIENTATION = "00209113", "00209116"
_MEASURES, _SPACING = "00289110", "00280030"
_FARTHEST = 1e9  # mm
PARALLEL = 0.999
"""Cosine of the largest angle (2.6°) between slices of one stack."""
_STRAIGHT = 0.9  # cosine of the largest angle (26°) to an axis for a plane to have its name
_PLANES = ("sagittal", "coronal", "axial")
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Position:
    """A slice's distance from the origin along its normal (mm), and that unit normal (LPS)."""

    distance: float
    normal: Vector


@dataclass(frozen=True, slots=True)
class Place:
    """A frame in the patient (LPS, mm): the centre of its first pixel, unit vectors along which its columns' and its
    rows' index grow, and mm between rows and between columns; None where the header does not say.
    """

    corner: Vector
    axes: tuple[Vector, Vector]
    spacing: tuple[float, float] | None

    @property
    def position(self) -> Position:
        """Along its normal."""
        (a, b, c), (d, e, f) = self.axes
        across = (b * f - c * e, c * d - a * f, a * e - b * d)
        length = sqrt(fsum(part * part for part in across))
        normal = (across[0] / length, across[1] / length, across[2] / length)
        return Position(fsum(x * y for x, y in zip(self.corner, normal, strict=True)), normal)


def place_of(header: dict[str, Json], frame: int = 1) -> Place | None:
    """Where a frame lies, or None when the header does not say."""
    corner = numbers_of(header, frame, _PLANE_POSITION, _POSITION, 3)
    axes = numbers_of(header, frame, _PLANE_ORIENTATION, _ORIENTATION, 6)
    if corner is None or axes is None:
        return None
    lengths = [sqrt(fsum(part * part for part in axis)) for axis in (axes[:3], axes[3:])]
    across = fsum(x * y for x, y in zip(axes[:3], axes[3:], strict=True))
    if not all(0.9 < length < 1.1 for length in lengths) or abs(across) > 0.1 or max(map(abs, corner)) > _FARTHEST:
        return None
    (a, b, c), (d, e, f) = axes[:3], axes[3:]
    along, down = lengths
    spacing = numbers_of(header, frame, _MEASURES, _SPACING, 2)
    return Place(
        corner=(corner[0], corner[1], corner[2]),
        axes=((a / along, b / along, c / along), (d / down, e / down, f / down)),
        spacing=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
    )


def numbers_of(header: dict[str, Json], frame: int, group: str, tag: str, count: int) -> list[float] | None:
    """So many finite numbers of a frame: of its own functional group, of the shared one, or of the image."""
    own, shared = _item(header, _PER_FRAME, frame - 1), _item(header, _SHARED, 0)
    for place in (_item(own, group, 0), _item(shared, group, 0), header):
        values = list(values_of(place, tag))
        if len(values) == count and all(isinstance(value, int | float) and isfinite(value) for value in values):
            return [float(value) for value in values]
    return None


def order_of(positions: Sequence[Position | None]) -> tuple[list[int], str]:
    """The order of slices along their normal, and the name of their plane; as given, and "", if it has no meaning.

    Slices at one place keep their order. A plane is axial, coronal, sagittal or, between them, oblique.
    """
    plain = list(range(len(positions)))
    known = [one for one in positions if one is not None]
    if not known or len(known) < len(positions) or not all(_parallel(known[0], one) for one in known):
        return plain, ""
    largest = max(range(3), key=lambda axis: abs(known[0].normal[axis]))
    plane = _PLANES[largest] if abs(known[0].normal[largest]) >= _STRAIGHT else "oblique"
    return sorted(plain, key=lambda number: known[number].distance), plane


def _parallel(one: Position, other: Position) -> bool:
    return fsum(x * y for x, y in zip(one.normal, other.normal, strict=True)) >= PARALLEL


def _item(header: dict[str, Json], tag: str, number: int) -> dict[str, Json]:
    items = (header.get(tag) or {}).get("Value") or []
    item = items[number] if number < len(items) else None
    return item if isinstance(item, dict) else {}
