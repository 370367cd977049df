"""The visa of a permit: what a committee has decided, in the form of GA4GH, under the hub's permit key."""

from __future__ import annotations

from datetime import date
from typing import Any

from carina.federation.papers import make_visa
from carina.hub.centre import Hub
from carina.model.clock import new_id, now, stamp
from carina.model.ids import DatasetIri, NodeId
from carina.model.permit import Action, Visa, end_of


def new_permit(
    hub: Hub,
    *,
    account: str,
    name: str,
    node: NodeId,
    dataset: DatasetIri,
    actions: tuple[Action, ...],
    last_day: date,
    version: str,
    conditions: str,
    purpose: str,
    project: str,
    organisation: str,
) -> dict[str, Any]:
    """A permit that is decided now, with its visa, as its row is kept."""
    at = now()
    second = at.replace(microsecond=0)
    address = hub.url.rstrip("/")
    visa = Visa(
        id=new_id(),
        issuer=address,
        hub=hub.id,
        subject=account,
        name=name,
        dataset=dataset,
        node=node,
        source=f"{address}/nodes#{node}",
        asserted=second,
        issued=second,
        expires=end_of(last_day),
        actions=actions,
        purpose=purpose,
        project=project,
        organisation=organisation,
        version=version,
        conditions=conditions,
    )
    return {
        "id": visa.id,
        "account": account,
        "node": node,
        "dataset": dataset,
        "actions": list(actions),
        "version": version,
        "conditions": conditions,
        "visa": make_visa(hub.permit_key, visa),
        "issued_at": stamp(at),
        "expires_at": stamp(visa.expires),
    }
