"""A series as one block of numbers in space (PS3.3 section C.7.6.2, Image Plane)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from carina.dicom.quiet import quiet
from carina.errors import InvalidInstance
from carina.interfaces.client.archive import images_missing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom import Dataset

INSTEAD = "Take the datasets one by one with `datasets()`."
COSINES = 1e-3  # largest error of a direction cosine, and of their products
SHARE = 0.01  # of the spacing, by which a slice may lie beside its place
LEAST = 0.01  # mm, the same where that is more


@dataclass(frozen=True, eq=False)
class Volume:
    """A block of parallel, evenly spaced images of one size. All geometry is in this order: slices, rows, columns.

    array      (slices, rows, columns), float32: the stored values after the modality LUT or rescale, in `unit`
    spacing    mm between the centres of neighbours along each axis of `array`
    origin     mm, the centre of `array[0, 0, 0]` in the patient's system: x to the left, y to the back, z to the head
    direction  3 × 3, a row for each axis of `array`: the unit vector (x, y, z) in which its index grows
    unit       of the values, as the images name it (Rescale Type, or Units in PET), such as HU or BQML; or empty
    instances  SOP Instance UID of each slice

    The slices are in the order of their positions along the normal, which is the cross product of the direction of
    the columns' index and that of the rows' index; so the three directions are right-handed as (columns, rows, slices).
    """

    array: NDArray[np.float32] = field(repr=False)
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: NDArray[np.float64] = field(repr=False)
    unit: str
    instances: tuple[str, ...] = field(repr=False)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of slices, rows, columns."""
        slices, rows, columns = self.array.shape
        return slices, rows, columns

    def position(self, slice_: float, row: float, column: float) -> tuple[float, float, float]:
        """Where an index lies in the patient: x, y, z in mm (left, back, head); fractions lie between voxels."""
        steps = [index * size for index, size in zip((slice_, row, column), self.spacing, strict=True)]
        x, y, z = (
            start + sum(step * float(axis[place]) for step, axis in zip(steps, self.direction, strict=True))
            for place, start in enumerate(self.origin)
        )
        return x, y, z


def volume_of(datasets: Sequence[Dataset]) -> Volume:
    """The images of a series as a volume.

    Raises `InvalidInstance` that says why they make none: several frames in a file, colour, positions that are missing,
    doubled, uneven or shifted, images of different sizes, directions or units. `BadSettings` without numpy.
    """
    try:
        import numpy as np
        import pydicom  # noqa: F401  decodes the images
    except ModuleNotFoundError as error:
        raise images_missing(error) from None
    for dataset in datasets:
        _require_plain(dataset)
    if not datasets:
        raise _refused("The series has no images.")
    _require_alike(datasets)
    axes, normal = _axes(datasets[0])
    for dataset in datasets[1:]:
        if np.abs(_axes(dataset)[0] - axes).max() > COSINES:
            raise _refused("The images of this series look in different directions.")
    places = np.array([_numbers(dataset, "ImagePositionPatient", 3) for dataset in datasets])
    order = np.argsort(places @ normal, kind="stable")
    ordered, places = [datasets[place] for place in order], places[order]
    between, along = _numbers(ordered[0], "PixelSpacing", 2)
    if between <= 0 or along <= 0:
        raise _refused("The images of this series do not say how far their pixels are apart.")
    gap = _gap(ordered, places, normal)
    origin = [float(value) for value in places[0]]
    return Volume(
        array=np.stack([_values(dataset) for dataset in ordered]),
        spacing=(gap, between, along),
        origin=(origin[0], origin[1], origin[2]),
        direction=np.stack([normal, axes[1], axes[0]]),
        unit=str(ordered[0].get("RescaleType") or ordered[0].get("Units") or ""),
        instances=tuple(str(dataset.SOPInstanceUID) for dataset in ordered),
    )


def _require_plain(dataset: Dataset) -> None:
    """One frame of one number for each pixel."""
    if "PixelData" not in dataset and "FloatPixelData" not in dataset and "DoubleFloatPixelData" not in dataset:
        raise _refused("The series has objects without an image.")
    if str(dataset.get("NumberOfFrames") or 1).strip() != "1" or "PerFrameFunctionalGroupsSequence" in dataset:
        raise _refused("The series has images of several frames, whose places this does not read.")
    if dataset.get("SamplesPerPixel") != 1 or dataset.get("PhotometricInterpretation") not in (
        "MONOCHROME1",
        "MONOCHROME2",
    ):
        raise _refused("The series has images in colour.")


_ALIKE: tuple[tuple[str, str], ...] = (
    ("SeriesInstanceUID", "These images are of several series."),
    ("FrameOfReferenceUID", "The positions of these images are not in one frame of reference."),
    ("Rows", "The images of this series have different sizes."),
    ("Columns", "The images of this series have different sizes."),
    ("PixelSpacing", "The pixels of this series' images are not equally far apart."),
    ("RescaleType", "The values of this series' images have different units."),
    ("Units", "The values of this series' images have different units."),
    ("PhotometricInterpretation", "Some images of this series are inverted."),
)


def _require_alike(datasets: Sequence[Dataset]) -> None:
    for keyword, said in _ALIKE:
        if any(dataset.get(keyword) != datasets[0].get(keyword) for dataset in datasets[1:]):
            raise _refused(said)


def _axes(dataset: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The directions in which the columns' and the rows' index grow, and the normal; all of length 1."""
    import numpy as np

    axes = np.array(_numbers(dataset, "ImageOrientationPatient", 6)).reshape(2, 3)
    if np.abs(axes @ axes.T - np.eye(2)).max() > COSINES:
        raise _refused("The directions of an image's rows and columns are no right angle.")
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    normal = np.cross(axes[0], axes[1])
    return axes, normal / np.linalg.norm(normal)


def _numbers(dataset: Dataset, keyword: str, count: int) -> list[float]:
    """The attribute's values; a series without them is no volume."""
    try:
        values = [float(value) for value in dataset.get(keyword) or ()]
    except (TypeError, ValueError):
        values = []
    if len(values) != count or not all(abs(value) < 1e9 for value in values):  # NaN is not below
        raise _refused("The images of this series do not say where they lie in the patient.")
    return values


def _gap(ordered: Sequence[Dataset], places: NDArray[np.float64], normal: NDArray[np.float64]) -> float:
    """The distance of the slices, mm; of a single one its thickness."""
    import numpy as np

    if len(ordered) == 1:
        return _thickness(ordered[0])
    heights = places @ normal
    gap = float(heights[-1] - heights[0]) / (len(ordered) - 1)
    if np.diff(heights).min() < LEAST:
        raise _refused("Several images of this series lie at the same place, as those of several times or echoes do.")
    allowed = max(LEAST, SHARE * gap)
    if np.abs(np.diff(heights) - gap).max() > allowed:
        raise _refused("The slices of this series are not evenly spaced; one may be missing.")
    beside = places - places[0] - np.outer(heights - heights[0], normal)
    if np.abs(beside).max() > allowed:
        raise _refused("The slices of this series are shifted against each other, as those of a tilted gantry are.")
    return gap


def _thickness(dataset: Dataset) -> float:
    thickness: Any = dataset.get("SliceThickness")
    if thickness is None or not 0 < float(thickness) < 1e9:
        raise _refused("The only image of this series does not say how thick its slice is.")
    return float(thickness)


def _values(dataset: Dataset) -> NDArray[np.float32]:
    """The image's values after its modality LUT or rescale (PS3.3 section C.11.1)."""
    import numpy as np
    from pydicom.pixels.processing import apply_modality_lut

    try:
        with quiet():
            return np.asarray(apply_modality_lut(dataset.pixel_array, dataset), dtype=np.float32)
    except (RuntimeError, NotImplementedError, ValueError, TypeError, AttributeError, KeyError, IndexError):
        raise _refused("An image of this series cannot be decoded here.") from None


def _refused(said: str) -> InvalidInstance:
    return InvalidInstance(said, INSTEAD)
