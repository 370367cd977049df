"""DICOM applications that the node knows, `[[peers]]` of its settings: who calls, what it may do, and how it is called.

An AE title is a name that anybody can give. A peer is known by it together with the addresses from which it may call,
and, where the listener asks for certificates, by one of those. What a peer may do is judged by `node.authorise`, as a
service; nothing is allowed that its entry does not name.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from typing import Any, Literal

from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.presentation import PresentationContext

from carina.errors import BadSettings, Unreachable
from carina.model.instance import Peer
from carina.model.permit import Action
from carina.model.principal import Principal, Service
from carina.node.site import Node

Operation = Literal["find", "get", "move", "commit"]
ACTIONS: dict[Operation, Action] = {"find": "view", "get": "retrieve", "move": "retrieve"}
"""Which action of `node.authorise` each operation is: a search belongs to both."""

CONNECT_WITHIN = 10.0  # s in which a peer must take a connection, and answer to an association
_ANSWER_WITHIN = 60.0  # s in which it must answer to a message
_MAX_PDU = 131_072  # bytes


def calling(event: Event) -> tuple[str, str]:
    """AE title and address of who has called."""
    requestor = event.assoc.requestor
    primitive = requestor.primitive
    title = requestor.ae_title if primitive is None else primitive.calling_ae_title
    return str(title).strip(), requestor.address


def known(node: Node, title: str, address: str) -> Peer | None:
    """The peer of this AE title, when it calls from an address that is its own."""
    peer = node.peers.get(title)
    return peer if peer is not None and _is_own(peer, address) else None


def is_impostor(node: Node, title: str, address: str) -> bool:
    """Whether a peer's AE title is used from an address that is not its own."""
    peer = node.peers.get(title)
    return peer is not None and not _is_own(peer, address)


def principal(node: Node, peer: Peer, operation: Operation) -> Principal:
    """The peer as `node.authorise` judges it: with this operation's action, if its entry names the operation."""
    actions = frozenset({ACTIONS[operation]} if operation in peer.may and operation in ACTIONS else ())
    datasets = frozenset({peer.dataset} if peer.dataset else ())
    service = Service(actions, datasets)
    return Principal(subject(peer), node.id, frozenset({"service"}), peer.ae_title, service=service)


def subject(peer: Peer) -> str:
    """What the audit trail calls it."""
    return f"peer:{peer.ae_title}"


def associate(
    peer: Peer,
    contexts: Sequence[PresentationContext],
    *,
    caller: str,
    tls: ssl.SSLContext | None = None,
    items: Sequence[Any] = (),
    events: Sequence[Any] = (),
) -> Association:
    """An association with a peer at its `host` and `port`, established, which the caller releases.

    caller   the AE title that asks
    tls      for peers that speak TLS
    items    of extended negotiation

    Raises `BadSettings` for a peer without host and port, or with TLS that is not set up here; `Unreachable`.
    """
    entity = AE(ae_title=caller)
    entity.connection_timeout = entity.acse_timeout = CONNECT_WITHIN
    entity.dimse_timeout = entity.network_timeout = _ANSWER_WITHIN
    entity.maximum_pdu_size = _MAX_PDU
    made = entity.associate(
        peer.host,
        peer.port,
        contexts=list(contexts),
        ext_neg=list(items),
        evt_handlers=list(events),
        **options(peer, tls),
    )
    if not made.is_established:
        why = "refuses the association" if made.is_rejected else "does not answer"
        raise Unreachable(f"The DICOM application {why}.", "Check its host, port, AE titles and TLS, there and here.")
    return made


def options(peer: Peer, tls: ssl.SSLContext | None) -> dict[str, Any]:
    """How `AE.associate` calls this peer. Raises `BadSettings`; see `associate`."""
    if not peer.host or not peer.port:
        raise BadSettings("This peer has no host and port.", "Add both to its entry of [[peers]] in node.toml.")
    if peer.tls and tls is None:
        raise BadSettings("This peer speaks TLS, and none is set up here.", "Add [dimse.tls] to node.toml.")
    secured: dict[str, Any] = {"tls_args": (tls, peer.host)} if peer.tls else {}
    return {"ae_title": peer.ae_title, "max_pdu": _MAX_PDU, **secured}


def _is_own(peer: Peer, address: str) -> bool:
    """Whether it may call from there; from anywhere, where its entry names no address."""
    if not peer.addresses:
        return True
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return any((mapped or found) in ipaddress.ip_network(network) for network in peer.addresses)
