"""C-MOVE in the Patient and Study Root models, PS3.4 section C.4.2: a peer has instances sent to a peer.

pynetdicom opens the association with the destination, sends, counts and answers. What it cannot say by itself, why a
request was refused before there is an association, is put into its answer as that leaves.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from typing import Any
from weakref import WeakKeyDictionary

from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_MOVE_RSP
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext, build_context

from carina.interfaces.dimse import peers, retrieve
from carina.interfaces.dimse.identity import reader_of
from carina.interfaces.dimse.retrieve import (
    TOO_MANY,
    Response,
    failure,
    give_out,
    read_asked,
    sub_operations,
    take_identifier,
    wanted,
)
from carina.model.instance import Peer
from carina.node.site import Node
from carina.storage.index import StoredInstance

MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
"""Study Root Query/Retrieve – MOVE."""
UNKNOWN_DESTINATION = 0xA801
"""Status, PS3.4 table C.4-2: the destination is none of the node's peers, or cannot be reached."""
MOST_CONTEXTS = 128  # of an association

_refused: WeakKeyDictionary[Association, int | Dataset] = WeakKeyDictionary()
"""What is answered instead of `UNKNOWN_DESTINATION`."""


def handlers(node: Node, tls: ssl.SSLContext | None) -> list[Any]:
    """What a listener needs for C-MOVE; `tls`: for destinations that speak it."""
    return [(evt.EVT_C_MOVE, answer_move, [node, tls]), (evt.EVT_DIMSE_SENT, _with_reason)]


def answer_move(event: Event, node: Node, tls: ssl.SSLContext | None) -> Iterator[Any]:
    """Where to, how many instances there are, each of them, and how it ended."""
    _refused.pop(event.assoc, None)
    try:
        encoded = take_identifier(event)
        reader = reader_of(event, node, "move")
        destination = node.peers.get(str(event.move_destination or "").strip())
        if destination is None or not destination.host:
            yield None, None
            return
        asked = read_asked(event, encoded, retrieve=True)
        instances = wanted(event, node, reader, asked, "move")
        calls = peers.options(destination, tls)
        if len(instances) > retrieve.MAX_SUB_OPERATIONS:
            _refused[event.assoc] = TOO_MANY
            yield None, None
            return
        give_out(node, reader, instances, to=peers.subject(destination))
    except Exception as error:  # noqa: BLE001  the peer is told that it failed
        _refused[event.assoc] = failure(error, "move-failed")
        yield None, None
        return
    yield from _moved(event, node, destination, instances, calls)


def _moved(
    event: Event, node: Node, destination: Peer, instances: Sequence[StoredInstance], calls: dict[str, Any]
) -> Iterator[Any | Response]:
    """What pynetdicom asks for, one after the other."""
    entity = event.assoc.ae
    if entity.connection_timeout is None:
        entity.connection_timeout = peers.CONNECT_WITHIN
    opened: list[Association] = []
    requestor = peers.calling(event)[0]

    def keep(accepted: Event) -> None:
        opened.append(_in_the_name_of(requestor, accepted.assoc))

    events = [(evt.EVT_ACCEPTED, keep)]  # before pynetdicom goes on
    yield destination.host, destination.port, {**calls, "contexts": contexts_for(instances), "evt_handlers": events}
    yield len(instances)
    yield from sub_operations(event, node, instances, "move", lambda: opened[0])


def _in_the_name_of(requestor: str, association: Association) -> Association:
    """Let the C-STOREs of an association name who asked for the move as its originator, PS3.7 section 9.1.1.1.

    pynetdicom would name the node.
    """
    send = association.send_c_store

    def originated(dataset: Any, msg_id: int = 1, priority: int = 2, **originator: Any) -> Dataset:
        return send(dataset, msg_id, priority, **{**originator, "originator_aet": requestor})

    association.send_c_store = originated  # type: ignore[method-assign, assignment]
    return association


def contexts_for(instances: Sequence[StoredInstance]) -> list[PresentationContext]:
    """What is proposed to who is sent these: each class as it is stored, and without compression."""
    stored = {(one.sop_class_uid, one.transfer_syntax_uid): None for one in instances}
    return offered_contexts(stored)


def offered_contexts(stored: Iterator[tuple[str, str]] | dict[tuple[str, str], None]) -> list[PresentationContext]:
    """Contexts for pairs of class and transfer syntax, those without compression last, at most `MOST_CONTEXTS`."""
    pairs = list(stored)
    plain = {ExplicitVRLittleEndian, ImplicitVRLittleEndian}
    made = [build_context(sop_class, syntax) for sop_class, syntax in pairs]
    for sop_class in dict.fromkeys(sop_class for sop_class, _ in pairs):
        missing = [syntax for syntax in plain if (sop_class, syntax) not in pairs]
        made += [build_context(sop_class, syntax) for syntax in sorted(missing, reverse=True)]
    return made[:MOST_CONTEXTS]


def _with_reason(event: Event) -> None:
    """Put the status of a request that was refused at once into the response that pynetdicom is about to send."""
    message = event.message
    if not isinstance(message, C_MOVE_RSP) or message.command_set.Status != UNKNOWN_DESTINATION:
        return
    refused = _refused.pop(event.assoc, None)
    if refused is None:
        return
    if isinstance(refused, Dataset):
        message.command_set.Status = refused.Status
        message.command_set.ErrorComment = refused.ErrorComment
    else:
        message.command_set.Status = refused
    message._set_command_group_length()
