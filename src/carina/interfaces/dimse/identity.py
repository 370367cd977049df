"""Who asks by DIMSE: a researcher whom a hub has handed over, by User Identity Negotiation (PS3.7 section D.3.3.7), or
a peer of the node's settings (`peers`).

The user name is the account at the hub, the passcode the secret of a program's visit. Who shows neither and is no peer
is a sender, and finds and fetches nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from pynetdicom.events import Event

from carina.interfaces.dimse import peers
from carina.interfaces.dimse.bounds import MAX_READERS, BoundedAssociation
from carina.interfaces.dimse.peers import Operation
from carina.model.permit import Action
from carina.model.principal import Principal
from carina.node.authorise import Grant, authorise, check
from carina.node.site import Node
from carina.node.visits import visit

DOOR = "dimse"
NOBODY = Principal("unknown", "", frozenset())
"""Who has shown no visit, or one that is over."""

_NAME_AND_PASSCODE = 2


@dataclass(frozen=True)
class Reader:
    """Someone who may fetch, and what."""

    who: Principal
    grant: Grant


def identify(event: Event, node: Node) -> tuple[bool, None]:
    """Whether the association may be: a name with the passcode of that person's visit. Other kinds of identity are not
    known here, and pass as none."""
    association, shown = cast(BoundedAssociation, event.assoc), cast(Any, event)
    if shown.user_id_type != _NAME_AND_PASSCODE:
        return True, None
    name, secret = _text(shown.primary_field), _text(shown.secondary_field)
    found = visit(node, secret) if secret else None
    reason = "unknown-visit" if found is None else "foreign-subject" if found.principal.subject != name else ""
    if not reason and _readers(association) >= MAX_READERS:
        reason = "too-many"
    if reason:
        node.audit.append("visit-refused", "unknown", node.id, reason=reason, door=DOOR)
        return False, None
    association.secret = secret
    return True, None


def reader_of(event: Event, node: Node, operation: Operation) -> Reader:
    """Who asks, and what they may touch; one use of their permit. Raises `PermitDenied`, audited."""
    who, dataset, action = _asker(event, node, operation)
    return Reader(who, authorise(node, who, dataset, action, door=DOOR))


def ask_again(event: Event, node: Node, operation: Operation) -> None:
    """Raise `PermitDenied`, audited, when a request under way may not go on."""
    who, dataset, action = _asker(event, node, operation)
    check(node, who, dataset, action, door=DOOR)


def _asker(event: Event, node: Node, operation: Operation) -> tuple[Principal, str | None, Action]:
    """The visit's person and its dataset, as long as the visit lasts; or else the peer.

    A permit is for whom it was given to: a researcher has nothing moved to somebody else.
    """
    secret = cast(BoundedAssociation, event.assoc).secret
    if secret:
        found = visit(node, secret) if operation != "move" else None
        return (NOBODY, None, "retrieve") if found is None else (found.principal, found.dataset, "retrieve")
    peer = peers.known(node, *peers.calling(event))
    if peer is None:
        return NOBODY, None, "retrieve"
    return peers.principal(node, peer, operation), None, peers.ACTIONS[operation]


def _readers(association: BoundedAssociation) -> int:
    """How many associations have shown a visit."""
    others = association._server.active_associations if association._server else ()
    return sum(isinstance(other, BoundedAssociation) and bool(other.secret) for other in others)


def _text(field: bytes | None) -> str:
    return (field or b"").decode(errors="replace")
