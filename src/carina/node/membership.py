"""The hubs that a node has joined: joining by invitation, greeting, following a hub's key, leaving."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, delete, func, insert, select, update

from carina.errors import BadInput, BadSettings, InvalidInvitation, InvalidMessage, NotFound
from carina.federation import wire
from carina.federation.brokerkeys import broker_name, broker_seed
from carina.federation.invitation import Invitation, fingerprint, parse_invitation, prove, proves
from carina.federation.keychange import follow, next_node_key
from carina.federation.messages import Message, Sealed, open_message, seal_message
from carina.federation.permitkeys import permit_public_key
from carina.federation.signing import Jwk, SigningKey, peek, public_key, thumbprint, verify
from carina.model.clock import now, stamp
from carina.model.dataset import DatasetDescription
from carina.model.ids import HubId
from carina.model.keys import check_value, derive
from carina.node.site import Node
from carina.storage.schema import datasets, hubs, node_tables, permit_states, permits
from carina.storage.seen import first_time

Post = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Posts JSON to an address and gives the JSON answer; raises a `CarinaError` for any other answer."""

WITHDRAWN = {"left": "This node left the hub.", "removed": "The hub removed this node."}
"""Why a hub's permits are withdrawn when the membership ends."""

_key_checks = node_tables.tables["key_checks"]
_audit = node_tables.tables["audit"]
T = TypeVar("T", bound=wire.Record)


@dataclass(frozen=True)
class JoinedHub:
    """A hub as this node knows it. `state`: joined, left or removed; `last_contact`: UTC, of its last genuine word.

    `permit_key`: signs its permits, taken when joining; None when that was before there were permits.
    """

    id: HubId
    title: str
    url: str
    broker: str
    broker_ca: str
    key: Jwk
    joined_at: str
    state: str
    last_contact: str | None
    permit_key: Jwk | None


def join(node: Node, invitation_text: str, post: Post) -> JoinedHub:
    """Join the hub of an invitation, and give what is now known of it.

    post    sends the request to the hub's `/federation/join`

    Raises `InvalidInvitation` when the invitation is damaged, expired, or the hub is not the one it names.
    """
    invitation = parse_invitation(invitation_text)
    if invitation.expires <= now():
        raise InvalidInvitation("This invitation has expired.")
    named = {
        "hub": invitation.hub,
        "hub_key": invitation.key,
        "node": node.id,
        "key": node.signing.public_jwk,
        "nkey": broker_name(seed_for(node, invitation.hub)),
        "expires": stamp(invitation.expires),
    }
    facts = _of_node(node, wire.JoinFacts, named)
    signed = node.signing.sign(wire.write(facts)).decode()
    request = wire.Proven(invitation=invitation.id, signed=signed, proof=prove(invitation.proof_key, "node", signed))
    answer = post(f"{invitation.url.rstrip('/')}/federation/join", wire.write(request))
    reply = _checked(node, invitation, request, answer)
    return _remember(node, invitation, reply)


def _checked(node: Node, invitation: Invitation, request: wire.Proven, answer: object) -> wire.JoinReply:
    """The hub's reply, if it comes from who made the invitation and speaks of this request."""
    stranger = InvalidInvitation("The answer is not from the hub that made this invitation.")
    try:
        proven = wire.read(wire.Proven, answer)
        claimed = wire.read(wire.JoinReply, peek(proven.signed.encode())[1])
        key = public_key(wire.write(claimed.key))
        reply = wire.read(wire.JoinReply, verify(proven.signed.encode(), key))
        permit_public_key(wire.write(reply.permit_key))
    except InvalidMessage as error:
        raise stranger from error
    facts = (reply.hub, thumbprint(key), reply.node, reply.node_key, reply.expires, reply.request)
    if (
        not proves(invitation.proof_key, "hub", proven.signed, proven.proof)
        or facts
        != (
            invitation.hub,
            invitation.key,
            node.id,
            node.signing.thumbprint,
            stamp(invitation.expires),
            hashlib.sha256(request.signed.encode()).hexdigest(),
        )
        or fingerprint(reply.broker_ca) != invitation.broker_ca
    ):
        raise stranger
    return reply


def _remember(node: Node, invitation: Invitation, reply: wire.JoinReply) -> JoinedHub:
    row = {
        "title": reply.title,
        "url": invitation.url,
        "broker": reply.broker,
        "broker_ca": reply.broker_ca,
        "key": wire.write(reply.key),
        "permit_key": wire.write(reply.permit_key),
        "joined_at": stamp(),
        "state": "joined",
        "last_contact": stamp(),
    }
    with node.engine.begin() as connection:
        before = connection.execute(select(hubs.c.permit_key).where(hubs.c.id == reply.hub)).one_or_none()
        if before is None:
            connection.execute(insert(hubs), {"id": reply.hub, **row})
        else:
            connection.execute(update(hubs).where(hubs.c.id == reply.hub).values(**row))
            if before.permit_key != row["permit_key"]:  # its numbers begin anew
                connection.execute(delete(permit_states).where(permit_states.c.hub == reply.hub))
        node.audit.append("hub-joined", node.id, reply.hub, connection, invitation=invitation.id)
    return get_hub(node, reply.hub)


def list_hubs(node: Node, *, joined_only: bool = True) -> list[JoinedHub]:
    """The hubs by title; with `joined_only` false also those that were left or have removed this node."""
    wanted = select(hubs).order_by(hubs.c.title, hubs.c.id)
    if joined_only:
        wanted = wanted.where(hubs.c.state == "joined")
    with node.engine.connect() as connection:
        return [JoinedHub(**row) for row in connection.execute(wanted).mappings()]


def get_hub(node: Node, hub: str) -> JoinedHub:
    """One hub, whatever its state. `NotFound` when this node never joined it."""
    with node.engine.connect() as connection:
        row = connection.execute(select(hubs).where(hubs.c.id == hub)).mappings().one_or_none()
    if row is None:
        raise NotFound("This node has not joined such a hub.", "Join it with an invitation of its operator.")
    return JoinedHub(**row)


def leave(node: Node, hub: str, actor: str = "operator") -> None:
    """Leave a hub; the connection says good-bye and ends. `NotFound` when it was never joined."""
    end(node, get_hub(node, hub).id, "left", actor)


def end(node: Node, hub: str, state: Literal["left", "removed"], actor: str) -> None:
    """Note that the membership is over: `left` by this node or `removed` by the hub. Its permits end with it.

    They stay withdrawn when the hub is joined again: who is to have one then, the hub grants anew.
    """
    with node.engine.begin() as connection:
        connection.execute(update(hubs).where(hubs.c.id == hub).values(state=state))
        withdrawn = _withdraw_permits(connection, hub, actor, WITHDRAWN[state])
        said = {"withdrawn": withdrawn} if withdrawn else {}
        node.audit.append(f"hub-{state}", actor, hub, connection, **said)


def _withdraw_permits(connection: Connection, hub: str, actor: str, reason: str) -> int:
    """How many permits of the hub were withdrawn: those that had not expired, and were not refused before."""
    open_ = permits.c.state.in_(("waiting", "agreed")) & (permits.c.expires_at > stamp())
    word = {"state": "withdrawn", "reason": reason, "countersignature": None, "decided_by": actor}
    ended = update(permits).where(permits.c.hub == hub, open_).values(**word, decided_at=stamp())
    return connection.execute(ended).rowcount


def seed_for(node: Node, hub: str) -> str:
    """The secret nkey by which the hub's broker knows this node; another for each hub."""
    return broker_seed(derive(node.keys.signing, "nkey", hub))


def seal(node: Node, hub: str, body: wire.Body, re: str | None = None) -> Sealed:
    """A message of this node to a hub."""
    return seal_message(node.signing, body, hub=hub, sender=node.id, to=hub, re=re)


def open_from(node: Node, hub: JoinedHub, data: bytes, answers: str | None = None) -> Message:
    """A message of a hub, genuine and new; a hub whose key has changed is followed by the chain it sends.

    Raises `InvalidMessage`.
    """
    key = _key_of(hub, data)
    message = open_message(
        data,
        me=node.id,
        hub=hub.id,
        sender=hub.id,
        keys_of=lambda party: key if party == hub.id and hub.state == "joined" else None,
        first_time=lambda party, nonce, expires: first_time(node.engine, party, nonce, expires),
        answers=answers,
    )
    with node.engine.begin() as connection:
        connection.execute(update(hubs).where(hubs.c.id == hub.id).values(key=key, last_contact=stamp()))
        if key != hub.key:
            names = {"old": thumbprint(hub.key), "new": thumbprint(key)}
            node.audit.append("hub-key-followed", hub.id, hub.id, connection, **names)
    return message


def _key_of(hub: JoinedHub, data: bytes) -> Jwk:
    """The key to check a hub's message with: the known one, or where a `Welcome`'s chain leads from it."""
    header, payload = peek(data)
    body = payload.get("body")
    if header.get("kid") == thumbprint(hub.key) or not isinstance(body, dict) or not body.get("chain"):
        return hub.key
    welcome = wire.read(wire.Welcome, body)
    return follow(hub.key, welcome.chain, hub.id)


def hello(node: Node, hub: JoinedHub, published: list[DatasetDescription]) -> Sealed:
    """The greeting that a node sends when it connects and then every 20 s."""
    digests = {dataset.iri: dataset.digest for dataset in published}
    body = _of_node(node, wire.Hello, {"knows": thumbprint(hub.key), "datasets": digests})
    return seal(node, hub.id, body)


def _of_node(node: Node, shape: type[T], more: dict[str, Any]) -> T:
    """A record with what the node says of itself. `BadSettings` when that cannot go into a message."""
    itself = {
        "title": node.title,
        "institution": node.institution,
        "country": node.country,
        "public_url": node.public_url,
    }
    try:
        return wire.read(shape, {**itself, **more})
    except InvalidMessage as error:
        raise BadSettings(
            "The node's title, institution, country or public address cannot go into a message.",
            "Use plain texts of at most 200 characters, a country of two capitals, and an http(s) address.",
        ) from error


def read_welcome(node: Node, hub: JoinedHub, asked: Sealed, answer: bytes) -> wire.Welcome:
    """The hub's answer to a hello. Raises `InvalidMessage` when it is none."""
    message = open_from(node, hub, answer, answers=asked.nonce)
    if not isinstance(message.body, wire.Welcome):
        raise InvalidMessage("The hub's answer is none to a greeting.")
    _follow_address(node, hub, message.body)
    return message.body


def _follow_address(node: Node, hub: JoinedHub, welcome: wire.Welcome) -> None:
    """Keep the hub's title and address as it says them now; a change is audited."""
    values = {"title": welcome.title, "url": welcome.url}
    if values != {"title": hub.title, "url": hub.url}:
        with node.engine.begin() as connection:
            connection.execute(update(hubs).where(hubs.c.id == hub.id).values(**values))
            node.audit.append("hub-renamed", hub.id, hub.id, connection)


def read_done(node: Node, hub: JoinedHub, asked: Sealed, answer: bytes) -> None:
    """Check that the hub took a message in. Raises `InvalidMessage`, or `BadInput` with the hub's word of refusal."""
    body = open_from(node, hub, answer, answers=asked.nonce).body
    if isinstance(body, wire.Refusal):
        raise BadInput(f"The hub refuses the message: {body.reason}.", "Ask the hub's operator what it does not take.")
    if not isinstance(body, wire.Done):
        raise InvalidMessage("The hub's answer is none to this message.")


def description(dataset: DatasetDescription) -> wire.Description:
    """A dataset's description as a message says it. Raises `InvalidMessage` if it shows a count below its threshold."""
    groups = {
        name: [{"value": group.value, "patients": group.patients} for group in groups]
        for name, groups in dataset.groups.items()
    }
    plain = {name: value for name, value in vars(dataset).items() if name not in ("groups", "terms")}
    return wire.read(wire.Description, {**plain, "groups": groups, "terms": vars(dataset.terms)})


def key_change(node: Node, hub: str, master: bytes) -> Sealed:
    """The message that tells a hub this node's next key, signed with the present one.

    master  the next `KeyRing.signing`, from which the next nkey is derived as well

    Once every hub has answered `Done`, `adopt_key`.
    """
    nkey = broker_name(broker_seed(derive(master, "nkey", hub)))
    return seal(node, hub, next_node_key(node.signing, SigningKey.from_seed(master), nkey, hub, node.id))


def adopt_key(node: Node, master: bytes, actor: str = "operator") -> None:
    """Recognise the next `KeyRing.signing` at the next start, in the present one's place."""
    with node.engine.begin() as connection:
        checked = update(_key_checks).where(_key_checks.c.name == "signing")
        connection.execute(checked.values(check=check_value(master)))
        new = SigningKey.from_seed(master).thumbprint
        node.audit.append("node-key-changed", actor, node.id, connection, old=node.signing.thumbprint, new=new)


def published_marks(node: Node) -> tuple[tuple[str, str | None], ...]:
    """Which datasets are published and since when: changes as soon as one is published or withdrawn.

    And as soon as a person was forgotten or merged, so that hubs do not describe them until the next greeting.
    """
    wanted = select(datasets.c.iri, datasets.c.published_at).where(datasets.c.state == "published")
    changed = select(func.max(_audit.c.at)).where(_audit.c.action.in_(("person-forgotten", "patients-merged")))
    with node.engine.connect() as connection:
        marks = tuple((row.iri, row.published_at) for row in connection.execute(wanted.order_by(datasets.c.iri)))
        return (*marks, ("", connection.execute(changed).scalar()))
