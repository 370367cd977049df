"""What may be found and fetched in a node's archive: by its own staff all, by researchers the members of the dataset
that a permit is for. Everything here is de-identified.

Whoever calls has asked `node.authorise` and passes its `Grant` on; to a grant, what it does not cover is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, BinaryIO, Literal

from carina.dicom import frames
from carina.dicom.json import values_of
from carina.dicom.kinds import COMPUTED
from carina.dicom.query import Query
from carina.dicom.transcode import COMPRESSED, UNCOMPRESSED, can_encode, explicit_little_endian, transcoded
from carina.errors import PermitDenied
from carina.model.permit import Action
from carina.model.principal import EVERYTHING, Principal
from carina.node.authorise import Grant, authorise, check, judge, members
from carina.node.releases import Release, enter
from carina.node.site import Node
from carina.storage import index, search
from carina.storage.database import from_text
from carina.storage.index import StoredInstance
from carina.storage.locate import Located, header_texts, locate, locate_one
from carina.storage.search import Found

DOOR = "dicom-web"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
Handed = Literal["instances", "frames", "bulk data", "rendered"]
Form = Literal["stored", "native"]
"""As it is stored, or in Explicit VR Little Endian without compression."""

_PIXELS = ("7FE00010", "7FE00008", "7FE00009")  # integers, floats, doubles
_AT_ONCE = 50  # headers that are looked into together
_NO_PICTURES = frozenset(("SEG", "SR", "PR", "KO"))  # Modality (0008,0060), beside the RT ones


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
    node: Node, who: Principal, grant: Grant, instances: Sequence[Located]
) -> tuple[Sequence[Located], bool]:
    """Those whose whole headers may be read, and whether that is all: by who may fetch them, else the pictures
    (`is_picture`). Raises `PermitDenied` when there are none.
    """
    if may_retrieve(node, who, grant):
        return instances, True
    pictures = []
    for start in range(0, len(instances), _AT_ONCE):
        some = instances[start : start + _AT_ONCE]
        texts = headers(node, some)
        pictures += [one for one in some if one.uid in texts and is_picture(from_text(texts[one.uid]))]
    if not pictures:
        check(node, who, grant.dataset, "retrieve", door=DOOR)
    return pictures, len(pictures) == len(instances)


def headers(node: Node, instances: Sequence[Located]) -> dict[str, str]:
    """By UID, the headers as they are kept: DICOM JSON, ready to send but for the addresses of bulk data."""
    with node.engine.connect() as connection:
        return header_texts(connection, [instance.uid for instance in instances])


def find(node: Node, grant: Grant, query: Query) -> list[Found]:
    """Studies, series or instances, of all projects of the node that the grant covers."""
    with node.engine.connect() as connection:
        return search.search(connection, query, within=members(grant))


def place(node: Node, grant: Grant, study: str, series: str | None = None, uid: str | None = None) -> list[Located]:
    """Where a study, a series or one instance lies, without headers, or `NotFound`, also when not of that study."""
    within = members(grant)
    if within is None and series is not None and uid is not None:
        return locate_one(node.engine, study, series, uid)
    with node.engine.connect() as connection:
        return locate(connection, study, series, uid, within=within)


def find_instance(node: Node, grant: Grant, study: str, series: str, uid: str) -> StoredInstance:
    """One instance, or `NotFound`, also when it is not in that study and series."""
    with node.engine.connect() as connection:
        return index.find_instance(connection, uid, study_uid=study, series_uid=series, within=members(grant))


def find_instances(node: Node, grant: Grant, study: str, series: str | None = None) -> list[StoredInstance]:
    """The instances of a study or series, or `NotFound` when there are none."""
    with node.engine.connect() as connection:
        return index.instances_of(connection, study, series, within=members(grant))


def with_pixels(node: Node, instances: Sequence[Located]) -> list[Located]:
    """Those that have pixels: as the index says, and where it does not know where they lie, their headers."""
    unclear = [one for one in instances if one.pixel_offset is None]
    known: set[str] = {one.uid for one in instances if one.pixel_offset is not None}
    for start in range(0, len(unclear), _AT_ONCE):
        texts = headers(node, unclear[start : start + _AT_ONCE])
        known |= {uid for uid, text in texts.items() if any(tag in from_text(text) for tag in _PIXELS)}
    return [one for one in instances if one.uid in known]


def hand_out(
    node: Node,
    grant: Grant,
    instances: Sequence[StoredInstance | Located],
    who: Principal,
    what: Handed,
    *,
    to: str = "",
) -> None:
    """Write down who is about to receive images, and under which permit: durable in the audit trail when it returns.

    what   pictures are "viewed", all else is "retrieved"; to programs and peers with rights of their own, both are
           "released"
    to     `peer:AE TITLE` of the DICOM application to which it is sent, when that is not who asks; a release, too
    """
    handing_out(node, grant, instances, who, what, to=to).result()


def handing_out(
    node: Node,
    grant: Grant,
    instances: Sequence[StoredInstance | Located],
    who: Principal,
    what: Handed,
    *,
    to: str = "",
) -> Future[None]:
    """`hand_out` for whoever waits without a thread: nothing may leave before the answer is there."""
    details: dict[str, Any] = {"what": what}
    action = "viewed" if what == "rendered" else "retrieved"
    if grant.service or to:
        action = "released"
        details |= {"dataset": grant.dataset or EVERYTHING} | ({"to": to} if to else {})
    elif not grant.staff:
        details |= {"hub": grant.hub, "permit": grant.permit}
    return enter(node, Release(action, who.subject, instances[0].study_uid, details, len(instances)))


def open_instance(node: Node, instance: StoredInstance | Located) -> BinaryIO:
    """A stream of the instance's file, which the caller closes."""
    return node.instances.open(instance.content)


def read(node: Node, instance: StoredInstance | Located, form: Form = "stored") -> bytes:
    """The instance's file. Raises `InvalidInstance` when it has to be decompressed and cannot be."""
    with open_instance(node, instance) as file:
        data = file.read()
    return data if form == "stored" else explicit_little_endian(data)


def read_as(node: Node, instance: Located, syntax: str) -> bytes:
    """The instance's file in another transfer syntax, one that `can_become` names. Raises `InvalidInstance`."""
    return transcoded(read(node, instance), syntax)


def can_be_native(instance: StoredInstance | Located) -> bool:
    """Whether the instance can be given in Explicit VR Little Endian."""
    return instance.frames == 0 or frames.can_decode(instance.transfer_syntax_uid)


def can_become(instance: Located, syntax: str) -> bool:
    """Whether the instance can be given in this transfer syntax, as far as that is known without its pixels."""
    if syntax in UNCOMPRESSED:
        return can_be_native(instance)
    has_pixels = instance.pixel_offset is not None
    return syntax in COMPRESSED and has_pixels and can_be_native(instance) and can_encode(syntax)
