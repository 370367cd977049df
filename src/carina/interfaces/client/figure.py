"""A volume as a plain picture: its three middle planes, in their true proportions, with the letters of directions."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from io import BytesIO
from math import ceil
from typing import TYPE_CHECKING, Any

from carina.dicom.windows import PRESETS, Preset, whole_range
from carina.interfaces.client.nifti import missing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from carina.interfaces.client.segmentation import Segmentation
    from carina.interfaces.client.volume import Volume

SIDE = 240  # pixels of the longest side of a plane
EDGE = 20  # pixels around a plane, for its letters
NAMES = (("sagittal", "R", "L"), ("coronal", "A", "P"), ("axial", "F", "H"))
COLOURS = ((240, 120, 90), (90, 170, 240), (120, 200, 110), (230, 190, 70), (190, 130, 230), (80, 200, 200))
_SHADE = 0.45  # of a segment's colour over the image
_CUTS = ((0, 1, 2), (1, 0, 2), (2, 0, 1))  # the axis that is cut, then those that are drawn down and across


def figure(volume: Volume, segmentation: Segmentation | None = None) -> str:
    """HTML with the picture embedded, its words beside it. Nothing in it is fetched."""
    window = window_of(volume)
    data = BytesIO()
    picture(volume, segmentation, window).save(data, "PNG")
    source = b64encode(data.getvalue()).decode()
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in legend(volume, window))
    segments = "" if segmentation is None else _key(segmentation)
    alt = f"Three middle planes of a volume: {', '.join(_cut_name(volume, cut) for cut in _CUTS)}."
    return (
        f'<figure><img src="data:image/png;base64,{source}" alt="{escape(alt)}">'
        f"<figcaption>{segments}<table>{rows}</table></figcaption></figure>"
    )


def legend(volume: Volume, window: Preset) -> list[tuple[str, str]]:
    """What stands beside the picture: name and text."""
    rows = [
        ("Slices × rows × columns", " × ".join(str(count) for count in volume.shape)),
        ("Spacing, mm", " × ".join(f"{step:.4g}" for step in volume.spacing)),
        ("Values", f"{volume.modality} {volume.unit or 'without a unit'}".strip()),
        ("Window", f"{window.center - window.width / 2:.4g} to {window.center + window.width / 2:.4g}"),
    ]
    rows += [(keyword, str(value)) for keyword, value in volume.key]
    source = volume.source
    named = (("Dataset", source.dataset), ("Node", source.node), ("Study", source.study), ("Series", source.series))
    return rows + [(name, text) for name, text in named if text]


def window_of(volume: Volume) -> Preset:
    """Hounsfield units by the usual soft-tissue window, SUV from 0 to 10, others without their outermost percents."""
    import numpy as np

    if volume.unit == "HU":
        return next(preset for preset in PRESETS["CT"] if preset.name == "mediastinum")
    if volume.unit == "SUV":
        return whole_range(0, 10)
    step = max(1, ceil(volume.array.size / 1_000_000))
    sample = volume.array.reshape(-1)[::step] if volume.array.flags.c_contiguous else volume.array
    known = sample[np.isfinite(sample)]
    low, high = np.percentile(known, (1, 99.5)) if known.size else (0, 1)
    return whole_range(float(low), float(high))


def picture(volume: Volume, segmentation: Segmentation | None = None, window: Preset | None = None) -> Image:
    """The three planes side by side."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise missing(error, "images") from None
    parts = [_part(volume, segmentation, window or window_of(volume), cut) for cut in _CUTS]
    whole = Image.new("RGB", (sum(part.width for part in parts), max(part.height for part in parts)))
    left = 0
    for part in parts:
        whole.paste(part, (left, (whole.height - part.height) // 2))
        left += part.width
    return whole


def letters(volume: Volume, cut: tuple[int, int, int]) -> tuple[str, str, str, str]:
    """The letters at top, right, bottom and left of a plane as it is drawn: R L A P H F, or several when oblique."""
    down, across = (
        _word(volume.direction[axis] * sign) for axis, sign in zip(cut[1:], _signs(volume, cut), strict=True)
    )
    up, back = (_opposite(word) for word in (down, across))
    return up, across, down, back


def _part(volume: Volume, segmentation: Segmentation | None, window: Preset, cut: tuple[int, int, int]) -> Image:
    """A plane with a margin that holds its letters."""
    from PIL import Image, ImageDraw

    plane = _coloured(volume, segmentation, window, cut)
    heights = [volume.array.shape[axis] * volume.spacing[axis] for axis in cut[1:]]
    scale = SIDE / max(heights)
    height, width = (max(1, round(length * scale)) for length in heights)
    drawn = Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR)
    part = Image.new("RGB", (width + 2 * EDGE, height + 2 * EDGE))
    part.paste(drawn, (EDGE, EDGE))
    pen, middle = ImageDraw.Draw(part), (part.width / 2, part.height / 2)
    top, right, bottom, left = letters(volume, cut)
    for text, place in (
        (top, (middle[0], EDGE / 2)),
        (right, (part.width - EDGE / 2, middle[1])),
        (bottom, (middle[0], part.height - EDGE / 2)),
        (left, (EDGE / 2, middle[1])),
    ):
        pen.text(place, text, fill=(230, 230, 230), anchor="mm")
    return part


def _coloured(
    volume: Volume, segmentation: Segmentation | None, window: Preset, cut: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """The middle plane, upright, as RGB."""
    import numpy as np

    values = _upright(volume, volume.array, cut)
    share = (np.nan_to_num(values.astype(np.float64)) - (window.center - window.width / 2)) / window.width
    grey = np.repeat((np.clip(share, 0, 1) * 255)[..., None], 3, axis=2)
    for number, segment in enumerate(segmentation.segments if segmentation is not None else ()):
        assert segmentation is not None
        mask = _upright(volume, segmentation.mask(segment.number), cut)
        colour = np.array(COLOURS[number % len(COLOURS)])
        grey[mask] = (1 - _SHADE) * grey[mask] + _SHADE * colour
    return grey.astype(np.uint8)


def _upright(volume: Volume, array: NDArray[Any], cut: tuple[int, int, int]) -> NDArray[Any]:
    """The middle plane across the first axis of `cut`, as it is drawn."""
    import numpy as np

    plane = np.take(array, array.shape[cut[0]] // 2, axis=cut[0])
    return np.asarray(plane[tuple(slice(None, None, sign) for sign in _signs(volume, cut))])


def _signs(volume: Volume, cut: tuple[int, int, int]) -> tuple[int, int]:
    """1 or −1 for each drawn axis, so that down is to the feet or the back, and across to the left or the back."""
    import numpy as np

    found = []
    for axis, wanted in zip(cut[1:], ((0, 1, -1), (1, 1, -1)), strict=True):
        main = int(np.argmax(np.abs(volume.direction[axis])))
        sign = np.sign(volume.direction[axis][main]) * (wanted[main] or 1)
        found.append(1 if sign >= 0 else -1)
    return found[0], found[1]


def _word(vector: NDArray[np.float64]) -> str:
    """The directions that a vector has a part in, the largest first (PS3.3 section C.7.6.1.1.1)."""
    pairs = zip(vector, (("L", "R"), ("P", "A"), ("H", "F")), strict=True)
    parts = sorted(((abs(part), names[0] if part > 0 else names[1]) for part, names in pairs), reverse=True)
    return "".join(name for size, name in parts if size > 0.2)


def _opposite(word: str) -> str:
    return word.translate(str.maketrans("LRPAHF", "RLAPFH"))


def _cut_name(volume: Volume, cut: tuple[int, int, int]) -> str:
    import numpy as np

    vector = np.abs(volume.direction[cut[0]])
    return NAMES[int(np.argmax(vector))][0] if vector.max() > 0.9 else "oblique"


def _key(segmentation: Segmentation) -> str:
    """The segments by their colours."""
    items = "".join(
        f'<li><span style="color:rgb{COLOURS[number % len(COLOURS)]}">■</span> {escape(segment.label)}</li>'
        for number, segment in enumerate(segmentation.segments)
    )
    return f'<ul style="list-style:none;padding:0">{items}</ul>'
