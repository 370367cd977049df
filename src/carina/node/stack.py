"""The frames of a series in their order in space, and what is to be said of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from carina.dicom.geometry import PARALLEL, Place, Position, order_of
from carina.dicom.letters import NONE, Letters, letters_of
from carina.node.documents import is_video
from carina.node.recent import Recent
from carina.node.retrieve import with_pixels
from carina.node.site import Node
from carina.node.taken import MOST_SLICES, Taken, taken
from carina.storage.locate import Located

NO_PLACE = "The images do not say where they lie in the patient; they are in the order of their numbers."
SOME_PLACES = "Some images do not say where they lie in the patient; these come last."
MIXED = "The images look in different directions; those of one direction follow each other."
GAP = "The slices are not evenly spaced; one may be missing."
SAME_PLACE = "Several images lie at the same place, as those of several times or echoes do."
PART = f"The series is long: only its first {MOST_SLICES} images are shown."
SIZES = "The images of this series have different sizes."
_SAME = 0.01  # mm
_UNEVEN = 0.1  # of the usual distance, by which another may differ


@dataclass(frozen=True)
class Slice:
    """One frame of one instance, and where it lies."""

    uid: str
    frame: int
    position: Position | None


@dataclass(frozen=True)
class Stack:
    """Slices in order. `gap`: mm between them, usually; `alike`: whether stored values mean the same in all.

    system  UID of the frame of reference, "" when there is none or several
    """

    slices: tuple[Slice, ...]
    plane: str = ""
    letters: tuple[Letters, ...] = ()
    spacing: tuple[float, float] | None = None
    gap: float | None = None
    alike: bool = False
    system: str = ""
    notes: tuple[str, ...] = ()

    @property
    def aspect(self) -> float:
        """Of a pixel, height by width; 1 where that is not known, or cannot be."""
        aspect = self.spacing[0] / self.spacing[1] if self.spacing else 1.0
        return aspect if 0.01 <= aspect <= 100 else 1.0


@dataclass(frozen=True)
class _Frame:
    of: Taken
    frame: int
    place: Place | None
    position: Position | None


_KEPT: Recent[Stack] = Recent(400_000, lambda one: 1 + len(one.slices))


def stacked(node: Node, instances: Sequence[Located]) -> Stack:
    """All frames of these, as far as `MOST_SLICES` goes; put in order once for the same contents. Documents and films
    have none.
    """
    return _KEPT.of(tuple(one.content for one in instances), lambda: _stacked(node, instances))


def _stacked(node: Node, instances: Sequence[Located]) -> Stack:
    pictures = [one for one in instances if one.frames and not is_video(one.transfer_syntax_uid)]
    images = with_pixels(node, pictures)
    return stack_of(taken(node, images), sum(one.frames for one in images))


def stack_of(images: Sequence[Taken], total: int) -> Stack:
    """By position along the normal; each direction by itself, and last what does not say where it lies."""
    frames = [
        _Frame(one, number, place, place.position if place else None)
        for one in images
        for number, place in enumerate(one.places, 1)
    ][:MOST_SLICES]
    if not frames:
        return Stack(())
    groups = _groups(frames)
    placed = [group for group in groups if group[0].position is not None]
    ordered, notes, gaps = [], [], []
    for group in groups:
        order, _ = order_of([one.position for one in group])
        ordered += [group[number] for number in order]
        steps = _steps([group[number] for number in order])
        apart = [step for step in steps if step > _SAME]
        if len(apart) < len(steps):
            notes.append(SAME_PLACE)
        if apart:
            gaps.append(median(apart))
            if any(abs(step - gaps[-1]) > max(_UNEVEN * gaps[-1], 2 * _SAME) for step in apart):
                notes.append(GAP)
    plane = order_of([one.position for one in placed[0]])[1] if len(placed) == 1 and len(groups) == 1 else ""
    several = len(frames) > 1
    notes += [MIXED] if len(placed) > 1 else []
    notes += [NO_PLACE] if not placed and several else [SOME_PLACES] if placed and len(placed) < len(groups) else []
    notes += [PART] if total > len(frames) else []
    notes += [SIZES] if len({one.shape for one in images}) > 1 else []
    return _stack(ordered, images, plane, min(gaps, default=None), tuple(dict.fromkeys(notes)))


def _stack(
    ordered: Sequence[_Frame], images: Sequence[Taken], plane: str, gap: float | None, notes: tuple[str, ...]
) -> Stack:
    letters = [letters_of(one.place.axes) if one.place else one.of.told for one in ordered]
    spacings = {one.place.spacing if one.place else one.of.spacing for one in ordered}
    systems = {one.frame_of_reference for one in images}
    rescales = {one.rescale for one in images}
    return Stack(
        slices=tuple(Slice(one.of.uid, one.frame, one.position) for one in ordered),
        plane=plane,
        letters=() if set(letters) == {NONE} else (letters[0],) if len(set(letters)) == 1 else tuple(letters),
        spacing=spacings.pop() if len(spacings) == 1 else None,
        gap=gap,
        alike=len(rescales) == 1 and None not in rescales and len({one.shape for one in images}) == 1,
        system=systems.pop() if len(systems) == 1 else "",
        notes=notes,
    )


def _groups(frames: Sequence[_Frame]) -> list[list[_Frame]]:
    """By direction, in the order in which each comes first; last those without a place."""
    groups: list[list[_Frame]] = []
    normals = np.empty((len(frames), 3))  # of each group; there may be as many as frames
    lost = []
    for one in frames:
        if one.position is None:
            lost.append(one)
            continue
        near = np.flatnonzero(normals[: len(groups)] @ one.position.normal >= PARALLEL)
        if near.size:
            groups[near[0]].append(one)
        else:
            normals[len(groups)] = one.position.normal
            groups.append([one])
    return [*groups, lost] if lost else groups


def _steps(ordered: Sequence[_Frame]) -> list[float]:
    heights = [one.position.distance for one in ordered if one.position is not None]
    return [after - before for before, after in itertools.pairwise(heights)]
