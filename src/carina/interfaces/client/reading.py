"""The images of a series, one after the other, as volumes: each is decoded into its place and let go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

from carina.dicom.quiet import quiet
from carina.errors import BadInput, InvalidInstance, NotFound
from carina.interfaces.client.archive import images_missing
from carina.interfaces.client.volume import Origin, Volume

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom import Dataset

    from carina.dicom.planes import Plane
    from carina.dicom.stacks import Group

Units = Literal["SUV", "stored"]
INSTEAD = "Take the datasets one by one with `datasets()`."


def volume_of(
    datasets: Iterable[Dataset], units: Units | None = None, *, size: int = 0, node: str = "", dataset: str = ""
) -> Volume:
    """The images of a series as a volume.

    units          `SUV` (PET, by body weight), `stored` (before the rescale), or those of the images
    size           how many images are expected; room for so many is made at once
    node, dataset  where they come from, for `Volume.source`

    Raises `InvalidInstance` that says why they make none: colour, places that are missing, doubled, uneven or shifted,
    images of different sizes, directions or units. `BadSettings` without numpy.
    """
    block = _gather(datasets, units, size)
    from carina.dicom.stacks import Group

    whole = Group(tuple(range(len(block.planes))))
    return _volumes(block, [whole], node, dataset)[0]


def volumes_of(
    datasets: Iterable[Dataset], units: Units | None = None, *, size: int = 0, node: str = "", dataset: str = ""
) -> list[Volume]:
    """As `volume_of`, one for each time, echo or b-value that the headers tell apart, in the order of their keys."""
    block = _gather(datasets, units, size)
    from carina.dicom.stacks import apart

    return _volumes(block, apart(block.planes), node, dataset)


def _gather(datasets: Iterable[Dataset], units: Units | None, size: int) -> _Block:
    try:
        import numpy as np  # noqa: F401
        import pydicom  # noqa: F401  decodes the images
    except ModuleNotFoundError as error:
        raise images_missing(error) from None
    if units is not None and units not in get_args(Units):
        raise BadInput("There are no such units.", 'Ask for "SUV", for "stored", or leave `units` out.')
    block = _Block(units, size)
    for dataset in datasets:
        with quiet():
            _take(block, dataset)
    if not block.planes:
        raise _refused("The series has no images.")
    return block


def _take(block: _Block, dataset: Dataset) -> None:
    try:
        block.add(dataset)
    except MemoryError:
        raise _refused("This series is larger than the memory of this machine.") from None
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, NotImplementedError):
        raise _refused("The header of an image of this series cannot be read.") from None


class _Block:
    """Frames in the order of their arrival; `array` has room for more than have come."""

    def __init__(self, units: Units | None, size: int) -> None:
        self.units = units
        self.size = size
        self.first: Dataset | None = None
        self.planes: list[Plane] = []
        self.array: NDArray[np.float32] | None = None

    def add(self, dataset: Dataset) -> None:
        """Decode each frame of an image into its place."""
        from carina.dicom.planes import planes_of
        from carina.dicom.suv import suv_factor

        _require_values(dataset)
        header = _header(dataset)
        if self.first is not None:
            _require_alike(self.first, header)
        self.first = self.first or header
        planes = planes_of(dataset)
        factor = suv_factor(dataset) if self.units == "SUV" else 1.0
        room = self._room(len(planes), dataset)
        for place, plane in enumerate(planes, start=len(self.planes)):
            room[place] = _values(dataset, plane, self.units, factor)
        self.planes += planes

    def _room(self, more: int, dataset: Dataset) -> NDArray[np.float32]:
        """The array, with room for `more` frames."""
        import numpy as np

        wanted, rows, columns = len(self.planes) + more, int(dataset.Rows), int(dataset.Columns)
        if self.array is None:
            self.array = np.empty((max(wanted, self.size if more == 1 else 0), rows, columns), np.float32)
        elif len(self.array) < wanted:
            larger = np.empty((max(wanted, len(self.array) * 3 // 2), rows, columns), np.float32)
            larger[: len(self.planes)] = self.array[: len(self.planes)]
            self.array = larger
        return self.array


def _volumes(block: _Block, groups: Sequence[Group], node: str, dataset: str) -> list[Volume]:
    """The frames brought into order within their array; volumes are parts of it."""
    from carina.dicom.stacks import stack_of

    first, array = block.first, block.array
    assert first is not None and array is not None
    stacks = [stack_of([block.planes[member] for member in group.members]) for group in groups]
    order = [group.members[place] for group, stack in zip(groups, stacks, strict=True) for place in stack.order]
    _arrange(array, order)
    source = Origin(str(first.get("StudyInstanceUID") or ""), str(first.get("SeriesInstanceUID") or ""), node, dataset)
    found, start = [], 0
    for group, stack in zip(groups, stacks, strict=True):
        planes = [block.planes[group.members[place]] for place in stack.order]
        found.append(
            Volume(
                array=array[start : start + len(planes)],
                spacing=stack.spacing,
                origin=stack.origin,
                direction=stack.direction,
                unit={"SUV": "SUV", "stored": ""}.get(block.units or "", planes[0].unit),
                modality=str(first.get("Modality") or ""),
                instances=tuple(plane.instance for plane in planes),
                source=source,
                key=group.key,
                frame_of_reference=str(first.get("FrameOfReferenceUID") or ""),
                frames=tuple(plane.frame for plane in planes),
            )
        )
        start += len(planes)
    return found


def _arrange(array: NDArray[np.float32], order: Sequence[int]) -> None:
    """`array[:] = array[order]`, with room for one more slice only: a cycle of the permutation after the other."""
    done = [False] * len(order)
    for start in range(len(order)):
        if done[start] or order[start] == start:
            continue
        kept, place = array[start].copy(), start
        while order[place] != start:
            array[place] = array[order[place]]
            done[place] = True
            place = order[place]
        array[place] = kept
        done[place] = True


_HEADER = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "Rows",
    "Columns",
    "PhotometricInterpretation",
)
_ALIKE: tuple[tuple[str, str], ...] = (
    ("SeriesInstanceUID", "These images are of several series."),
    ("FrameOfReferenceUID", "The positions of these images are not in one frame of reference."),
    ("Rows", "The images of this series have different sizes."),
    ("Columns", "The images of this series have different sizes."),
    ("PhotometricInterpretation", "Some images of this series are inverted."),
)


def _header(dataset: Dataset) -> Dataset:
    """What of an image is needed after it was let go."""
    from pydicom import Dataset

    header = Dataset()
    for keyword in _HEADER:
        if keyword in dataset:
            header[keyword] = dataset[keyword]
    return header


def _require_alike(first: Dataset, dataset: Dataset) -> None:
    for keyword, said in _ALIKE:
        if dataset.get(keyword) != first.get(keyword):
            raise _refused(said)


def _require_values(dataset: Dataset) -> None:
    """One number for each pixel."""
    if not any(keyword in dataset for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise _refused("The series has objects without an image.")
    if str(dataset.get("Modality") or "") == "SEG":
        raise InvalidInstance("This is a segmentation and no image.", "Take it with `segmentation()`.")
    if dataset.get("SamplesPerPixel", 1) != 1 or dataset.get("PhotometricInterpretation") not in (
        "MONOCHROME1",
        "MONOCHROME2",
    ):
        raise _refused("The series has images in colour.")
    if "MOSAIC" in (dataset.get("ImageType") or ()):
        raise _refused("The images of this series are mosaics: each holds many slices side by side.")


def _values(dataset: Dataset, plane: Plane, units: Units | None, factor: float) -> NDArray[Any]:
    """A frame's values after its modality LUT or rescale (PS3.3 section C.11.1), times `factor`."""
    import numpy as np
    from pydicom.pixels.processing import apply_modality_lut

    from carina.dicom.frames import decoded

    try:
        stored = decoded(dataset, plane.frame)
        if units == "stored":
            return stored
        if dataset.get("ModalityLUTSequence"):
            return np.asarray(apply_modality_lut(stored, dataset)) * factor
        if plane.slope * factor == 1 and not plane.intercept:
            return stored
        return (stored.astype(np.float64) * plane.slope + plane.intercept) * factor
    except (InvalidInstance, NotFound, ValueError, TypeError, AttributeError, KeyError, IndexError):
        raise _refused("An image of this series cannot be decoded here.") from None


def _refused(said: str) -> InvalidInstance:
    return InvalidInstance(said, INSTEAD)
