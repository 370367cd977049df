"""A volume in a notebook: in three dimensions where the widget is installed, else as a plain picture.

The widget gets the voxels with its own state, over the notebook's connection; nothing is fetched from elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from carina.interfaces.client.figure import COLOURS, figure, window_of

if TYPE_CHECKING:
    from nibabel import Nifti1Image

    from carina.interfaces.client.segmentation import Segmentation
    from carina.interfaces.client.volume import Volume

SHADE = 0.5  # opacity of segments


class Figure:
    """A picture that a notebook shows."""

    def __init__(self, html: str) -> None:
        self._html = html

    def _repr_html_(self) -> str:
        return self._html


def shown(volume: Volume, segmentation: Segmentation | None) -> Any:
    """An `ipyniivue.NiiVue`, or a `Figure`."""
    try:
        from ipyniivue import NiiVue
        from ipyniivue import Volume as Layer
    except ModuleNotFoundError:
        return Figure(figure(volume, segmentation))
    window = window_of(volume)
    half = window.width / 2
    layers = [
        Layer(
            name="volume.nii",
            data=_file(volume.to_nifti()),
            colormap="gray",
            cal_min=window.center - half,
            cal_max=window.center + half,
        )
    ]
    widget = NiiVue()
    if segmentation is not None:
        layers += _overlays(segmentation)
    widget.load_volumes(layers)
    for layer in layers[1:]:
        layer.set_colormap_label(_colours(segmentation))
    return widget


def _overlays(segmentation: Segmentation) -> list[Any]:
    """One layer of labels, or where segments overlap one for each."""
    from ipyniivue import Volume as Layer

    if not segmentation.overlapping:
        return [Layer(name="segments.nii", data=_file(segmentation.to_nifti()), opacity=SHADE)]
    return [
        Layer(name=f"segment{each.number}.nii", data=_file(segmentation.to_nifti(number=each.number)), opacity=SHADE)
        for each in segmentation.segments
    ]


def _colours(segmentation: Segmentation | None) -> dict[str, list[Any]]:
    """A table of colours by label, background transparent."""
    segments = segmentation.segments if segmentation is not None else ()
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(segments))]
    return {
        "R": [0, *(colour[0] for colour in colours)],
        "G": [0, *(colour[1] for colour in colours)],
        "B": [0, *(colour[2] for colour in colours)],
        "A": [0, *(255 for _ in colours)],
        "I": [0, *(segment.number for segment in segments)],
        "labels": ["", *(segment.label for segment in segments)],
    }


def _file(image: Nifti1Image) -> bytes:
    return bytes(image.to_bytes())
