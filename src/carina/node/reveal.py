"""The way back from a pseudonym, for whoever holds the node's keys."""

from __future__ import annotations

from carina.deid.evidence.reveal import Original
from carina.deid.pseudonyms import is_pseudonym
from carina.errors import NotFound
from carina.node.site import Node


def reveal(node: Node, actor: str, pseudonym: str) -> list[Original]:
    """What a patient's pseudonym or a UID of a clean image stands for; the look is audited first, whatever it finds.

    Raises `NotFound` for what the map does not have, and where the site keeps none; `BadInput` for what is neither.
    That may be a person's name: the trail says that somebody asked, not for what.
    """
    if node.way_back is None:
        raise NotFound("This node keeps no map.", "It is switched off in node.toml: `map` in `[deid]`.")
    is_one = is_pseudonym(pseudonym) or node.way_back.has(pseudonym)
    node.audit.append("revealed", actor, pseudonym if is_one else "")
    return node.way_back.look(pseudonym, actor)
