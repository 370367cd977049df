"""Who sent something that waits in quarantine, as it called itself.

Records name only sources that the site has assigned to a project: what an unknown one calls itself may be a patient's
name. A data manager who is to assign it needs that name; it is read from the sealed file, and the look is written down.
"""

from __future__ import annotations

from dataclasses import dataclass

from carina.errors import NotFound
from carina.model.ids import ProjectId
from carina.model.instance import Source
from carina.node import quarantine
from carina.node.review import LOOK
from carina.node.site import Node
from carina.node.spooled import opened_parcel


@dataclass(frozen=True)
class Sender:
    """A source by its own name. `project`: to which it is assigned now; None: to none."""

    source: Source
    project: ProjectId | None


def sender_of(node: Node, actor: str, arrival_id: str) -> Sender:
    """Who sent one that is in quarantine; it is audited, once for what one person sees within ten minutes.

    Raises `NotFound` where its bytes are gone, `WrongKey` and `InvalidInstance` where they cannot be read.
    """
    held = quarantine.get(node, arrival_id)
    if held.state == "destroyed":
        raise NotFound("Its bytes are destroyed; nothing says any more who sent it.")
    with opened_parcel(node, arrival_id) as (label, _, _):
        source = label.source
    node.refusals.note(node.audit, "source-looked-at", actor, arrival_id, every=LOOK)
    return Sender(source, node.project_of.get(source))
