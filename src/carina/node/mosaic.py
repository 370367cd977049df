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
) -> bytes:
    """JPEG. A slice that cannot be drawn leaves its place empty; `InvalidInstance` when none can.

    instances  by UID; `require` raises for one that is too large to be drawn
    """
    picture = Image.new("RGB", (sheet.columns * sheet.tile, sheet.rows * sheet.tile), (_GROUND,) * 3)
    drawn = 0
    for at, number in enumerate(sheet.slices):
        one = slices[number]
        try:
            require(instances[one.uid])
            tile = _tile(node, instances[one.uid], one.frame, window, sheet.tile)
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


def _tile(node: Node, instance: Located, frame: int, window: Window | Table | None, size: int) -> Image.Image:
    data = open_image(node, instance, [frame]).draw(frame, window=window, viewport=Viewport(size, size))
    return Image.open(io.BytesIO(data)).convert("RGB")
