"""The way back from a pseudonym, for whoever holds the node's keys."""

from __future__ import annotations

from carina.deid.evidence.reveal import Original
from carina.errors import NotFound
from carina.node.site import Node


def reveal(node: Node, actor: str, pseudonym: str) -> list[Original]:
    """What a patient's pseudonym or a UID of a clean image stands for; the look is audited first, whatever it finds.

    Raises `NotFound` for what the map does not have, and where the site keeps none.
    """
    if node.way_back is None:
        raise NotFound("This node keeps no map.", "It is switched off in node.toml: `map` in `[deid]`.")
    node.audit.append("revealed", actor, pseudonym[:64])
    return node.way_back.look(pseudonym, actor)
