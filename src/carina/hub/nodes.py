"""The nodes of a hub: inviting them, letting them join, seeing them, removing them."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from carina.errors import BadInput, BadSettings, Conflict, InvalidInvitation, InvalidMessage, NotFound
from carina.federation import wire
from carina.federation.invitation import SECRET_BYTES, Invitation, fingerprint, prove, proves
from carina.federation.keychange import check_node_key, next_hub_key
from carina.federation.signing import Jwk, SigningKey, party_id, peek, public_key, thumbprint, verify
from carina.hub.centre import Hub
from carina.model.clock import now, parse_stamp, stamp
from carina.model.ids import NodeId
from carina.model.keys import check_value
from carina.storage.hub_schema import catalogue, hub_tables, invitations, key_changes, nodes

ONLINE_FOR = timedelta(seconds=60)
LONGEST_INVITATION = 24 * 30  # hours

_key_checks = hub_tables.tables["key_checks"]
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubNode:
    """A node as its hub knows it. `state`: joined, left or removed; `last_seen`: UTC, None before its first hello."""

    id: NodeId
    title: str
    institution: str
    country: str
    key: Jwk
    nkey: str
    public_url: str | None
    joined_at: str
    last_seen: str | None
    state: str

    def online(self, at: datetime | None = None) -> bool:
        """Whether it was heard of within the last minute."""
        return (
            self.state == "joined"
            and self.last_seen is not None
            and (at or now()) - parse_stamp(self.last_seen) < ONLINE_FOR
        )


def invite(hub: Hub, hours: float, actor: str = "operator") -> str:
    """A new invitation's text, good for one node and this many hours (at most 30 days).

    Raises `BadInput` for other hours, `BadSettings` when nodes could not reach the broker.
    """
    require_reachable(hub)
    if not 0 < hours <= LONGEST_INVITATION:
        raise BadInput("An invitation is good for more than 0 and at most 720 hours.")
    invitation = Invitation(
        hub=hub.id,
        key=hub.signing.thumbprint,
        url=hub.url,
        broker_ca=fingerprint(hub.broker_ca),
        secret=secrets.token_bytes(SECRET_BYTES),
        expires=now() + timedelta(hours=hours),
    )
    row = {
        "id": invitation.id,
        "proof_key": invitation.proof_key.hex(),
        "created_at": stamp(),
        "expires_at": stamp(invitation.expires),
    }
    with hub.engine.begin() as connection:
        connection.execute(insert(invitations), row)
        hub.audit.append("invited", actor, invitation.id, connection, expires=row["expires_at"])
    return invitation.text()


def require_reachable(hub: Hub) -> None:
    """Raise `BadSettings` when people reach the hub from elsewhere, but nodes would be told a loopback address."""
    broker = hub.broker.rpartition(":")[0]
    if _is_loopback(broker) and not _is_loopback(urlsplit(hub.url).hostname or ""):
        raise BadSettings(
            "Nodes on other machines could not reach this hub's broker: its address is this machine's own.",
            "In hub.toml, name it in broker_names, and let [broker] host listen beyond loopback.",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def accept_join(hub: Hub, request: object) -> dict[str, Any]:
    """Let the node join that sends this, and answer with what it needs; an invitation is good once, also in a race.

    Raises `InvalidInvitation` (used, expired, another hub's, unknown, of a removed node) or `InvalidMessage`.
    """
    proven = wire.read(wire.Proven, request)
    facts = _facts(proven)
    if facts.hub != hub.id:
        raise InvalidInvitation(
            "This invitation is another hub's.", "Use it at the hub that made it, or ask this hub's operator for one."
        )
    if facts.hub_key != hub.signing.thumbprint:
        raise InvalidInvitation("This invitation was made before the hub's key changed.")
    try:
        with hub.engine.begin() as connection:
            proof_key = _use(connection, proven, facts)
            _admit(connection, facts, hub.nkey)
            hub.audit.append("node-joined", facts.node, facts.node, connection, invitation=proven.invitation)
    except IntegrityError as error:
        raise InvalidInvitation("Another node of this hub has the same broker key.") from error
    except InvalidInvitation:
        _note_refused(hub, proven.invitation, facts.node)
        raise
    reply = wire.JoinReply(
        hub=hub.id,
        key=wire.read(wire.Jwk, hub.signing.public_jwk),
        node=facts.node,
        node_key=thumbprint(wire.write(facts.key)),
        nkey=facts.nkey,
        expires=facts.expires,
        request=hashlib.sha256(proven.signed.encode()).hexdigest(),
        title=hub.title,
        broker=hub.broker,
        broker_ca=hub.broker_ca,
        permit_key=wire.read(wire.PermitJwk, hub.permit_key.public_jwk),
    )
    signed = hub.signing.sign(wire.write(reply)).decode()
    return wire.write(wire.Proven(invitation=proven.invitation, signed=signed, proof=prove(proof_key, "hub", signed)))


def _facts(proven: wire.Proven) -> wire.JoinFacts:
    """What the node says, signed with the key it names."""
    token = proven.signed.encode()
    claimed = wire.read(wire.JoinFacts, peek(token)[1])
    return wire.read(wire.JoinFacts, verify(token, public_key(wire.write(claimed.key))))


def _use(connection: Connection, proven: wire.Proven, facts: wire.JoinFacts) -> bytes:
    """Mark the invitation used, and give its proof key; what is raised undoes the mark."""
    this = invitations.c.id == proven.invitation
    open_still = this & invitations.c.used_at.is_(None) & (invitations.c.expires_at > stamp())
    taken = connection.execute(update(invitations).where(open_still).values(used_at=stamp(), used_by=facts.node))
    row = connection.execute(select(invitations).where(this)).one_or_none()
    if row is None:
        raise InvalidInvitation("This hub does not know the invitation.")
    proof_key = bytes.fromhex(row.proof_key)
    if not proves(proof_key, "node", proven.signed, proven.proof) or facts.expires != row.expires_at:
        raise InvalidInvitation("The proof that comes with the invitation does not hold.")
    if taken.rowcount == 1:
        return proof_key
    if row.expires_at <= stamp():
        raise InvalidInvitation("This invitation has expired.")
    raise InvalidInvitation("This invitation was used before; it is good for one node.")


def _admit(connection: Connection, facts: wire.JoinFacts, hub_nkey: str) -> None:
    key = wire.write(facts.key)
    values = {
        "title": facts.title,
        "institution": facts.institution,
        "country": facts.country,
        "key": key,
        "nkey": facts.nkey,
        "public_url": facts.public_url,
        "joined_at": stamp(),
        "state": "joined",
    }
    if facts.nkey == hub_nkey or _is_taken(connection, facts.node, facts.nkey):
        raise InvalidInvitation("Another node of this hub has the same broker key.", "Give each node its own keys.")
    known = connection.execute(select(nodes).where(nodes.c.id == facts.node)).one_or_none()
    if known is None:
        if facts.node != party_id(key, "n"):
            raise InvalidInvitation("The node's id is not made from its key.", "Give the node its own key file.")
        connection.execute(insert(nodes), {"id": facts.node, **values})
        return
    if known.state == "removed":
        raise InvalidInvitation("This node was removed from the hub.", "The node needs new keys to join as a new one.")
    if known.key != key:
        raise InvalidInvitation("The hub knows this node by another key.", "Start the node with its present keys.")
    connection.execute(update(nodes).where(nodes.c.id == facts.node).values(**values))


def _is_taken(connection: Connection, node: str, nkey: str) -> bool:
    """Whether another node connects by this nkey. Two that shared it would keep each other from the broker."""
    others = select(nodes.c.id).where(nodes.c.nkey == nkey, nodes.c.id != node, nodes.c.state == "joined")
    return connection.execute(others).first() is not None


def _note_refused(hub: Hub, invitation: str, node: str) -> None:
    """Audit a refusal if the invitation is one of ours; anyone can post any other, and could fill the trail."""
    with hub.engine.begin() as connection:
        if connection.execute(select(invitations.c.id).where(invitations.c.id == invitation)).first():
            hub.audit.append("join-refused", node, invitation, connection)
    _log.warning("join-refused", extra={"node": node})


def list_nodes(hub: Hub, *, joined_only: bool = True) -> list[HubNode]:
    """The nodes by title; with `joined_only` false also those that left or were removed."""
    wanted = select(nodes).order_by(nodes.c.title, nodes.c.id)
    if joined_only:
        wanted = wanted.where(nodes.c.state == "joined")
    with hub.engine.connect() as connection:
        return [HubNode(**row) for row in connection.execute(wanted).mappings()]


def get_node(hub: Hub, node: str) -> HubNode:
    """One node, whatever its state. `NotFound` when the hub never had it."""
    with hub.engine.connect() as connection:
        row = connection.execute(select(nodes).where(nodes.c.id == node)).mappings().one_or_none()
    if row is None:
        raise NotFound("This hub has no such node.", "`carina hub nodes` lists them.")
    return HubNode(**row)


def key_of(hub: Hub, node: str) -> Jwk | None:
    """The key in force of a joined node; None for any other party."""
    wanted = select(nodes.c.key).where(nodes.c.id == node, nodes.c.state == "joined")
    with hub.engine.connect() as connection:
        key: Jwk | None = connection.execute(wanted).scalar_one_or_none()
    return key


def seen(hub: Hub, node: str, hello: wire.Hello) -> None:
    """Note that a node is there, and what it calls itself now; a change of that is audited."""
    values = hello.model_dump(include={"title", "institution", "country", "public_url"})
    this = nodes.c.id == node
    with hub.engine.begin() as connection:
        before = connection.execute(select(*(nodes.c[name] for name in values)).where(this)).mappings().one()
        changed = sorted(name for name, value in values.items() if before[name] != value)
        connection.execute(update(nodes).where(this).values(last_seen=stamp(), **values))
        if changed:
            hub.audit.append("node-renamed", node, node, connection, changed=changed)


def remove(hub: Hub, node: str, actor: str = "operator") -> None:
    """Put a node out: its messages are refused from now on, its datasets leave the catalogue. `NotFound` if unknown."""
    _end(hub, get_node(hub, node).id, "removed", actor)


def left(hub: Hub, node: str) -> None:
    """A node said good-bye; it may come back with a new invitation."""
    _end(hub, node, "left", node)


def _end(hub: Hub, node: str, state: str, actor: str) -> None:
    with hub.engine.begin() as connection:
        connection.execute(update(nodes).where(nodes.c.id == node).values(state=state))
        connection.execute(update(catalogue).where(catalogue.c.node == node).values(state="withdrawn"))
        hub.audit.append(f"node-{state}", actor, node, connection)


def replace_node_key(hub: Hub, node: str, change: wire.KeyChange) -> None:
    """A node's next key and nkey; the message was signed with its present one.

    Raises `InvalidMessage` if unproven, `Conflict` when the nkey is another's.
    """
    present = key_of(hub, node)
    if present is None:
        raise InvalidMessage("The message's sender is not known here.", reason="unknown-sender")
    following = check_node_key(change, present, hub.id, node)
    with hub.engine.begin() as connection:
        if change.nkey == hub.nkey or _is_taken(connection, node, change.nkey):
            raise Conflict("Another party of this hub has the same broker key.", "Give each node its own keys.")
        this = (nodes.c.id == node) & (nodes.c.state == "joined")
        connection.execute(update(nodes).where(this).values(key=following, nkey=change.nkey))
        hub.audit.append("node-key-changed", node, node, connection, old=thumbprint(present), new=thumbprint(following))


def replace_hub_key(hub: Hub, master: bytes, actor: str = "operator") -> None:
    """State the hub's next key under its present one; nodes follow. The hub must then be started with the next.

    master  the next `KeyRing.signing`; its check value takes the present one's place in the records
    """
    new = SigningKey.from_seed(master)
    with hub.engine.begin() as connection:
        number = connection.execute(select(func.coalesce(func.max(key_changes.c.number), 0))).scalar_one() + 1
        statement = next_hub_key(hub.signing, new, hub.id, number)
        connection.execute(insert(key_changes), {"number": number, "statement": statement, "at": stamp()})
        checked = update(_key_checks).where(_key_checks.c.name == "signing")
        connection.execute(checked.values(check=check_value(master)))
        hub.audit.append("hub-key-changed", actor, hub.id, connection, new=new.thumbprint)


def key_chain(hub: Hub) -> tuple[str, ...]:
    """Every change of the hub's key, in order, for a node that knows an earlier one."""
    with hub.engine.connect() as connection:
        return tuple(connection.execute(select(key_changes.c.statement).order_by(key_changes.c.number)).scalars())
