"""A contact sheet: slices of a series as small pictures, side by side."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

from PIL import Image

from carina.dicom.rendering import Table, Viewport, Window
from carina.errors import InvalidInstance
from carina.node.images import open_image
from carina.node.look import Sheet
from carina.node.site import Node
from carina.node.stack import Slice
from carina.storage.locate import Located

_GROUND = 16  # nearly black


def mosaic(
    node: Node,
    sheet: Sheet,
    slices: Sequence[Slice],
    instances: Mapping[str, Located],
    *,
    window: Window | Table | None,
    require: Callable[[Located], None],
    aspect: float = 1.0,
) -> bytes:
    """JPEG. A slice that cannot be drawn leaves its place empty; `InvalidInstance` when none can.

    instances  by UID; `require` raises for one that is too large to be drawn
    aspect     of a pixel, height by width
    """
    picture = Image.new("RGB", (sheet.columns * sheet.tile, sheet.rows * sheet.tile), (_GROUND,) * 3)
    drawn = 0
    for at, number in enumerate(sheet.slices):
        one = slices[number]
        try:
            require(instances[one.uid])
            tile = _tile(node, instances[one.uid], one.frame, window, sheet.tile, aspect=aspect)
        except InvalidInstance:
            continue
        drawn += 1
        left, top = at % sheet.columns * sheet.tile, at // sheet.columns * sheet.tile
        picture.paste(tile, (left + (sheet.tile - tile.width) // 2, top + (sheet.tile - tile.height) // 2))
    if not drawn:
        raise InvalidInstance("None of these images can be drawn.", "Retrieve them as DICOM objects.")
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85)
    return file.getvalue()


def _tile(
    node: Node, instance: Located, frame: int, window: Window | Table | None, size: int, *, aspect: float
) -> Image.Image:
    data = open_image(node, instance, [frame]).draw(frame, window=window, viewport=Viewport(size, size))
    tile = Image.open(io.BytesIO(data)).convert("RGB")
    wide, tall = (tile.width, tile.height * aspect) if aspect < 1 else (tile.width / aspect, tile.height)
    return tile if aspect == 1 else tile.resize((max(1, round(wide)), max(1, round(tall))), Image.Resampling.LANCZOS)
