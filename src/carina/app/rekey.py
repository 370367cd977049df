"""Replace the key that signs messages, of a hub or a node, under the present one's signature.

The next keys are first written beside the key file (`….next`), then made known, then put in the file's place; what was
cut off is taken up again by the same command. The service must not run meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

from carina.app.hub import open_hub
from carina.app.processes import only_one
from carina.app.site import open_node
from carina.errors import BadSettings, Unreachable, WrongKey
from carina.federation.signing import SigningKey
from carina.hub.nodes import replace_hub_key
from carina.interfaces.nats.node_exchange import change_key, greet
from carina.interfaces.nats.transport import NatsTransport
from carina.model.keys import KEY_BYTES, KeyRing
from carina.node import membership
from carina.node.membership import JoinedHub
from carina.node.site import Node
from carina.settings import load_hub, load_node, read_keys, write_keys


def replace_hub_signing_key(folder: Path) -> Path:
    """Give the hub a new signing key; nodes follow at their next contact. Returns the key file: back it up anew."""
    settings = load_hub(folder)
    file = _key_file(settings.keys, folder)
    with only_one(folder):
        ring = _next_ring(file)
        try:
            with open_hub(folder, settings) as hub:
                replace_hub_key(hub, ring.signing)
        except WrongKey:  # it was made known before a cut; the records will say so when they are opened with it
            with open_hub(folder, settings.model_copy(update={"keys": f"file:{_next(file)}"})):
                pass
        _adopt(file)
    return file


def replace_node_signing_key(folder: Path) -> Path:
    """Give the node a new signing key, once each of its hubs has taken it. Returns the key file: back it up anew.

    Raises `Unreachable` when a hub does not answer; then the present key stays in force. Repeat the command later.
    """
    settings = load_node(folder)
    file = _key_file(settings.keys, folder)
    with only_one(folder):
        ring = _next_ring(file)
        try:
            with open_node(folder, settings) as node:
                asyncio.run(_tell_hubs(node, ring))
                membership.adopt_key(node, ring.signing)
        except WrongKey:
            with open_node(folder, settings.model_copy(update={"keys": f"file:{_next(file)}"})):
                pass
        _adopt(file)
    return file


async def _tell_hubs(node: Node, ring: KeyRing) -> None:
    later = replace(node, keys=ring, signing=SigningKey.from_seed(ring.signing))
    for hub in membership.list_hubs(node):
        if not (await _told(node, hub, ring) or await _knows(later, hub)):
            raise Unreachable(f"The hub {hub.title} did not take the new key.", "Repeat the command when it answers.")


async def _told(node: Node, hub: JoinedHub, ring: KeyRing) -> bool:
    line = _line(node, hub)
    try:
        return await change_key(node, hub, line, membership.key_change(node, hub.id, ring.signing))
    finally:
        await line.close()


async def _knows(node: Node, hub: JoinedHub) -> bool:
    line = _line(node, hub)
    try:
        return await greet(node, hub, line)
    finally:
        await line.close()


def _line(node: Node, hub: JoinedHub) -> NatsTransport:
    seed = membership.seed_for(node, hub.id)
    return NatsTransport(address=hub.broker, ca=hub.broker_ca, seed=seed, hub=hub.id, me=node.id)


def _key_file(reference: str, folder: Path) -> Path:
    kind, _, name = reference.partition(":")
    if kind != "file":
        raise BadSettings(
            "The keys of this service are not in a file, so they cannot be replaced here.",
            "Put them into a file for the replacement, and back afterwards.",
        )
    return folder / name


def _next(file: Path) -> Path:
    return file.with_name(f"{file.name}.next")


def _next_ring(file: Path) -> KeyRing:
    """The next keys: all but the signing key are the present ones. Those of a replacement that was cut off are kept."""
    if not _next(file).exists():
        present = read_keys(f"file:{file}", file.parent)
        write_keys(_next(file), replace(present, signing=os.urandom(KEY_BYTES)))
    return read_keys(f"file:{_next(file)}", file.parent)


def _adopt(file: Path) -> None:
    _next(file).replace(file)
    handle = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
