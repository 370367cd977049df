"""From tissue to what a scanner measures: Hounsfield units, MR signal, SUV; with blur and noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from carina.sample.anatomy import Floats, Labels, Tissue

T = Tissue

_CT_PLAIN: dict[Tissue, float] = {
    T.AIR: -1000, T.FAT: -98, T.MUSCLE: 48, T.LUNG: -865, T.BONE: 620, T.MARROW: 210, T.BLOOD: 42, T.LIVER: 58,
    T.SPLEEN: 48, T.KIDNEY: 34, T.BOWEL: 22, T.GREY: 38, T.WHITE: 28, T.FLUID: 10, T.GLAND: 25, T.PROSTATE: 38,
    T.BLADDER: 5, T.VESSEL: 20, T.HEART: 44, T.OEDEMA: 18, T.NECROSIS: 14, T.LESION: 40, T.TABLE: -350,
}  # fmt: skip
CT: dict[str, dict[Tissue, float]] = {
    "plain": _CT_PLAIN,
    "venous": _CT_PLAIN
    | {T.BLOOD: 185, T.HEART: 165, T.VESSEL: 60, T.LIVER: 88, T.SPLEEN: 105, T.LESION: 72, T.MUSCLE: 56},
    "portal": _CT_PLAIN
    | {T.BLOOD: 160, T.LIVER: 112, T.SPLEEN: 124, T.KIDNEY: 178, T.LESION: 70, T.NECROSIS: 24, T.MUSCLE: 58},
}
"""Hounsfield units per tissue, by phase of the contrast medium."""

_T2: dict[Tissue, float] = {
    T.AIR: 4, T.FAT: 520, T.MUSCLE: 130, T.LUNG: 25, T.BONE: 35, T.MARROW: 330, T.BLOOD: 60, T.LIVER: 190,
    T.SPLEEN: 330, T.KIDNEY: 430, T.BOWEL: 340, T.GREY: 430, T.WHITE: 310, T.FLUID: 900, T.GLAND: 470,
    T.PROSTATE: 560, T.BLADDER: 980, T.VESSEL: 60, T.HEART: 150, T.OEDEMA: 640, T.NECROSIS: 800, T.LESION: 265,
    T.TABLE: 4,
}  # fmt: skip
_T1: dict[Tissue, float] = {
    T.AIR: 4, T.FAT: 620, T.MUSCLE: 260, T.LUNG: 30, T.BONE: 40, T.MARROW: 420, T.BLOOD: 300, T.LIVER: 350,
    T.SPLEEN: 280, T.KIDNEY: 290, T.BOWEL: 220, T.GREY: 290, T.WHITE: 375, T.FLUID: 95, T.GLAND: 250,
    T.PROSTATE: 270, T.BLADDER: 110, T.VESSEL: 300, T.HEART: 280, T.OEDEMA: 225, T.NECROSIS: 130, T.LESION: 640,
    T.TABLE: 4,
}  # fmt: skip
MR: dict[str, dict[Tissue, float]] = {
    "t1": _T1,
    "t1fs": _T1
    | {
        T.FAT: 110, T.MARROW: 90, T.BLOOD: 720, T.HEART: 620, T.LIVER: 480, T.SPLEEN: 520, T.KIDNEY: 680,
        T.LESION: 800, T.NECROSIS: 150, T.VESSEL: 640,
    },
    "t2": _T2,
    "flair": _T2 | {T.FLUID: 45, T.OEDEMA: 690, T.NECROSIS: 180, T.LESION: 560, T.FAT: 330, T.GREY: 385, T.WHITE: 300},
    "dwi": dict.fromkeys(T, 45.0)
    | {
        T.AIR: 4, T.LUNG: 6, T.BONE: 12, T.FAT: 25, T.LESION: 520, T.PROSTATE: 150, T.BLADDER: 30, T.SPLEEN: 230,
        T.BOWEL: 60, T.MUSCLE: 55, T.GLAND: 130,
    },
}  # fmt: skip
"""MR signal per tissue in arbitrary units, by weighting."""

SUV: dict[Tissue, float] = dict.fromkeys(T, 0.8) | {
    T.AIR: 0.0, T.LUNG: 0.45, T.FAT: 0.3, T.BONE: 0.7, T.MARROW: 1.2, T.BLOOD: 1.7, T.HEART: 2.1, T.LIVER: 2.3,
    T.SPLEEN: 1.9, T.KIDNEY: 4.0, T.BLADDER: 16.0, T.BOWEL: 1.2, T.LESION: 9.5, T.NECROSIS: 2.0, T.TABLE: 0.0,
}  # fmt: skip
"""FDG uptake per tissue as SUV by body weight, g/mL."""


def _values(labels: Labels, table: dict[Tissue, float]) -> Floats:
    lookup = np.zeros(len(Tissue), np.float32)
    for tissue, value in table.items():
        lookup[tissue] = value
    return lookup[labels]


def blur(image: Floats, times: int = 1) -> Floats:
    """A small bell (1, 2, 1) over rows and columns, `times` over. Rims run into the next row, which shows nowhere."""
    for _ in range(times):
        image = _bell(_bell(image, 1), image.shape[-1])
    return image


def _bell(image: Floats, step: int) -> Floats:
    flat = image.ravel()
    quarter = flat * np.float32(0.25)
    out = flat * np.float32(0.5)
    out[step:] += quarter[:-step]
    out[:-step] += quarter[step:]
    return out.reshape(image.shape)


def noise(chance: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """White noise of mean 0 and deviation 1."""
    return chance.standard_normal(shape, dtype=np.float32)


def grain(chance: np.random.Generator, shape: tuple[int, int, int], step: int) -> Floats:
    """Smooth mottle, mean 0 and deviation about 1, whose blobs are about `step` pixels wide."""
    coarse = noise(chance, (shape[0], -(-shape[1] // step), -(-shape[2] // step)))
    fine = np.repeat(np.repeat(coarse, step, -1), step, -2)[:, : shape[1], : shape[2]]
    return blur(fine, max(1, step // 2)) * np.float32(1.3)


def hounsfield(labels: Labels, phase: str, chance: np.random.Generator) -> NDArray[np.int16]:
    """CT numbers, in HU. Noise is heavier behind the spine and shoulders, and lungs are mottled."""
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    image = blur(_values(labels, CT[phase]))
    mottle = grain(chance, shape, 4)
    weight = np.zeros(len(Tissue), np.float32) + 5
    weight[[Tissue.AIR, Tissue.LUNG]] = (0, 27)
    image += weight[labels] * mottle
    gradient = 30 * np.linspace(-1, 1, shape[1], dtype=np.float32)[:, None]
    image += np.where(labels == Tissue.LUNG, gradient, np.float32(0))
    speckle = noise(chance, shape)
    image += 9 * (speckle + _bell(speckle, 1))
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16)


def signal(labels: Labels, weighting: str, chance: np.random.Generator) -> NDArray[np.uint16]:
    """MR magnitudes: coil shading, mottle within tissue, Rician noise."""
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    image = blur(_values(labels, MR[weighting]))
    line = np.linspace(-1, 1, shape[1], dtype=np.float32)
    tilt = chance.uniform(-0.12, 0.12, 2).astype(np.float32)
    shading = 1 + tilt[0] * line[:, None] + tilt[1] * line[None, :] + 0.10 * (line[:, None] ** 2 + line[None, :] ** 2)
    image *= shading * (1 + np.float32(0.045) * grain(chance, shape, 4))
    level = 14 if weighting == "dwi" else 11
    real, imaginary = image + level * noise(chance, shape), level * noise(chance, shape)
    magnitude: Floats = np.sqrt(real * real + imaginary * imaginary)
    return np.clip(magnitude, 0, 4095).astype(np.uint16)


def uptake(labels: Labels, chance: np.random.Generator) -> Floats:
    """SUV (g/mL) with the blur and the mottle of PET."""
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    image = blur(_values(labels, SUV), 5)
    image *= 1 + np.float32(0.10) * grain(chance, shape, 3)
    image += np.float32(0.06) * np.abs(grain(chance, shape, 2))
    return np.clip(image, 0, None)
