"""A block of numbers in space (PS3.3 section C.7.6.2, Image Plane): what a series of slices becomes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import nibabel
    import numpy as np
    import SimpleITK
    from numpy.typing import NDArray

    from carina.dicom.planes import Mark
    from carina.interfaces.client.segmentation import Segmentation


@dataclass(frozen=True)
class Origin:
    """Where a volume comes from, so that a figure can be traced: the node's address, the dataset's IRI, the series.

    `node` and `dataset` are empty for a volume that was not made of an archive's series.
    """

    study: str
    series: str
    node: str = ""
    dataset: str = ""


@dataclass(frozen=True, eq=False)
class Volume:
    """A block of parallel, evenly spaced images of one size. All geometry is in this order: slices, rows, columns.

    array      (slices, rows, columns), float32: the stored values after the modality LUT or rescale, in `unit`
    spacing    mm between the centres of neighbours along each axis of `array`
    origin     mm, the centre of `array[0, 0, 0]` in the patient's system: x to the left, y to the back, z to the head
    direction  3 × 3, a row for each axis of `array`: the unit vector (x, y, z) in which its index grows
    unit       of the values, as the images name it (Rescale Type, or Units in PET), such as HU or BQML; SUV when that
               was asked for; empty when there is none, or for stored values
    modality   such as CT
    instances  SOP Instance UID of each slice; the same one again for slices that are frames of one object
    source     where it comes from
    key        of several volumes of one series: by what this one differs, as (("EchoTime", 4.6),)
    frame_of_reference  UID of the system of coordinates; positions of several volumes compare only within one
    frames     the number of each slice within its object, from 1

    The slices are in the order of their positions along the normal, which is the cross product of the direction of
    the columns' index and that of the rows' index; so the three directions are right-handed as (columns, rows, slices).
    """

    array: NDArray[np.float32] = field(repr=False)
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: NDArray[np.float64] = field(repr=False)
    unit: str
    modality: str
    instances: tuple[str, ...] = field(repr=False)
    source: Origin = field(repr=False)
    key: tuple[tuple[str, Mark], ...] = ()
    frame_of_reference: str = field(default="", repr=False)
    frames: tuple[int, ...] = field(default=(), repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of slices, rows, columns."""
        slices, rows, columns = self.array.shape
        return slices, rows, columns

    @property
    def affine(self) -> NDArray[np.float64]:
        """4 × 4, as NIfTI has it: from (column, row, slice, 1) to mm to the right, to the front, to the head (RAS)."""
        from carina.dicom.lattices import affine_of

        return affine_of(self.spacing, self.origin, self.direction)

    def position(self, slice_: float, row: float, column: float) -> tuple[float, float, float]:
        """Where an index lies in the patient: x, y, z in mm (left, back, head); fractions lie between voxels."""
        steps = [index * size for index, size in zip((slice_, row, column), self.spacing, strict=True)]
        x, y, z = (
            start + sum(step * float(axis[place]) for step, axis in zip(steps, self.direction, strict=True))
            for place, start in enumerate(self.origin)
        )
        return x, y, z

    def to_nifti(self, path: str | Path | None = None) -> nibabel.Nifti1Image:
        """A nibabel image with axes columns, rows, slices and `affine`; written to `path` too, if there is one."""
        from carina.interfaces.client.nifti import nifti_of

        return nifti_of(self.array, self.affine, f"Carina {self.unit}".strip(), path)

    def to_sitk(self) -> SimpleITK.Image:
        """A SimpleITK image: index (column, row, slice), origin and direction LPS."""
        from carina.interfaces.client.nifti import sitk_of

        return sitk_of(self.array, self.spacing, self.origin, self.direction)

    def save(self, path: str | Path) -> Path:
        """Write it as its suffix says, .nii or .nii.gz (nibabel), .nrrd or .mha (SimpleITK); the path that it has."""
        from carina.interfaces.client.nifti import save

        return save(self, Path(path))

    def show(self, segmentation: Segmentation | None = None) -> Any:
        """For a notebook: a NiiVue widget in three dimensions when `carina[notebook]` is installed, else the figure."""
        from carina.interfaces.client.show import shown

        return shown(self, segmentation)

    def _repr_html_(self) -> str:
        from carina.interfaces.client.figure import figure

        return figure(self)
