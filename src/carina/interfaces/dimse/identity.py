"""Who asks by DIMSE: a researcher whom a hub has handed over, by User Identity Negotiation (PS3.7 section D.3.3.7).

The user name is the account at the hub, the passcode the secret of a program's visit. Who shows neither is a sender,
and finds and fetches nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from pynetdicom.events import Event

from carina.interfaces.dimse.bounds import MAX_READERS, BoundedAssociation
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


def reader_of(event: Event, node: Node) -> Reader:
    """Who asks, and what they may fetch; one use of their permit. Raises `PermitDenied`, audited."""
    who, dataset = _visitor(event, node)
    return Reader(who, authorise(node, who, dataset, "retrieve", door=DOOR))


def ask_again(event: Event, node: Node) -> None:
    """Raise `PermitDenied`, audited, when a request under way may not go on."""
    who, dataset = _visitor(event, node)
    check(node, who, dataset, "retrieve", door=DOOR)


def _visitor(event: Event, node: Node) -> tuple[Principal, str | None]:
    """The visit's person and its dataset, as long as the visit lasts."""
    secret = cast(BoundedAssociation, event.assoc).secret
    found = visit(node, secret) if secret else None
    return (NOBODY, None) if found is None else (found.principal, found.dataset)


def _readers(association: BoundedAssociation) -> int:
    """How many associations have shown a visit."""
    others = association._server.active_associations if association._server else ()
    return sum(isinstance(other, BoundedAssociation) and bool(other.secret) for other in others)


def _text(field: bytes | None) -> str:
    return (field or b"").decode(errors="replace")
