"""What was marked on an image, voxel by voxel: a segmentation (SEG) or a structure set (RTSTRUCT)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carina.dicom.quiet import quiet
from carina.errors import InvalidInstance, NotFound
from carina.interfaces.client.archive import images_missing
from carina.interfaces.client.volume import Origin, Volume

if TYPE_CHECKING:
    import nibabel
    import numpy as np
    import SimpleITK
    from numpy.typing import NDArray
    from pydicom import Dataset

    from carina.dicom.lattices import Lattice
    from carina.dicom.segments import Pieces, Segment

HALF = 0.5  # of a voxel, from which on a fractional segment has it
UNNUMBERED = "A segment has a number below one, which no label can be."
OVERLAP = "Segments of this segmentation overlap, so that no one label holds for each voxel."


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Segments on a grid in the patient, that of the image they were made on unless they were asked for on their own.

    segments  what is marked, with number, label, coded type and algorithm; some may be empty
    lattice   the grid: shape, spacing, origin, direction as those of `Volume`
    source    where it comes from
    """

    segments: tuple[Segment, ...]
    lattice: Lattice = field(repr=False)
    source: Origin = field(repr=False)
    _pieces: Pieces = field(repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of slices, rows, columns."""
        return self.lattice.shape

    @property
    def affine(self) -> NDArray[np.float64]:
        """As that of `Volume`."""
        from carina.dicom.lattices import affine_of

        return affine_of(self.lattice.spacing, self.lattice.origin, self.lattice.direction)

    @cached_property
    def labels(self) -> NDArray[np.unsignedinteger[Any]]:
        """(slices, rows, columns): of each voxel the number of its segment, or 0; uint8 where that is enough.

        Raises `InvalidInstance` when segments overlap, or have numbers below one; `mask` gives each then. A fractional
        segment has the voxels that it fills by half or more.
        """
        import numpy as np

        if any(segment.number < 1 for segment in self.segments):
            raise InvalidInstance(UNNUMBERED, "Take each segment with `mask(number)`.")
        most = max((segment.number for segment in self.segments), default=0)
        labels: NDArray[Any] = np.zeros(self.shape, np.min_scalar_type(most))
        for number, pieces in self._pieces.items():
            for piece in pieces:
                part, marked = labels[piece.place], piece.share >= HALF
                before = part[marked]
                if ((before != 0) & (before != number)).any():
                    raise InvalidInstance(OVERLAP, "Take each segment with `mask(number)`.")
                part[marked] = number
        return labels

    @property
    def overlapping(self) -> bool:
        """Whether there are no `labels`: a voxel belongs to several segments, or a segment's number is below one."""
        try:
            return self.labels is None
        except InvalidInstance:
            return True

    def mask(self, number: int) -> NDArray[np.bool_]:
        """(slices, rows, columns): the voxels of a segment; of a fractional one those it fills by half or more."""
        import numpy as np

        mask = np.zeros(self.shape, bool)
        for piece in self._of(number):
            mask[piece.place] |= piece.share >= HALF
        return mask

    def fraction(self, number: int) -> NDArray[np.float32]:
        """(slices, rows, columns): how far each voxel belongs to a segment, or how probably, from 0 to 1."""
        import numpy as np

        share = np.zeros(self.shape, np.float32)
        for piece in self._of(number):
            np.maximum(share[piece.place], piece.share, out=share[piece.place])
        return share

    def to_nifti(self, path: str | Path | None = None, number: int | None = None) -> nibabel.Nifti1Image:
        """The labels, or one segment's mask, as a nibabel image; see `Volume.to_nifti`."""
        from carina.interfaces.client.nifti import nifti_of

        return nifti_of(self._numbers(number), self.affine, "Carina labels", path)

    def to_sitk(self, number: int | None = None) -> SimpleITK.Image:
        """The labels, or one segment's mask, as a SimpleITK image; see `Volume.to_sitk`."""
        from carina.interfaces.client.nifti import sitk_of

        grid = self.lattice
        return sitk_of(self._numbers(number), grid.spacing, grid.origin, grid.direction)

    def save(self, path: str | Path) -> Path:
        """Write the labels; see `Volume.save`."""
        from carina.interfaces.client.nifti import save

        return save(self, Path(path))

    def _numbers(self, number: int | None) -> NDArray[Any]:
        import numpy as np

        return self.labels if number is None else self.mask(number).astype(np.uint8)

    def _of(self, number: int) -> Sequence[Any]:
        if number not in {segment.number for segment in self.segments}:
            raise NotFound("The segmentation has no segment of this number.", "`segments` has their numbers.")
        return self._pieces.get(number, ())


def segmentation_of(dataset: Dataset, volume: Volume | None = None, *, node: str = "", iri: str = "") -> Segmentation:
    """A SEG or RTSTRUCT object on the grid of `volume`; without one on its own, which an RTSTRUCT does not have.

    Raises `InvalidInstance` when it is neither, or lies in other coordinates or between the voxels of the volume.
    `BadSettings` without numpy.
    """
    try:
        import numpy as np  # noqa: F401

        from carina.dicom.lattices import OWN, Lattice
        from carina.dicom.segments import frames_of_reference, pieces_of, segments_of
    except ModuleNotFoundError as error:
        raise images_missing(error) from None
    with quiet():
        lattice = None
        if volume is not None:
            systems = frames_of_reference(dataset)
            if systems and volume.frame_of_reference and volume.frame_of_reference not in systems:
                raise InvalidInstance("The segmentation and the volume are not in one frame of reference.", OWN)
            lattice = Lattice(volume.shape, volume.spacing, volume.origin, volume.direction)
        try:
            pieces, grid = pieces_of(dataset, lattice)
            segments = segments_of(dataset)
            _require_told(pieces, segments)
        except (AttributeError, TypeError, ValueError, KeyError, IndexError):
            raise InvalidInstance("The header of this segmentation lacks what its kind needs.") from None
    source = Origin(str(dataset.get("StudyInstanceUID") or ""), str(dataset.get("SeriesInstanceUID") or ""), node, iri)
    return Segmentation(segments, grid, source, pieces)


def _require_told(pieces: Pieces, segments: Sequence[Segment]) -> None:
    """Nothing is marked for a segment that the header does not describe, nor for two of one number."""
    numbers = [segment.number for segment in segments]
    if len(set(numbers)) < len(numbers):
        raise InvalidInstance("Two segments of this segmentation have the same number.")
    if set(pieces) - set(numbers):
        raise InvalidInstance("This segmentation marks voxels for a segment that its header does not describe.")
