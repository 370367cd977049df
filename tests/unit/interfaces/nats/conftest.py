"""A hub and a node that meet over an exchange in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.access import Scene, open_scene

from carina.federation.transport import MemoryExchange
from carina.interfaces.nats import hub_exchange, node_exchange


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with open_scene(tmp_path, real=True) as plain:
        yield replace(plain, hub=replace(plain.hub, transport=MemoryExchange(plain.hub.id).transport(plain.hub.id)))


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become tenths, where a test waits for what is done again and again."""
    monkeypatch.setattr(hub_exchange, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(node_exchange, "LOOK_EVERY", 0.05)
    for name in ("FETCH_LEAST", "FETCH_AGAIN", "PROGRESS_EVERY", "DELIVER_EVERY", "DELIVER_AGAIN"):
        monkeypatch.setattr(node_exchange, name, 0.2)
