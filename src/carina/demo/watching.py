"""How far each node is: asked of the nodes themselves, by HTTP, as their staff would."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import httpx2

from carina.app.http import http_client
from carina.demo.folder import Place


@dataclass
class NodeProgress:
    """One node's arrivals. `expected` is what its sender means to send; 0 until that is known.

    pixels   images by the state of their pixel check, and how many were looked at
    """

    key: str
    title: str
    door: str
    expected: int = 0
    received: int = 0
    archived: int = 0
    unchanged: int = 0
    waiting: int = 0
    pixels: dict[str, int] = field(default_factory=dict)
    patients: int | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    online: bool = False
    searchable: bool = False
    left_out: int = 0

    @property
    def quarantined(self) -> int:
        """How many wait in quarantine."""
        return sum(self.reasons.values())


def online(hub: Place) -> set[str]:
    """Ids of the nodes that the hub hears now; none when it does not answer at the moment."""
    try:
        with http_client(hub.url, timeout=5) as client:
            answer = client.get(f"{hub.url}/api/nodes")
            answer.raise_for_status()
            return {node["id"] for node in answer.json()["nodes"] if node["online"]}
    except (httpx2.HTTPError, ValueError):
        return set()


def look(place: Place, before: NodeProgress, hears: set[str]) -> NodeProgress:
    """The node's figures now; `before` unchanged when it does not answer at the moment. `hears`: as `online` gives."""
    try:
        with http_client(place.url, timeout=5) as client:
            answer = client.get(f"{place.url}/api/status", headers={"Authorization": f"Bearer {place.staff_token}"})
            answer.raise_for_status()
            status = answer.json()
    except (httpx2.HTTPError, ValueError):
        return before
    reasons: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for source in status["sources"]:
        reasons.update(source["quarantined"])
        sums.update({name: source[name] for name in ("total", "waiting", "archived", "unchanged")})
    return NodeProgress(
        key=before.key,
        title=before.title,
        door=before.door,
        expected=before.expected,
        received=sums["total"],
        archived=sums["archived"],
        unchanged=sums["unchanged"],
        waiting=sums["waiting"],
        pixels=status["pixels"],
        patients=status["archive"]["patients"],
        reasons=dict(reasons),
        online=place.id in hears,
        searchable=before.searchable,
        left_out=before.left_out,
    )
