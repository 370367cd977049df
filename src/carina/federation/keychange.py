"""A key replaced under the old one's signature; each next key also proves that its holder has it."""

from __future__ import annotations

from collections.abc import Sequence

from carina.errors import InvalidMessage
from carina.federation import wire
from carina.federation.signing import Jwk, SigningKey, peek, public_key, thumbprint, verify


def next_hub_key(old: SigningKey, new: SigningKey, hub: str, number: int) -> str:
    """The statement by which nodes follow a hub to its next key; `number` is 1 for the first change."""
    held = wire.HubPossession(hub=hub, number=number, old=old.thumbprint, new=new.thumbprint)
    statement = wire.NextKey(
        hub=hub,
        number=number,
        old=old.thumbprint,
        key=wire.read(wire.Jwk, new.public_jwk),
        proof=new.sign(wire.write(held)).decode(),
    )
    return old.sign(wire.write(statement)).decode()


def follow(known: Jwk, chain: Sequence[str], hub: str) -> Jwk:
    """The hub's key in force, from the one that is known and the hub's statements in order.

    Raises `InvalidMessage` (forged) when a link does not hold or none begins at the known key.
    """
    current, started = known, False
    for statement in chain:
        _, claimed = peek(statement.encode())
        if not started and claimed.get("old") != thumbprint(known):
            continue
        started = True
        link = wire.read(wire.NextKey, verify(statement.encode(), current))
        following = public_key(wire.write(link.key))
        held = wire.read(wire.HubPossession, verify(link.proof.encode(), following))
        facts = (hub, link.number, thumbprint(current), thumbprint(following))
        if (link.hub, link.old) != (hub, thumbprint(current)) or (held.hub, held.number, held.old, held.new) != facts:
            raise InvalidMessage("A change of the hub's key does not hold.", reason="forged")
        current = following
    if not started:
        raise InvalidMessage("The hub's key is not the one that is known here, nor follows from it.", reason="forged")
    return current


def next_node_key(old: SigningKey, new: SigningKey, nkey: str, hub: str, node: str) -> wire.KeyChange:
    """The message body by which a node tells a hub its next key and nkey; to be sealed with the old key."""
    held = wire.Possession(hub=hub, node=node, old=old.thumbprint, new=new.thumbprint)
    return wire.KeyChange(key=wire.read(wire.Jwk, new.public_jwk), nkey=nkey, proof=new.sign(wire.write(held)).decode())


def check_node_key(body: wire.KeyChange, old: Jwk, hub: str, node: str) -> Jwk:
    """The node's next key, whose possession is proven. Raises `InvalidMessage` (forged) otherwise."""
    following = public_key(wire.write(body.key))
    held = wire.read(wire.Possession, verify(body.proof.encode(), following))
    if (held.hub, held.node, held.old, held.new) != (hub, node, thumbprint(old), thumbprint(following)):
        raise InvalidMessage("The proof of the next key is for another change.", reason="forged")
    return following
