"""Bodies, painted region by region, each with the lesion of its disease.

All of a patient's draws come from `Body.seed`, in the same order at every study: so the body stays and only the lesion
changes. See `anatomy` for axes and units.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from carina.sample.anatomy import ENDLESS, Body, Canvas, Floats, Labels, Point, Tissue, blob, canvas


def _pair(on: Canvas, tissue: Tissue, centre: Point, radii: Point, turn: float = 0.0, *, rough: float = 0.0) -> None:
    """The same on the right and the left."""
    blob(on, tissue, (-centre[0], centre[1], centre[2]), radii, -turn, rough=rough)
    blob(on, tissue, centre, radii, turn, rough=rough)


def _spine(on: Canvas, y: float, scale: float = 1.0) -> None:
    blob(on, Tissue.BONE, (0, y + 0.17 * scale, 0), (0.19 * scale, 0.035 * scale, ENDLESS))
    _pair(on, Tissue.BONE, (0.07 * scale, y + 0.12 * scale, 0), (0.03 * scale, 0.07 * scale, ENDLESS))
    blob(on, Tissue.BONE, (0, y + 0.25 * scale, 0), (0.025 * scale, 0.10 * scale, ENDLESS))
    blob(on, Tissue.BONE, (0, y, 0), (0.125 * scale, 0.10 * scale, ENDLESS))
    blob(on, Tissue.MARROW, (0, y, 0), (0.108 * scale, 0.083 * scale, ENDLESS))
    blob(on, Tissue.FLUID, (0, y + 0.135 * scale, 0), (0.05 * scale, 0.042 * scale, ENDLESS))


def _ribs(on: Canvas, width: float, depth: float, y: float, above: float = -1.0) -> None:
    """Ribs run down and forward, so that a slice cuts each of them short: arcs of a ring that turn with height."""
    x, down = on.x / np.float32(width), (on.y - np.float32(y)) / np.float32(depth)
    radius = x * x + down * down
    ring = np.nonzero((radius > 0.94) & (radius < 1.09) & (on.z > above)[:, None, None])
    wave = np.sin(9 * np.arctan2(np.abs(x[ring]), -down[ring]) + 9 * on.z[ring[0]])
    inner = (radius[ring] > 0.98) & (radius[ring] < 1.05) & (wave > 0.05)
    old = on.labels[ring]
    on.labels[ring] = np.where(inner, Tissue.MARROW, np.where(wave > -0.25, Tissue.BONE, old))


def _trunk(on: Canvas, width: float, depth: float, fat: float, y: float = 0.03) -> None:
    blob(on, Tissue.FAT, (0, y, 0), (width, depth, ENDLESS))
    blob(on, Tissue.MUSCLE, (0, y + 0.01, 0), (width - fat, depth - fat, ENDLESS))


def _table(on: Canvas) -> None:
    size = on.labels.shape[1]
    line = np.linspace(-1, 1, size)
    curve = 0.90 - 0.16 * line**2
    height = np.linspace(-1, 1, size)[:, None]
    shell = (np.abs(height - curve) < 0.012) & (np.abs(line) < 0.75)
    on.labels[:, shell] = np.where(on.labels[:, shell] == Tissue.AIR, Tissue.TABLE, on.labels[:, shell])


def _lesion_level(on: Canvas, wanted: float) -> tuple[float, float]:
    """The height of the slice nearest to `wanted`, and a radius in z that reaches it and mostly its neighbours."""
    step = 1.8 / max(1, len(on.z) - 1)
    return float(on.z[np.argmin(np.abs(on.z - wanted))]), 1.2 * step


def chest(on: Canvas, body: Body) -> None:
    """From the dome of the liver to the apices, with a mass in one lung and now and then a node beside the trachea."""
    fat = 0.05 + 0.02 * body.female
    if body.female:
        _pair(on, Tissue.FAT, (0.40, -0.53, -0.15), (0.29, 0.17, 0.5))
        _pair(on, Tissue.GLAND, (0.41, -0.60, -0.15), (0.13, 0.06, 0.3))
    _trunk(on, 0.90, 0.62, fat)
    _pair(on, Tissue.FAT, (0.60, 0.34, 0.5), (0.14, 0.10, 0.7), 0.6)
    _pair(on, Tissue.BONE, (0.62, 0.37, 0.7), (0.17, 0.025, 0.6), -0.9)
    _ribs(on, 0.755, 0.50, 0.03)
    blob(on, Tissue.FAT, (0, 0.02, 0), (0.20, 0.45, ENDLESS))
    _pair(on, Tissue.LUNG, (0.40, 0.04, -0.05), (0.325, 0.435, 1.35), -0.12)
    blob(on, Tissue.FAT, (0, -0.06, 0.1), (0.13, 0.36, ENDLESS))
    blob(on, Tissue.BONE, (0, -0.45, 0.1), (0.09, 0.025, 0.8))
    _spine(on, 0.29)
    blob(on, Tissue.MUSCLE, (0.12, -0.14, -0.5), (0.35, 0.27, 0.58), 0.35)
    blob(on, Tissue.HEART, (0.12, -0.14, -0.5), (0.33, 0.25, 0.55), 0.35)
    blob(on, Tissue.MUSCLE, (0.16, -0.12, -0.55), (0.05, 0.22, 0.4), 0.9)
    blob(on, Tissue.BLOOD, (-0.03, -0.16, 0.15), (0.085, 0.085, 0.33))
    blob(on, Tissue.BLOOD, (0.06, -0.08, 0.12), (0.20, 0.055, 0.17), 0.3)
    blob(on, Tissue.BLOOD, (0.05, 0.0, 0.5), (0.07, 0.20, 0.13), -0.4)
    blob(on, Tissue.BLOOD, (0.12, 0.19, -0.3), (0.062, 0.062, 0.85))
    _pair(on, Tissue.BLOOD, (0.09, -0.12, 0.75), (0.045, 0.045, 0.28))
    blob(on, Tissue.BLOOD, (-0.12, -0.08, 0.4), (0.05, 0.05, 0.5))
    blob(on, Tissue.AIR, (0, 0.05, 0.6), (0.052, 0.058, 0.45))
    _pair(on, Tissue.AIR, (0.085, 0.07, 0.1), (0.036, 0.036, 0.14))
    blob(on, Tissue.MUSCLE, (0.02, 0.155, 0), (0.03, 0.025, ENDLESS))
    blob(on, Tissue.LIVER, (-0.36, 0.0, -1.15), (0.37, 0.44, 0.62))
    blob(on, Tissue.SPLEEN, (0.42, 0.20, -1.2), (0.26, 0.25, 0.5))
    _vessels(on)
    side = -1.0 if on.chance.random() < 0.6 else 1.0
    level, tall = _lesion_level(on, float(on.chance.uniform(-0.15, 0.55)))
    size = float(on.chance.uniform(0.075, 0.15)) * body.lesion
    where = (side * float(on.chance.uniform(0.34, 0.5)), float(on.chance.uniform(-0.15, 0.22)), level)
    blob(on, Tissue.LESION, where, (size, size * 0.85, tall), rough=0.22)
    if on.chance.random() < 0.4:
        node = 0.05 * body.lesion
        blob(on, Tissue.LESION, (side * 0.09, 0.0, _lesion_level(on, 0.4)[0]), (node, node * 1.2, tall))
    _table(on)


def _vessels(on: Canvas) -> None:
    """Branches that grow thin from the hilum outward."""
    for _ in range(70):
        side = -1 if on.chance.random() < 0.5 else 1
        away, angle = float(on.chance.uniform(0.05, 0.4)), float(on.chance.uniform(-1.5, 1.5))
        x, y = side * (0.17 + away * np.cos(angle)), 0.03 + away * 1.05 * np.sin(angle)
        thin = 0.026 - 0.045 * away
        length = thin * float(on.chance.uniform(1.2, 4.5))
        level = float(on.z[on.chance.integers(len(on.z))])
        blob(on, Tissue.VESSEL, (x, y, level), (length, thin, 0.12), side * angle, over=(Tissue.LUNG,))


def abdomen(on: Canvas, body: Body) -> None:
    """From the pelvis of the kidneys to the liver's dome, with a mass in the liver."""
    _abdomen(on, body)
    level, tall = _lesion_level(on, 0.35)
    size = float(on.chance.uniform(0.10, 0.17)) * body.lesion
    where = (-0.42 + float(on.chance.uniform(-0.08, 0.08)), float(on.chance.uniform(-0.12, 0.12)), level)
    blob(on, Tissue.LESION, where, (size, size * 0.9, tall), rough=0.12)
    blob(on, Tissue.NECROSIS, where, (size * 0.45, size * 0.4, tall * 0.7), rough=0.2)
    _table(on)


def kidney(on: Canvas, body: Body) -> None:
    """The same abdomen, with a mass on the left kidney."""
    _abdomen(on, body)
    level, tall = _lesion_level(on, -0.1)
    size = float(on.chance.uniform(0.10, 0.15)) * body.lesion
    blob(on, Tissue.LESION, (0.50, 0.22, level), (size, size, tall), rough=0.1)
    blob(on, Tissue.NECROSIS, (0.52, 0.21, level), (size * 0.4, size * 0.35, tall * 0.7), rough=0.2)
    _table(on)


def bowel(on: Canvas, body: Body) -> None:
    """The same abdomen, with a wall-thickening mass of the descending colon."""
    _abdomen(on, body)
    level, tall = _lesion_level(on, -0.5)
    size = float(on.chance.uniform(0.10, 0.14)) * body.lesion
    blob(on, Tissue.LESION, (0.58, -0.02, level), (size, size * 1.1, tall), rough=0.15)
    blob(on, Tissue.AIR, (0.585, -0.03, level), (size * 0.3, size * 0.25, tall))
    _table(on)


def pancreas(on: Canvas, body: Body) -> None:
    """The same abdomen, with a mass in the head of the pancreas."""
    _abdomen(on, body)
    level, tall = _lesion_level(on, 0.0)
    size = float(on.chance.uniform(0.07, 0.11)) * body.lesion
    blob(on, Tissue.LESION, (-0.16, -0.06, level), (size * 1.2, size, tall), rough=0.15)
    _table(on)


def _abdomen(on: Canvas, body: Body) -> None:
    fat = 0.09 + 0.04 * body.female
    _trunk(on, 0.88, 0.62, fat)
    blob(on, Tissue.FAT, (0, -0.05, 0), (0.70 - fat, 0.46 - fat / 2, ENDLESS))
    _ribs(on, 0.84 - fat, 0.545 - fat / 2, 0.04, above=0.05)
    _spine(on, 0.27, 1.1)
    _pair(on, Tissue.MUSCLE, (0.20, 0.30, 0), (0.10, 0.12, ENDLESS), 0.3)
    _pair(on, Tissue.MUSCLE, (0.17, 0.47, 0), (0.15, 0.10, ENDLESS), -0.1)
    blob(on, Tissue.LIVER, (-0.34, -0.03, 0.55), (0.40, 0.42, 0.95), 0.25)
    blob(on, Tissue.LIVER, (0.02, -0.22, 0.62), (0.34, 0.15, 0.5), 0.15)
    for _ in range(9):
        x, y = float(on.chance.uniform(-0.6, -0.1)), float(on.chance.uniform(-0.3, 0.3))
        turn = float(on.chance.uniform(0, 3))
        blob(on, Tissue.BLOOD, (x, y, float(on.chance.uniform(0, 1))), (0.07, 0.018, 0.2), turn, over=(Tissue.LIVER,))
    blob(on, Tissue.SPLEEN, (0.52, 0.16, 0.6), (0.13, 0.23, 0.5), 0.25)
    blob(on, Tissue.MUSCLE, (0.32, -0.18, 0.6), (0.21, 0.20, 0.42))
    blob(on, Tissue.BOWEL, (0.32, -0.17, 0.6), (0.19, 0.18, 0.40))
    blob(on, Tissue.AIR, (0.32, -0.27, 0.6), (0.13, 0.07, 0.3))
    blob(on, Tissue.MUSCLE, (0.08, -0.02, 0.05), (0.27, 0.055, 0.25), -0.25)
    _pair(on, Tissue.KIDNEY, (0.40, 0.23, -0.15), (0.115, 0.15, 0.62), 0.45)
    _pair(on, Tissue.FAT, (0.355, 0.21, -0.15), (0.045, 0.075, 0.4), 0.45)
    blob(on, Tissue.BLOOD, (0.035, 0.12, 0), (0.058, 0.058, ENDLESS))
    blob(on, Tissue.BLOOD, (-0.10, 0.11, 0), (0.065, 0.05, ENDLESS))
    for _ in range(26):
        x, y = float(on.chance.uniform(-0.5, 0.5)), float(on.chance.uniform(-0.38, 0.0))
        z, size = float(on.chance.uniform(-1.0, 0.0)), float(on.chance.uniform(0.05, 0.085))
        blob(on, Tissue.MUSCLE, (x, y, z), (size * 1.3, size, 0.3), x * 5, over=(Tissue.FAT,))
        blob(on, Tissue.BOWEL, (x, y, z), (size * 1.05, size * 0.75, 0.26), x * 5, over=(Tissue.MUSCLE,))
        if on.chance.random() < 0.3:
            blob(on, Tissue.AIR, (x, y - size * 0.4, z), (size * 0.6, size * 0.3, 0.2), over=(Tissue.BOWEL,))
    _pair(on, Tissue.MUSCLE, (0.56, 0.0, -0.5), (0.085, 0.095, 0.5))
    _pair(on, Tissue.BOWEL, (0.56, 0.0, -0.5), (0.07, 0.08, 0.5))
    _pair(on, Tissue.AIR, (0.56, -0.04, -0.5), (0.05, 0.035, 0.5))


def brain(on: Canvas, body: Body) -> None:
    """From the base to above the ventricles, with a rim-enhancing tumour in its oedema."""
    top = np.sqrt(np.clip(1 - (np.clip(on.z, 0.2, None) - 0.2) ** 2 / 0.9, 0.2, 1))
    for one, s in zip(on.z.tolist(), top.tolist(), strict=True):
        blob(on, Tissue.FAT, (0, 0, one), (0.76 * s, 0.90 * s, 0.01))
        blob(on, Tissue.BONE, (0, 0, one), (0.725 * s, 0.865 * s, 0.01))
        blob(on, Tissue.MARROW, (0, 0, one), (0.705 * s, 0.845 * s, 0.01))
        blob(on, Tissue.BONE, (0, 0, one), (0.69 * s, 0.83 * s, 0.01))
        blob(on, Tissue.FLUID, (0, 0, one), (0.675 * s, 0.815 * s, 0.01))
        blob(on, Tissue.GREY, (0, 0, one), (0.655 * s, 0.79 * s, 0.01), rough=0.02)
        _pair(on, Tissue.WHITE, (0.30 * s, 0.0, one), (0.285 * s, 0.66 * s, 0.01), rough=0.10)
    _sulci(on, top.astype(np.float32))
    blob(on, Tissue.FLUID, (0, 0, 0.2), (0.012, 0.80, 0.9))
    blob(on, Tissue.WHITE, (0, -0.02, 0.1), (0.24, 0.24, 0.5))
    wide = 0.05 + 0.03 * float(on.chance.random())
    _pair(on, Tissue.FLUID, (0.12, -0.20, 0.15), (wide, 0.21, 0.42), 0.30)
    _pair(on, Tissue.FLUID, (0.19, 0.24, 0.1), (wide, 0.20, 0.35), -0.45)
    _pair(on, Tissue.GREY, (0.20, -0.02, 0.0), (0.07, 0.13, 0.3), -0.3)
    blob(on, Tissue.FLUID, (0, 0.02, 0.0), (0.018, 0.10, 0.25))
    blob(on, Tissue.GREY, (0, 0.50, -0.9), (0.46, 0.26, 0.3))
    blob(on, Tissue.WHITE, (0, 0.46, -0.9), (0.25, 0.13, 0.3), rough=0.15)
    side = -1.0 if on.chance.random() < 0.5 else 1.0
    level, tall = _lesion_level(on, 0.3)
    size = float(on.chance.uniform(0.13, 0.19)) * body.lesion
    where = (side * float(on.chance.uniform(0.27, 0.36)), float(on.chance.uniform(-0.35, 0.3)), level)
    tissue = (Tissue.WHITE, Tissue.GREY)
    blob(on, Tissue.OEDEMA, where, (size * 1.8, size * 1.9, tall * 1.1), over=tissue, rough=0.14)
    blob(on, Tissue.LESION, where, (size, size, tall), rough=0.12)
    blob(on, Tissue.NECROSIS, where, (size * 0.6, size * 0.55, tall * 0.8), rough=0.2)


def _sulci(on: Canvas, scale: Floats) -> None:
    """Dark folds between the gyri, from the rim inward; `scale` per slice."""
    x, y = on.x / (np.float32(0.655) * scale[:, None, None]), on.y / (np.float32(0.79) * scale[:, None, None])
    radius = x * x + y * y
    rim = np.nonzero((radius > 0.5) & (radius < 1.0) & (on.labels != Tissue.AIR))
    angle, depth = np.arctan2(y[rim], x[rim]), np.sqrt(radius[rim])
    phase = on.chance.uniform(0, 6.28, 3).astype(np.float32)
    bend = 1.6 * np.sin(5 * angle + phase[0]) + 1.1 * np.sin(3 * angle + phase[1] + 3 * on.z[rim[0]])
    wave = np.sin(14 * angle + bend + 5 * depth) - 1.6 * (1 - depth) * (2 + np.sin(9 * angle + phase[2]))
    old = on.labels[rim]
    on.labels[rim] = np.where(wave > 0.80, Tissue.FLUID, np.where(wave > -0.05, Tissue.GREY, old))


def pelvis(on: Canvas, body: Body) -> None:
    """At the height of the femoral heads, with a focus in the peripheral zone of the prostate."""
    _pelvis(on, body)
    level, tall = _lesion_level(on, 0.1)
    size = float(on.chance.uniform(0.05, 0.07)) * body.lesion
    side = -1.0 if on.chance.random() < 0.5 else 1.0
    blob(on, Tissue.LESION, (side * 0.08, 0.13, level), (size, size * 0.7, tall), rough=0.1)


def rectum(on: Canvas, body: Body) -> None:
    """The same pelvis, with a thickened wall of the rectum."""
    _pelvis(on, body)
    level, tall = _lesion_level(on, 0.1)
    size = float(on.chance.uniform(0.10, 0.13)) * body.lesion
    blob(on, Tissue.LESION, (0.02, 0.31, level), (size, size * 0.9, tall), rough=0.15)
    blob(on, Tissue.BOWEL, (0.04, 0.31, level), (size * 0.35, size * 0.3, tall))


def _pelvis(on: Canvas, body: Body) -> None:
    _trunk(on, 0.95, 0.66, 0.10 + 0.03 * body.female)
    blob(on, Tissue.FAT, (0, -0.02, 0), (0.42, 0.42, ENDLESS))
    _pair(on, Tissue.MUSCLE, (0.42, 0.42, 0), (0.34, 0.17, ENDLESS), -0.35)
    _pair(on, Tissue.FAT, (0.40, 0.27, 0), (0.30, 0.025, ENDLESS), -0.35)
    _pair(on, Tissue.BONE, (0.52, -0.02, 0), (0.13, 0.16, ENDLESS), 0.5)
    _pair(on, Tissue.MARROW, (0.52, -0.02, 0), (0.11, 0.14, ENDLESS), 0.5)
    _pair(on, Tissue.BONE, (0.60, 0.03, 0), (0.135, 0.135, 0.9))
    _pair(on, Tissue.MARROW, (0.60, 0.03, 0), (0.118, 0.118, 0.88))
    _pair(on, Tissue.BLOOD, (0.36, -0.32, 0), (0.04, 0.04, ENDLESS))
    _pair(on, Tissue.MUSCLE, (0.33, 0.05, 0), (0.045, 0.22, ENDLESS), 0.15)
    blob(on, Tissue.BONE, (0, 0.50, 0.2), (0.14, 0.055, ENDLESS))
    blob(on, Tissue.MARROW, (0, 0.50, 0.2), (0.12, 0.04, ENDLESS))
    blob(on, Tissue.MUSCLE, (0, -0.16, 0.55), (0.24, 0.20, 0.85))
    blob(on, Tissue.BLADDER, (0, -0.16, 0.55), (0.215, 0.175, 0.8))
    if body.female:
        blob(on, Tissue.MUSCLE, (0, 0.10, 0.2), (0.15, 0.11, 0.7))
        blob(on, Tissue.GLAND, (0, 0.10, 0.2), (0.07, 0.035, 0.5))
    else:
        blob(on, Tissue.PROSTATE, (0, 0.07, -0.1), (0.17, 0.14, 0.75))
        blob(on, Tissue.MUSCLE, (0, 0.02, -0.1), (0.12, 0.085, 0.65), rough=0.1)
        blob(on, Tissue.GLAND, (0.04, 0.02, -0.1), (0.045, 0.05, 0.5), rough=0.2)
        blob(on, Tissue.GLAND, (-0.05, 0.01, -0.1), (0.04, 0.045, 0.5), rough=0.2)
    blob(on, Tissue.MUSCLE, (0.01, 0.30, 0), (0.10, 0.085, ENDLESS))
    blob(on, Tissue.BOWEL, (0.01, 0.30, 0), (0.075, 0.06, ENDLESS))
    blob(on, Tissue.AIR, (0.01, 0.275, 0), (0.045, 0.025, ENDLESS))


def breast(on: Canvas, body: Body) -> None:
    """Both breasts of a woman who lies prone, with a mass in one of them."""
    _pair(on, Tissue.FAT, (0.42, -0.22, -0.1), (0.36, 0.62, 0.95))
    blob(on, Tissue.FAT, (0, 0.75, 0), (0.98, 0.62, ENDLESS))
    _pair(on, Tissue.GLAND, (0.42, -0.32, -0.1), (0.21, 0.36, 0.65), rough=0.22)
    for _ in range(24):
        beside = -0.42 if on.chance.random() < 0.5 else 0.42
        x, y = beside + float(on.chance.normal(0, 0.1)), float(on.chance.uniform(-0.6, -0.05))
        where = (x, y, float(on.chance.uniform(-0.8, 0.6)))
        blob(on, Tissue.FAT, where, (0.06, 0.025, 0.2), float(on.chance.uniform(0, 3)), over=(Tissue.GLAND,))
    blob(on, Tissue.MUSCLE, (0, 0.88, 0), (0.93, 0.66, ENDLESS))
    blob(on, Tissue.FAT, (0, 0.92, 0), (0.74, 0.58, ENDLESS))
    _ribs(on, 0.78, 0.60, 0.90)
    _pair(on, Tissue.LUNG, (0.40, 0.92, 0), (0.30, 0.46, ENDLESS))
    blob(on, Tissue.HEART, (0.10, 0.72, -0.2), (0.26, 0.24, 0.9), 0.3)
    blob(on, Tissue.BONE, (0, 0.30, 0), (0.08, 0.022, ENDLESS))
    level, tall = _lesion_level(on, 0.0)
    side = -1.0 if on.chance.random() < 0.5 else 1.0
    size = float(on.chance.uniform(0.06, 0.10)) * body.lesion
    where = (side * (0.42 + float(on.chance.uniform(-0.12, 0.12))), float(on.chance.uniform(-0.5, -0.15)), level)
    blob(on, Tissue.LESION, where, (size, size * 0.9, tall), rough=0.25)


Painter = Callable[[Canvas, Body], None]
PAINTERS: dict[str, Painter] = {
    "chest": chest,
    "abdomen": abdomen,
    "kidney": kidney,
    "bowel": bowel,
    "pancreas": pancreas,
    "brain": brain,
    "pelvis": pelvis,
    "rectum": rectum,
    "breast": breast,
}


def paint(anatomy: str, body: Body, slices: int, size: int) -> Labels:
    """The tissue map of `anatomy`, shape (slices, size, size)."""
    if anatomy != "body":
        on = canvas(body, slices, size)
        PAINTERS[anatomy](on, body)
        return on.labels
    parts = []
    for part in ("rectum", "abdomen", "chest"):
        on = canvas(body, 6, size)
        PAINTERS[part](on, body)
        parts.append(on.labels[[2, 4]])
    return np.concatenate(parts)[:slices]
