"""HTTP requests that services themselves make: a node to the hub it joins, the demonstration to its services."""

from __future__ import annotations

from typing import Any

import httpx2

from carina.errors import InvalidInvitation, Unreachable
from carina.interfaces.client.connection import LoopbackTransport, is_loopback


def http_client(url: str, timeout: float) -> httpx2.Client:
    """A client for `url`; names of this machine are reached on loopback, whatever the resolver says. `timeout` in s."""
    transport = LoopbackTransport() if is_loopback(httpx2.URL(url).host) else None
    return httpx2.Client(transport=transport, timeout=timeout)


def post_json(url: str, body: dict[str, Any]) -> dict[str, Any]:
    """What the hub at `url` answers. `Unreachable` without an answer; `InvalidInvitation` when it refuses."""
    try:
        with http_client(url, timeout=20) as client:
            answer = client.post(url, json=body, headers={"Accept": "application/json"})
            content = answer.json()
    except (httpx2.HTTPError, ValueError):
        raise Unreachable("The hub that the invitation names does not answer.") from None
    if answer.status_code != 200 or not isinstance(content, dict):
        said = content.get("detail") if isinstance(content, dict) else None
        raise InvalidInvitation(f"The hub refuses: {said or answer.status_code}")
    return content
