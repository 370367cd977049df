"""C-FIND and C-GET in the Patient and Study Root models, PS3.4 annex C, for researchers with a permit for `retrieve`
and for peers that may. C-MOVE, which is the same on another association, is in `move`.

What is found and given are the members of the dataset that the visit or the peer is for. Each request is judged by
`node.authorise`, and while one lasts, again.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any, TypeAlias, cast

from pydicom import Dataset, dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_GET_RSP
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE
from pynetdicom.events import Event

from carina.dicom.quiet import quiet
from carina.errors import CarinaError, InvalidQuery, NotFound, PermitDenied
from carina.interfaces.dimse.bounds import BoundedAssociation, BoundedServer
from carina.interfaces.dimse.identifiers import Asked, answer, read_identifier
from carina.interfaces.dimse.identity import Reader, ask_again, identify, reader_of
from carina.interfaces.dimse.peers import Operation
from carina.interfaces.room import Room
from carina.node.retrieve import (
    Form,
    can_be_native,
    find,
    find_instance,
    find_instances,
    hand_out,
    read,
)
from carina.node.site import Node
from carina.storage.index import StoredInstance
from carina.storage.search import Found

log = logging.getLogger(__name__)

FIND = "1.2.840.10008.5.1.4.1.2.2.1"
GET = "1.2.840.10008.5.1.4.1.2.2.3"
"""Study Root Query/Retrieve – FIND and GET."""
PATIENT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
PATIENT_GET = "1.2.840.10008.5.1.4.1.2.1.3"
PATIENT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2"
"""Patient Root Query/Retrieve – FIND, GET and MOVE."""
PATIENT_ROOT = frozenset((PATIENT_FIND, PATIENT_GET, PATIENT_MOVE))
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
"""What identifiers may be written in."""

PENDING = 0xFF00
PENDING_KEYS_IGNORED = 0xFF01
CANCELLED = 0xFE00
NOT_AUTHORISED = 0x0124
TOO_MANY = 0xA701
NOT_THE_MODEL = 0xA900
UNABLE = 0xC001
"""Statuses, PS3.4 tables C.4-1 and C.4-3, PS3.7 annex C."""

_REFUSALS = frozenset((NOT_AUTHORISED, TOO_MANY, NOT_THE_MODEL, UNABLE))
_EMPTY_LIST = 8  # bytes of Failed SOP Instance UID List without a value
_NO_DATA_SET = 0x0101  # PS3.7 annex E

ASK_AGAIN = 5.0  # s after which a request under way asks whether the permit still holds
MAX_SUB_OPERATIONS = 65535  # what a response can count
_LARGEST_IDENTIFIER = 2**16  # bytes
_PAGE = 1000  # matches that are read together
_SLOWEST = 2**20  # bytes/s at which an instance may be fetched
_WAIT_FOR_ROOM = 10.0  # s

Response: TypeAlias = tuple[int | Dataset, Dataset | None]


def handlers(node: Node) -> list[Any]:
    """What a listener needs for C-FIND and C-GET; `asking` has all."""
    return [
        (evt.EVT_USER_ID, identify, [node]),
        (evt.EVT_C_FIND, answer_find, [node]),
        (evt.EVT_C_GET, answer_get, [node]),
        (evt.EVT_DIMSE_SENT, _without_counts),
    ]


def answer_find(event: Event, node: Node) -> Iterator[Response]:
    """The matches, one by one, and how it ended."""
    try:
        encoded = take_identifier(event)
        reader = reader_of(event, node, "find")
        asked = read_asked(event, encoded)
        pending = PENDING_KEYS_IGNORED if asked.unmatched else PENDING
        for found in _matches(event, node, reader, asked, "find"):
            if event.is_cancelled:
                yield CANCELLED, None
                return
            yield pending, answer(asked, found, str(event.assoc.ae.ae_title))
    except Exception as error:  # noqa: BLE001  the peer is told that it failed
        yield failure(error, "find-failed"), None


def answer_get(event: Event, node: Node) -> Iterator[int | Response]:
    """How many instances there are, each of them, and how it ended; pynetdicom sends them and keeps count."""
    try:
        encoded = take_identifier(event)
        reader = reader_of(event, node, "get")
        asked = read_asked(event, encoded, retrieve=True)
        instances = wanted(event, node, reader, asked, "get")
        if len(instances) > MAX_SUB_OPERATIONS:
            yield 1  # as below
            yield TOO_MANY, None
            return
        give_out(node, reader, instances)
    except Exception as error:  # noqa: BLE001  the peer is told that it failed
        yield 1  # none would be a success to pynetdicom; see `_without_counts`
        yield failure(error, "get-failed"), None
        return
    yield len(instances)
    yield from sub_operations(event, node, instances, "get", lambda: event.assoc)


def give_out(node: Node, reader: Reader, instances: Sequence[StoredInstance], to: str = "") -> None:
    """Write down who receives these, study by study; `to`: where they go, if not to who asks."""
    for _, of_study in groupby(instances, key=lambda instance: instance.study_uid):
        hand_out(node, reader.grant, list(of_study), reader.who, "instances", to=to)


def read_asked(event: Event, encoded: bytes, *, retrieve: bool = False) -> Asked:
    """What the request's identifier asks for, in the request's model. Raises `InvalidQuery`."""
    model = str(cast(C_FIND | C_GET | C_MOVE, event.request).AffectedSOPClassUID)
    return read_identifier(_decoded(event, encoded), retrieve=retrieve, patients=model in PATIENT_ROOT)


def _without_counts(event: Event) -> None:
    """A request that is refused at once has come to no sub-operations: the response lists and counts none, PS3.4 table
    C.4-3, though pynetdicom is about to send an empty list."""
    message = event.message
    if not isinstance(message, C_GET_RSP) or message.command_set.Status not in _REFUSALS:
        return
    if message.data_set is None or message.data_set.getbuffer().nbytes > _EMPTY_LIST:
        return
    message.data_set = io.BytesIO()
    message.command_set.CommandDataSetType = _NO_DATA_SET
    for keyword in ("Completed", "Failed", "Warning"):
        del message.command_set[f"NumberOf{keyword}Suboperations"]
    message._set_command_group_length()


def take_identifier(event: Event) -> bytes:
    """The identifier's bytes, no longer counted as arriving; none when they were let go."""
    request = cast(C_FIND | C_GET | C_MOVE, event.request)
    sent = b"" if request.Identifier is None else request.Identifier.getvalue()
    cast(BoundedAssociation, event.assoc).incoming.take(len(sent))
    return sent


def _decoded(event: Event, encoded: bytes) -> Dataset:
    """The identifier. Raises `InvalidQuery`."""
    if not encoded or len(encoded) > _LARGEST_IDENTIFIER:
        raise InvalidQuery("The identifier is empty or too long.")
    try:
        with quiet():
            found = event.identifier
            found.decode()
            for _ in found.iterall():  # whose values are read only now
                pass
    except Exception:  # noqa: BLE001  pydicom raises many kinds, and their words may quote values
        raise InvalidQuery("The identifier cannot be read.") from None
    return found


def failure(error: Exception, event_name: str) -> int | Dataset:
    """An error in the protocol's words. A refusal says why, in one constant word."""
    match error:
        case PermitDenied():
            status = Dataset()
            status.Status, status.ErrorComment = NOT_AUTHORISED, error.reason[:64]
            return status
        case InvalidQuery():
            return NOT_THE_MODEL
    level = logging.WARNING if isinstance(error, CarinaError) else logging.ERROR
    log.log(level, "%s class=%s", event_name, type(error).__name__)
    return UNABLE


def _matches(event: Event, node: Node, reader: Reader, asked: Asked, operation: Operation) -> Iterator[Found]:
    """All that is found, page by page; of each person one study, where persons are asked for.

    Raises `PermitDenied` when the permit ends.
    """
    asked_at, offset = time.monotonic(), 0
    persons: set[tuple[str, str]] = set()
    while True:
        page = find(node, reader.grant, replace(asked.query, limit=_PAGE, offset=offset))
        for found in page:
            if time.monotonic() - asked_at >= ASK_AGAIN:
                ask_again(event, node, operation)
                asked_at = time.monotonic()
            if asked.of_persons and operation == "find":
                if (found.project, found.patient) in persons:
                    continue
                persons.add((found.project, found.patient))
            yield found
        if len(page) < _PAGE:
            return
        offset += _PAGE


def wanted(event: Event, node: Node, reader: Reader, asked: Asked, operation: Operation) -> list[StoredInstance]:
    """What is to be sent, study by study, without headers; not all, when a response cannot count it."""
    listed: list[StoredInstance] = []
    for found in _matches(event, node, reader, asked, operation):
        try:
            listed += [replace(stored, header={}) for stored in _of(node, reader, found)]
        except NotFound:  # gone since
            continue
        if len(listed) > MAX_SUB_OPERATIONS:
            break
    return sorted(listed, key=lambda instance: instance.study_uid)  # which leaves the order within a study


def _of(node: Node, reader: Reader, found: Found) -> list[StoredInstance]:
    if found.uid is not None and found.series_uid is not None:
        return [find_instance(node, reader.grant, found.study_uid, found.series_uid, found.uid)]
    return find_instances(node, reader.grant, found.study_uid, found.series_uid)


def sub_operations(
    event: Event,
    node: Node,
    instances: Sequence[StoredInstance],
    operation: Operation,
    target: Callable[[], Association],
) -> Iterator[Response]:
    """Each instance for pynetdicom to send, as long as the permit lasts and nobody cancels.

    target   the association on which it is sent, once the first is asked for
    """
    asked_at = time.monotonic()
    unsent: list[str] = []
    for number, instance in enumerate(instances):
        if event.is_cancelled:
            yield CANCELLED, _failed(unsent)
            return
        if time.monotonic() - asked_at >= ASK_AGAIN:
            try:
                ask_again(event, node, operation)
            except Exception as error:  # noqa: BLE001  what cannot be known is refused
                rest = [each.uid for each in instances[number:]]
                yield failure(error, f"{operation}-failed"), _failed([*unsent, *rest])
                return
            asked_at = time.monotonic()
        with _room_for(event, instance) as room, quiet():  # pynetdicom writes it out inside
            dataset = _readable(target(), node, instance) if room else None
            if dataset is None:
                unsent.append(instance.uid)
            yield PENDING, dataset or _unsendable(instance)


def _failed(uids: Sequence[str]) -> Dataset:
    made = Dataset()
    made.FailedSOPInstanceUIDList = list(uids)
    return made


def _unsendable(instance: StoredInstance) -> Dataset:
    """What pynetdicom cannot send, so that it counts the instance as failed."""
    made = Dataset()
    made.SOPInstanceUID = instance.uid
    return made


def _readable(association: Association, node: Node, instance: StoredInstance) -> Dataset | None:
    """The instance in a form that the association takes, or None."""
    form = form_for(association, instance)
    if form is None:
        return None
    association.dimse_timeout = float(association.ae.dimse_timeout or 0) + instance.size / _SLOWEST
    try:
        return dcmread(io.BytesIO(read(node, instance, form)))
    except Exception as error:  # noqa: BLE001  one instance that cannot be read is not the end of the others
        log.warning("get-unreadable class=%s uid=%s", type(error).__name__, instance.uid)
        return None


def form_for(association: Association, instance: StoredInstance) -> Form | None:
    """As it is stored if the association takes that, else without compression; None when it takes neither.

    Who has asked for the association and is sent to on it must have said that it takes the class as SCP (PS3.7 section
    D.3.3.4); pynetdicom goes on without that.
    """
    if association.is_acceptor:
        role = association.requestor.role_selection.get(instance.sop_class_uid)  # type: ignore[call-overload]
        if role is None or not role.scp_role:
            return None
    contexts = association.accepted_contexts
    syntaxes = {one.transfer_syntax[0] for one in contexts if one.abstract_syntax == instance.sop_class_uid}
    if instance.transfer_syntax_uid in syntaxes:
        return "stored"
    plain = syntaxes & {ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian}
    return "native" if plain and can_be_native(instance) else None


@contextmanager
def _room_for(event: Event, instance: StoredInstance) -> Iterator[bool]:
    """Hold memory for an instance until it is sent; False when there is none for too long."""
    room: Room = cast(BoundedServer, event.assoc._server).outgoing
    until = time.monotonic() + _WAIT_FOR_ROOM
    while not (held := room.take(instance.size)) and time.monotonic() < until:
        time.sleep(0.1)
    try:
        yield held
    finally:
        if held:
            room.give(instance.size)
