"""Clients of a hub's and a node's pages, over real records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.access import member
from tests.pages import PASSWORD, A, Answers, B, fill_hub, hub_app, node_app, sign_in
from tests.support import open_test_node

from carina.hub import committee
from carina.hub.centre import Hub
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.api.rate import RateLimit
from carina.node.site import Node
from carina.storage.accounts import add_account

NODE_URL = "http://node.localhost:8721"


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def limit() -> RateLimit:
    """Of the hub's pages for each person."""
    return RateLimit(60, 60)


@pytest.fixture
def empty_hub(hub: Hub, identity: Identity, answers: Answers, limit: RateLimit) -> Iterator[TestClient]:
    with client_of(hub_app(hub, identity, answers, limit), hub.url) as client:
        yield client


@pytest.fixture
def anyone(hub: Hub, empty_hub: TestClient) -> TestClient:
    """Somebody at the hub who has not signed in."""
    fill_hub(hub)
    return empty_hub


@pytest.fixture
def rosa(anyone: TestClient) -> TestClient:
    """A researcher, signed in."""
    assert sign_in(anyone, "rosa").status_code == 303
    return anyone


@pytest.fixture
def clara(hub: Hub, identity: Identity, answers: Answers, anyone: TestClient) -> Iterator[TestClient]:
    """Somebody on the committees of the first two sites, signed in, with a browser of her own."""
    member(hub, A, "clara")
    committee.add(hub, B, "clara")
    with client_of(hub_app(hub, identity, answers), hub.url) as client:
        assert sign_in(client, "clara").status_code == 303
        yield client


@pytest.fixture
def olaf(hub: Hub, identity: Identity, answers: Answers, anyone: TestClient) -> Iterator[TestClient]:
    """The hub's operator, on no committee, signed in, with a browser of their own."""
    with client_of(hub_app(hub, identity, answers), hub.url) as client:
        assert sign_in(client, "olaf").status_code == 303
        yield client


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_test_node(tmp_path / "node", title="Hospital Santa Aurelia") as node:
        add_account(node.engine, "nora", PASSWORD, {"data-manager"}, "Nora Vidal")
        add_account(node.engine, "omar", PASSWORD, {"operator"})
        yield node


@pytest.fixture
def console(node: Node) -> Iterator[TestClient]:
    """The node's console, nobody signed in."""
    identity = Identity(LocalAccounts(node.engine, node.id), node.id, secure=False)
    with client_of(node_app(node, identity, NODE_URL), NODE_URL) as client:
        yield client


@pytest.fixture
def nora(console: TestClient) -> TestClient:
    """A data manager, signed in."""
    assert sign_in(console, "nora").status_code == 303
    return console


def client_of(app: object, url: str) -> TestClient:
    return TestClient(
        app,  # type: ignore[arg-type]
        base_url=url,
        client=("127.0.0.1", 5),
        raise_server_exceptions=False,
        follow_redirects=False,
        headers={"Accept": "text/html"},
    )
