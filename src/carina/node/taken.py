"""What headers say of where and how frames were taken: read once for each content, some headers at a time.

Headers of enhanced images are long, and series may have thousands; so no more than a handful is in memory at once, and
of each only what is here remains.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from carina.dicom.geometry import Place, numbers_of, place_of
from carina.dicom.json import values_of
from carina.dicom.letters import letters_told
from carina.dicom.levels import tag_of
from carina.node.recent import Recent
from carina.node.retrieve import headers
from carina.node.site import Node
from carina.storage.database import from_text
from carina.storage.locate import Located

MOST_SLICES = 10_000  # of one series that are looked at
_AT_ONCE = 20  # headers in memory
_TRANSFORMATION = "00289145"  # Pixel Value Transformation Sequence


@dataclass(frozen=True, slots=True)
class Taken:
    """An instance's frames.

    places     of each frame, or None
    told       letters by Patient Orientation (0020,0020)
    rescale    slope and intercept, or None where they differ from frame to frame
    spacing    mm per row and column of a projection
    frame_of_reference  its UID, or ""
    """

    uid: str
    frames: int
    places: tuple[Place | None, ...]
    told: tuple[str, str, str, str]
    rescale: tuple[float, float] | None
    spacing: tuple[float, float] | None
    shape: tuple[int, int]
    frame_of_reference: str


_KEPT: Recent[Taken] = Recent(200_000, lambda one: 1 + one.frames)


def taken(node: Node, instances: Sequence[Located]) -> list[Taken]:
    """Of images, in the order given; those beyond `MOST_SLICES` frames in all are left out."""
    return list(_taken(node, _fitting(instances)))


def _fitting(instances: Sequence[Located]) -> Iterator[Located]:
    left = MOST_SLICES
    for one in instances:
        if left <= 0:
            return
        left -= one.frames
        yield one


def _taken(node: Node, instances: Iterator[Located]) -> Iterator[Taken]:
    while some := list(islice(instances, _AT_ONCE)):
        known = {one.uid: _KEPT.get((one.content, one.uid)) for one in some}
        missing = [one for one in some if known[one.uid] is None]
        texts = headers(node, missing) if missing else {}
        for one in some:
            found = known[one.uid]
            if found is None and one.uid in texts:
                found = _KEPT.keep((one.content, one.uid), read_taken(one, from_text(texts[one.uid])))
            if found is not None:
                yield found


def read_taken(instance: Located, header: dict[str, Any]) -> Taken:
    """What one header says."""
    count = min(instance.frames, MOST_SLICES)
    scales = {_rescale(header, frame) for frame in range(1, count + 1)}
    spacing = pair(header, "PixelSpacing") or pair(header, "ImagerPixelSpacing")
    return Taken(
        uid=instance.uid,
        frames=count,
        places=tuple(_places(header, count)),
        told=letters_told(list(values_of(header, tag_of("PatientOrientation")))),
        rescale=scales.pop() if len(scales) == 1 else None,
        spacing=spacing,
        shape=(whole(header, "Rows"), whole(header, "Columns")),
        frame_of_reference=str(next(iter(values_of(header, tag_of("FrameOfReferenceUID"))), "")),
    )


def pair(header: dict[str, Any], keyword: str) -> tuple[float, float] | None:
    """Two numbers above zero."""
    found = numbers_of(header, 1, "", tag_of(keyword), 2)
    return (found[0], found[1]) if found and min(found) > 0 else None


def whole(header: dict[str, Any], keyword: str) -> int:
    """A whole number, or 0."""
    value = next(iter(values_of(header, tag_of(keyword))), 0)
    return value if isinstance(value, int) else 0


def _places(header: dict[str, Any], count: int) -> Iterator[Place | None]:
    """Of each frame; several frames without functional groups do not say where each lies."""
    grouped = "52009230" in header
    if count > 1 and not grouped:
        yield from (None for _ in range(count))
        return
    for frame in range(1, count + 1):
        yield place_of(header, frame)


def _rescale(header: dict[str, Any], frame: int) -> tuple[float, float]:
    slope = numbers_of(header, frame, _TRANSFORMATION, "00281053", 1)
    intercept = numbers_of(header, frame, _TRANSFORMATION, "00281052", 1)
    return (slope[0] if slope else 1.0, intercept[0] if intercept else 0.0)
