"""Windows that radiologists use for each kind of image, PS3.3 section C.11.2.1.2, and the whole range of one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A window by its name; `center` and `width` in units after the modality LUT (Hounsfield in CT)."""

    name: str
    label: str
    center: float
    width: float
    shape: str = "linear"

    @property
    def parameter(self) -> str:
        """As an address asks for it (PS3.18 section 8.3.5.1.4).

        >>> Preset("lung", "Lung", -600, 1500).parameter
        '-600,1500'
        """
        plain = f"{_plain(self.center)},{_plain(self.width)}"
        return plain if self.shape == "linear" else f"{plain},{self.shape}"


def _plain(value: float) -> str:
    """Without an exponent, to the twelfth decimal."""
    return f"{value:.12f}".rstrip("0").rstrip(".")


_SHADES = 50  # into which a window divides its width, at least, where values of one shade look alike

PRESETS: dict[str, tuple[Preset, ...]] = {
    "CT": (
        Preset("lung", "Lung", -600, 1500),
        Preset("mediastinum", "Mediastinum", 40, 400),
        Preset("abdomen", "Abdomen", 60, 400),
        Preset("liver", "Liver", 90, 150),
        Preset("bone", "Bone", 400, 1800),
        Preset("brain", "Brain", 40, 80),
    ),
}
"""By modality (0008,0060). Where values have no fixed unit, as in MR, there are none."""

USUAL: dict[tuple[str, str], str] = {
    ("CT", "ABDOMEN"): "abdomen",
    ("CT", "BRAIN"): "brain",
    ("CT", "CHEST"): "mediastinum",
    ("CT", "COLON"): "abdomen",
    ("CT", "HEAD"): "brain",
    ("CT", "KIDNEY"): "abdomen",
    ("CT", "LIVER"): "liver",
    ("CT", "LUNG"): "lung",
    ("CT", "PANCREAS"): "abdomen",
    ("CT", "PELVIS"): "abdomen",
    ("CT", "PROSTATE"): "abdomen",
    ("CT", "SPINE"): "bone",
}
"""The preset with which an image of this modality and body part is shown when its header names no window."""


def tells_apart(window: Preset, full: Preset) -> bool:
    """Whether a window has shades for the values of a range: it meets the range, and is not so wide that all is alike.

    >>> mediastinum = Preset("mediastinum", "", 40, 400)
    >>> tells_apart(mediastinum, whole_range(-1000, 3000)), tells_apart(mediastinum, whole_range(0, 1))
    (True, False)
    """
    apart = abs(window.center - full.center)
    return apart < (window.width + full.width) / 2 and full.width * _SHADES >= window.width


def whole_range(low: float, high: float) -> Preset:
    """The window in which `low` is black and `high` white.

    >>> whole_range(-1000, 3000).parameter
    '1000,4000,linear-exact'
    """
    return Preset("full", "Full range", (low + high) / 2, high - low or 1, "linear-exact")
