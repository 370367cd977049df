"""Frames of real files, by whatever way they are found, are the ones that pydicom gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
from sqlalchemy import insert
from tests.support import corpus_files, open_test_node

from carina.dicom.describe import described
from carina.dicom.frames import can_decode, count, decoded, frame_bytes
from carina.dicom.parse import parse
from carina.errors import CarinaError, InvalidInstance
from carina.model.ids import Uid
from carina.node import spans
from carina.node.images import open_image
from carina.node.site import Node
from carina.node.spans import Span
from carina.storage.locate import Located
from carina.storage.schema import frame_tables

MOST = 120  # files, one of each kind
LARGEST = 4 << 20  # bytes


def kinds(files: list[Path]) -> Iterator[bytes]:
    """A file of each SOP class in each transfer syntax."""
    seen: set[tuple[str, ...]] = set()
    for path in files:
        if len(seen) >= MOST or path.stat().st_size > LARGEST:
            continue
        try:
            head = pydicom.dcmread(path, stop_before_pixels=True)
            kind = (str(head.SOPClassUID), str(head.file_meta.TransferSyntaxUID), str(head.get("BitsAllocated")))
        except Exception:  # not every file of the corpus is whole
            continue
        if kind not in seen:
            seen.add(kind)
            yield path.read_bytes()


def laid_out(node: Node, data: bytes) -> Located | None:
    """The file as if it were an instance of the archive, with what the index would say; None for no image."""
    try:
        dataset, found = parse(data), described(data)
        if not count(dataset):
            return None
    except CarinaError:
        return None
    content = node.instances.put(SimpleNamespace(data=data))  # type: ignore[arg-type]
    if found.layout.table is not None:
        with node.engine.begin() as connection:
            connection.execute(insert(frame_tables), {"content": content, "frames": found.layout.table})
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    place = (found.layout.offset, found.layout.size)
    return Located(Uid("1"), Uid("2"), Uid("3"), "", syntax, found.frames, content, len(data), *place)


def test_frames_of_real_files_are_those_of_pydicom(tmp_path: Path) -> None:
    lying = made = 0
    with open_test_node(tmp_path) as node:
        for data in kinds(corpus_files()):
            one = laid_out(node, data)
            if one is None:
                continue
            dataset = parse(data)
            numbers = sorted({1, count(dataset)})
            pieces = spans.frames(node, one, numbers)
            image = open_image(node, one, numbers)
            for place, number in enumerate(numbers):
                if pieces is not None:
                    found = [spans.fetch(node, each) if isinstance(each, Span) else each for each in pieces[place]]
                    assert b"".join(found) == frame_bytes(dataset, number)[0], one.transfer_syntax_uid
                    lying += 1
                if can_decode(one.transfer_syntax_uid):
                    expected = pixels_of(dataset, number)
                    if expected is not None:
                        assert np.array_equal(image.pixels(number), expected), one.transfer_syntax_uid
                        made += 1
    assert lying > 20
    assert made > 20


def pixels_of(dataset: pydicom.Dataset, number: int) -> Any:
    """What pydicom makes of a frame; None for what it cannot read."""
    try:
        return decoded(dataset, number)
    except InvalidInstance:
        return None
