"""What a node's own staff find and fetch in its archive. Everything here is de-identified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Literal

from carina.dicom import frames
from carina.dicom.json import bulk_data
from carina.dicom.parse import parse
from carina.dicom.query import Query
from carina.dicom.rendering import Media, Viewport, Window, render
from carina.dicom.transcode import explicit_little_endian
from carina.model.principal import Principal
from carina.node.site import Node
from carina.storage import index, search
from carina.storage.index import StoredInstance
from carina.storage.search import Found

EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
Form = Literal["stored", "native"]
"""As it is stored, or in Explicit VR Little Endian without compression."""


@dataclass(frozen=True)
class Frame:
    """A frame's bytes and the transfer syntax they are in."""

    data: bytes
    syntax: str


def find(node: Node, query: Query) -> list[Found]:
    """Studies, series or instances of all projects of the node."""
    with node.engine.connect() as connection:
        return search.search(connection, query)


def find_instance(node: Node, study: str, series: str, uid: str) -> StoredInstance:
    """One instance, or `NotFound`, also when it is not in that study and series."""
    with node.engine.connect() as connection:
        return index.find_instance(connection, uid, study_uid=study, series_uid=series)


def find_instances(node: Node, study: str, series: str | None = None) -> list[StoredInstance]:
    """The instances of a study or series, or `NotFound` when there are none."""
    with node.engine.connect() as connection:
        return index.instances_of(connection, study, series)


def hand_out(node: Node, instances: Sequence[StoredInstance], who: Principal, what: str) -> None:
    """Write down who is about to receive images: one row of the audit trail for each request.

    what   "instances", "frames", "rendered" or "bulk data"
    """
    first = instances[0]
    node.audit.append("retrieved", who.subject, first.study_uid, what=what, instances=len(instances))


def open_instance(node: Node, instance: StoredInstance) -> BinaryIO:
    """A stream of the instance's file, which the caller closes."""
    return node.instances.open(instance.content)


def read(node: Node, instance: StoredInstance, form: Form = "stored") -> bytes:
    """The instance's file. Raises `InvalidInstance` when it has to be decompressed and cannot be."""
    with open_instance(node, instance) as file:
        data = file.read()
    return data if form == "stored" else explicit_little_endian(data)


def can_be_native(instance: StoredInstance) -> bool:
    """Whether the instance can be given in Explicit VR Little Endian."""
    return instance.frames == 0 or frames.can_decode(instance.transfer_syntax_uid)


def read_frames(node: Node, instance: StoredInstance, numbers: Sequence[int], form: Form) -> list[Frame]:
    """Frames by number, from 1. Raises `NotFound` for one that is not there, `InvalidInstance` for broken pixels."""
    dataset = parse(read(node, instance))
    found = [frames.frame_bytes(dataset, number) for number in numbers]
    if form == "stored" or not frames.syntax_of(dataset).is_encapsulated:
        return [Frame(data, str(syntax)) for data, syntax in found]
    return [Frame(frames.decoded(dataset, number).tobytes(), EXPLICIT_LITTLE_ENDIAN) for number in numbers]


def render_frames(
    node: Node,
    instance: StoredInstance,
    numbers: Sequence[int],
    *,
    window: Window | None = None,
    viewport: Viewport | None = None,
    media: Media = "image/jpeg",
    quality: int = 90,
) -> list[bytes]:
    """Frames as pictures. Raises as `read_frames`."""
    dataset = parse(read(node, instance))
    return [
        render(dataset, number, window=window, viewport=viewport, media=media, quality=quality) for number in numbers
    ]


def read_bulk_data(node: Node, instance: StoredInstance, path: str) -> Frame:
    """A binary value by its path in the metadata, as it is stored, or `NotFound`."""
    return Frame(bulk_data(parse(read(node, instance)), path), instance.transfer_syntax_uid)
