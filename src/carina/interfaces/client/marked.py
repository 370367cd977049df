"""A series of segmentations or structure sets of an archive, with the images that it was made on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carina.errors import BadInput, InvalidInstance, NotFound
from carina.interfaces.client.reading import volumes_of
from carina.interfaces.client.segmentation import Segmentation, segmentation_of
from carina.interfaces.client.volume import Volume

if TYPE_CHECKING:
    from pydicom import Dataset

    from carina.interfaces.client.archive import Series

KINDS = ("SEG", "RTSTRUCT")
OTHERWISE = "Give a volume with `segmentation(volume)`, or take a SEG in its own grid with `own_grid=True`."


def segmentation_in(series: Series, volume: Volume | None, own_grid: bool, instance: str | None) -> Segmentation:
    """See `Series.segmentation`."""
    if series.modality not in KINDS:
        raise InvalidInstance("This series is neither a segmentation nor a structure set.", "Take its `volume()`.")
    if volume is not None and own_grid:
        raise BadInput("A segmentation is either on a volume or on its own grid.", "Leave one of the two out.")
    dataset = _only(series, instance)
    if volume is None and not own_grid:
        volume = _image_of(series, dataset)
    return segmentation_of(dataset, volume, node=series.archive.url, iri=series.archive.dataset)


def _only(series: Series, instance: str | None) -> Dataset:
    """The one object of the series, or the one that was named."""
    if instance is None and series.size > 1:
        raise InvalidInstance(
            "This series has several segmentations.", "Name one: `segmentation(instance=series.instances[0].uid)`."
        )
    found = list(series.archive.retrieve(series.study, series.uid, instance))
    if len(found) != 1:
        raise NotFound("The node gave no such segmentation.")
    return found[0]


def _image_of(series: Series, dataset: Dataset) -> Volume:
    """The images that a segmentation was made on, as a volume: of several times the first."""
    from carina.dicom.segments import referenced_series

    named = referenced_series(dataset)
    for other in series.archive.series(series.study):
        if other.uid in named and other.modality not in KINDS:
            images = series.archive.retrieve(other.study, other.uid)
            return volumes_of(images, size=other.size, node=series.archive.url, dataset=series.archive.dataset)[0]
    raise NotFound("The images that this segmentation was made on are not in this dataset.", OTHERWISE)
