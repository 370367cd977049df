"""What the node's own operator has sent to a DICOM peer: chosen, and written down before it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from carina.dicom.query import MAX_RESULTS, Query
from carina.errors import NotFound
from carina.model.instance import Peer
from carina.model.principal import Principal
from carina.node.authorise import Grant, authorise
from carina.node.retrieve import find, find_instances, hand_out
from carina.node.site import Node
from carina.storage.index import StoredInstance

DOOR = "command"


def released_to(
    node: Node, actor: str, peer: Peer, *, studies: Sequence[str] = (), dataset: str | None = None
) -> list[StoredInstance]:
    """The instances of these studies, or of the dataset, without headers, written down as released to the peer.

    Raises `NotFound` when a study, the dataset, or anything in it is not there.
    """
    who = Principal(actor, node.id, frozenset({"data-manager"}))
    grant = authorise(node, who, dataset, "retrieve", door=DOOR)
    wanted = studies or _studies(node, grant)
    found = [replace(one, header={}) for study in dict.fromkeys(wanted) for one in find_instances(node, grant, study)]
    if not found:
        raise NotFound("There is nothing in the dataset.", "Look at its query, and at what has arrived.")
    for _, of_study in groupby(found, key=lambda one: one.study_uid):
        hand_out(node, grant, list(of_study), who, "instances", to=f"peer:{peer.ae_title}")
    return found


def _studies(node: Node, grant: Grant) -> list[str]:
    listed: list[str] = []
    while True:
        page = find(node, grant, Query("study", limit=MAX_RESULTS, offset=len(listed)))
        listed += [one.study_uid for one in page]
        if len(page) < MAX_RESULTS:
            return listed
