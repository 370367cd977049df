"""Images with text in their pixels that wait for readers, written as the pixel check leaves them."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from sqlalchemy import insert
from tests.support import LUNG, SCANNER, ct

from carina.deid.pixels.findings import Box
from carina.model.clock import new_id, stamp
from carina.model.instance import Reason, Source
from carina.node import quarantine
from carina.node.parcel import Parcel, wrap
from carina.node.site import Node
from carina.storage import arrivals
from carina.storage.schema import pixel_checks

NAME, DATE = Box(12, 16, 36, 232), Box(12, 470, 36, 624)
"""Where `scan` writes the person's name, and the date of birth."""


def scan(frames: int = 1, rows: int = 480, columns: int = 640, seed: int = 1) -> np.ndarray[Any, Any]:
    """An ultrasound-like fan in noise, with a name and a date above it: frames, rows, columns; 8 bits."""
    noise = np.random.default_rng(seed)
    down, across = np.mgrid[0:rows, 0:columns]
    radius, angle = np.hypot(down - rows * 0.08, across - columns / 2), np.arctan2(across - columns / 2, down)
    fan = (np.abs(angle) < 0.62) & (radius > rows * 0.12) & (radius < rows * 0.88)
    pictures = []
    for frame in range(frames):
        speckle = noise.gamma(2.0, 26.0, (rows, columns)) * np.exp(-radius / rows)
        lesion = np.hypot(down - rows * 0.5, across - columns * (0.45 + 0.01 * frame)) < rows * 0.09
        picture = Image.fromarray(np.clip(np.where(fan, speckle * np.where(lesion, 0.4, 1.6), 0), 0, 255).astype("u1"))
        pen, font = ImageDraw.Draw(picture), ImageFont.load_default(20)
        pen.text((18, 12), "GARCIA, MARIA ELENA", 230, font=font)
        pen.text((474, 12), "* 02.01.1960", 230, font=font)
        pictures.append(np.asarray(picture))
    return np.stack(pictures)


def ultrasound(number: int, frames: int = 1) -> bytes:
    """An ultrasound file whose pixels are `scan`."""
    pixels = scan(frames, seed=number)
    plain: dict[str, Any] = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.6.1", "Modality": "US"}
    plain |= {"Rows": pixels.shape[1], "Columns": pixels.shape[2], "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    plain |= {"PixelRepresentation": 0, "PixelData": pixels.tobytes(), "RescaleSlope": None, "RescaleIntercept": None}
    if frames > 1:
        plain |= {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.3.1", "NumberOfFrames": frames}
    return ct(f"MRN-{number:04}", number=number, elements=plain)


def hold(
    node: Node,
    data: bytes,
    *,
    state: str = "flagged",
    boxes: tuple[Box, ...] = (NAME, DATE),
    size: tuple[int, int, int] = (480, 640, 1),
    readers: int = 1,
    project: str = LUNG,
    source: Source = SCANNER,
) -> str:
    """Put a file into quarantine, looked at or to be; its id.

    size   rows, columns, frames
    """
    one = new_id()
    parcel = Parcel(source, stamp(), data)
    node.quarantine.put(one, wrap(parcel))
    reason = Reason.PIXELS_NOT_CHECKED if state == "waiting" else Reason.TEXT_IN_PIXELS
    kind = ("US", "1.2.840.10008.5.1.4.1.1.6.1")
    row = {"id": one, "project": project, "layout": "0" * 64, "sample": False, "state": state, "readers": readers}
    row |= {"rows": size[0], "columns": size[1], "frames": size[2], "finder": "rapidocr 1.4.4", "proven": True}
    row |= {"boxes": [[box.top, box.left, box.bottom, box.right, box.frame] for box in boxes], "decisions": []}
    with node.engine.begin() as connection:
        arrivals.add(connection, one, source, len(data))
        arrivals.finish(connection, one, "quarantined", reason=reason)
        held = quarantine.Held.of(node, one, parcel, reason, project=node.projects[project].id, kind=kind)  # type: ignore[index]
        quarantine.note(node, connection, held)
        connection.execute(insert(pixel_checks), row)
    return one
