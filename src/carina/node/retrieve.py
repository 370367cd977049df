"""What may be found and fetched in a node's archive: by its own staff all, by researchers the members of the dataset
that a permit is for. Everything here is de-identified.

Whoever calls has asked `node.authorise` and passes its `Grant` on; to a grant, what it does not cover is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from pydicom import Dataset

from carina.dicom import frames
from carina.dicom.json import bulk_data, values_of
from carina.dicom.kinds import COMPUTED
from carina.dicom.parse import parse
from carina.dicom.query import Query
from carina.dicom.transcode import explicit_little_endian
from carina.errors import NotFound, PermitDenied
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

_PIXELS = ("7FE00010", "7FE00008", "7FE00009")  # integers, floats, doubles
_NO_PICTURES = frozenset(("SEG", "SR", "PR", "KO"))  # Modality (0008,0060), beside the RT ones


@dataclass(frozen=True)
class Frame:
    """A frame's bytes and the transfer syntax they are in."""

    data: bytes
    syntax: str


def granted(node: Node, who: Principal, dataset: str | None, actions: Sequence[Action], *, count: bool = True) -> Grant:
    """`authorise`, for the first of the actions that a permit is for and the node allows; one use, or one refusal."""
    for action in actions[:-1]:
        try:
            judge(node, who, dataset, action)
        except PermitDenied as refused:
            if refused.reason in ("action-not-granted", "action-not-allowed"):
                continue
        return authorise(node, who, dataset, action, door=DOOR, count=count)
    return authorise(node, who, dataset, actions[-1], door=DOOR, count=count)


def still_granted(node: Node, who: Principal, grant: Grant, actions: Sequence[Action]) -> None:
    """Raise `PermitDenied` when none of the actions, which `granted` was asked for, is allowed any more."""
    granted(node, who, grant.dataset, actions, count=False)


def is_picture(header: dict[str, Any]) -> bool:
    """Whether the header of an instance is that of an image to look at, whose content is in its pixels. Of others, such
    as segmentations, reports, and structures, doses and plans of radiotherapy, the header is the content or a part."""
    modality = str(next(iter(values_of(header, "00080060")), "")).strip().upper()
    sop_class = str(next(iter(values_of(header, "00080016")), ""))
    if sop_class in COMPUTED or modality in _NO_PICTURES or modality.startswith("RT"):
        return False
    return any(tag in header for tag in _PIXELS)


def may_retrieve(node: Node, who: Principal, grant: Grant) -> bool:
    """Whether the objects themselves may be fetched, too; the question leaves no trace."""
    try:
        judge(node, who, grant.dataset, "retrieve")
    except PermitDenied:
        return False
    return True


def with_headers(
    node: Node, who: Principal, grant: Grant, instances: Sequence[StoredInstance]
) -> Sequence[StoredInstance]:
    """Those whose whole headers may be read: all by who may fetch them, else the pictures (`is_picture`).

    Raises `PermitDenied` when there are none.
    """
    pictures = [instance for instance in instances if is_picture(instance.header)]
    if len(pictures) == len(instances) or may_retrieve(node, who, grant):
        return instances
    if not pictures:
        check(node, who, grant.dataset, "retrieve", door=DOOR)
    return pictures


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


def open_image(node: Node, instance: StoredInstance, numbers: Sequence[int]) -> Dataset:
    """The instance, whose frames have these numbers, from 1. Raises `NotFound` for one that is not there."""
    dataset = parse(read(node, instance))
    total = frames.count(dataset)
    if not all(1 <= number <= total for number in numbers):
        raise NotFound("The instance has no such frame.", "Its Number of Frames says how many there are.")
    return dataset


def read_frame(image: Dataset, number: int, form: Form) -> Frame:
    """A frame of an image that is open. Raises `InvalidInstance` for broken pixels."""
    if form == "stored" or not frames.syntax_of(image).is_encapsulated:
        data, syntax = frames.frame_bytes(image, number)
        return Frame(data, str(syntax))
    return Frame(frames.decoded(image, number).tobytes(), EXPLICIT_LITTLE_ENDIAN)


def read_bulk_data(node: Node, instance: StoredInstance, path: str) -> Frame:
    """A binary value by its path in the metadata, as it is stored, or `NotFound`."""
    return Frame(bulk_data(parse(read(node, instance)), path), instance.transfer_syntax_uid)
