"""What may be found and fetched in a node's archive: by its own staff all, by researchers the members of the dataset
that a permit is for. Everything here is de-identified.

Whoever calls has asked `node.authorise` and passes its `Grant` on; to a grant, what it does not cover is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from carina.dicom import frames
from carina.dicom.json import bulk_data
from carina.dicom.parse import parse
from carina.dicom.query import Query
from carina.dicom.rendering import Media, Viewport, Window, render
from carina.dicom.transcode import explicit_little_endian
from carina.errors import PermitDenied
from carina.model.permit import Action
from carina.model.principal import Principal
from carina.node.authorise import Grant, authorise, check, judge, members
from carina.node.site import Node
from carina.storage import index, search
from carina.storage.index import StoredInstance
from carina.storage.search import Found

DOOR = "dicom-web"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
Handed = Literal["instances", "frames", "bulk data", "rendered"]
Form = Literal["stored", "native"]
"""As it is stored, or in Explicit VR Little Endian without compression."""


@dataclass(frozen=True)
class Frame:
    """A frame's bytes and the transfer syntax they are in."""

    data: bytes
    syntax: str


def granted(node: Node, who: Principal, dataset: str | None, actions: Sequence[Action]) -> Grant:
    """`authorise`, for the first of the actions that a permit is for and the node allows; one use, or one refusal."""
    for action in actions[:-1]:
        try:
            judge(node, who, dataset, action)
        except PermitDenied as refused:
            if refused.reason in ("action-not-granted", "action-not-allowed"):
                continue
        return authorise(node, who, dataset, action, door=DOOR)
    return authorise(node, who, dataset, actions[-1], door=DOOR)


def still_granted(node: Node, who: Principal, grant: Grant) -> None:
    """Raise `PermitDenied` when objects that are being fetched may no longer be."""
    check(node, who, grant.dataset, "retrieve", door=DOOR)


def find(node: Node, grant: Grant, query: Query) -> list[Found]:
    """Studies, series or instances, of all projects of the node that the grant covers."""
    with node.engine.connect() as connection:
        return search.search(connection, query, within=members(grant))


def find_instance(node: Node, grant: Grant, study: str, series: str, uid: str) -> StoredInstance:
    """One instance, or `NotFound`, also when it is not in that study and series."""
    with node.engine.connect() as connection:
        return index.find_instance(connection, uid, study_uid=study, series_uid=series, within=members(grant))


def find_instances(node: Node, grant: Grant, study: str, series: str | None = None) -> list[StoredInstance]:
    """The instances of a study or series, or `NotFound` when there are none."""
    with node.engine.connect() as connection:
        return index.instances_of(connection, study, series, within=members(grant))


def hand_out(node: Node, grant: Grant, instances: Sequence[StoredInstance], who: Principal, what: Handed) -> None:
    """Write down who is about to receive images, and under which permit: one row of the audit trail for each request.

    what   pictures are "viewed", all else is "retrieved"
    """
    action = "viewed" if what == "rendered" else "retrieved"
    details: dict[str, Any] = {"what": what, "instances": len(instances)}
    if not grant.staff:
        details |= {"hub": grant.hub, "permit": grant.permit}
    node.audit.append(action, who.subject, instances[0].study_uid, **details)


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
