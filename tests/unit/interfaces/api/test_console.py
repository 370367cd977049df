"""What the console shows, as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.pages import fill_node
from tests.support import LUNG, open_test_node

from carina.interfaces.api.console import console_routes
from carina.interfaces.api.identity import Identity, MemoryAccounts
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.security import Rules, middleware
from carina.model.principal import Principal
from carina.node import datasets, snapshots, worker
from carina.node.site import Node
from carina.node.watch import Watch

BASE = "http://node.localhost:8721"
PATHS = ("/api/overview", "/api/arrivals", "/api/storage", "/api/keys", "/api/datasets")


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_test_node(tmp_path / "node") as node:
        fill_node(node)
        while worker.work(node, "test"):
            pass
        yield node


@pytest.fixture
def asker(node: Node) -> TestClient:
    tokens = {
        role: Principal(f"token:{role}", node.id, frozenset({role}))  # type: ignore[arg-type]
        for role in ("operator", "sender", "service")
    }
    identity = Identity(MemoryAccounts({}, tokens), node.id, secure=False)
    app = Starlette(
        routes=console_routes(node, identity, Watch(node)),
        middleware=middleware(Rules(BASE), identity),
        exception_handlers=exception_handlers(),
    )
    return TestClient(app, base_url=BASE, client=("127.0.0.1", 5), raise_server_exceptions=False)


def bearer(role: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {role}"}


@pytest.mark.parametrize("path", PATHS)
def test_it_is_for_the_staff_only(asker: TestClient, path: str) -> None:
    assert asker.get(path).status_code == 401
    assert [asker.get(path, headers=bearer(role)).status_code for role in ("sender", "service")] == [403, 403]
    assert asker.get(path, headers=bearer("operator")).status_code == 200
    assert asker.get(f"{path}?colour=red", headers=bearer("operator")).status_code == 400


def test_the_overview_gives_verdict_sentence_and_parts(asker: TestClient) -> None:
    told = asker.get("/api/overview", headers=bearer("operator")).json()
    assert told["verdict"] in ("attention", "trouble") and "wait in quarantine" in told["sentence"]
    assert {"name", "state", "sentence", "hint", "link"} == told["parts"][0].keys()


def test_arrivals_and_storage_agree_and_name_no_person(asker: TestClient, node: Node) -> None:
    arrivals = asker.get("/api/arrivals", headers=bearer("operator"))
    storage = asker.get("/api/storage", headers=bearer("operator"))
    scanner = next(source for source in arrivals.json()["sources"] if source["name"] == "SCANNER")
    assert (scanner["arrived"], scanner["archived"], scanner["waiting"], scanner["percent"]) == (8, 6, 0, 100)
    assert scanner["in_15_minutes"] == 8 and scanner["last_seen"]
    told = storage.json()
    assert told["archive"]["instances"] == 6 == sum(day["images"] for day in told["days"])
    assert told["by_project_and_modality"][0]["modality"] == "CT" and told["disk_free"] > 0
    for text in ("Garcia", "MRN-", "ACC-77"):
        assert text not in arrivals.text + storage.text


def test_keys_are_given_by_their_fingerprints(asker: TestClient, node: Node) -> None:
    told = asker.get("/api/keys", headers=bearer("operator")).json()
    assert told[0]["fingerprint"] == node.signing.thumbprint and told[0]["expires"] is None


def test_datasets_are_told_with_how_they_stand(asker: TestClient, node: Node) -> None:
    made = datasets.create(node, "ana", LUNG, "Lung CT")
    snapshots.take(node, "ana", made.iri)
    datasets.publish(node, "ana", made.iri)
    [listed] = asker.get("/api/datasets", headers=bearer("operator")).json()
    assert (listed["iri"], listed["state"], listed["project"]) == (made.iri, "published", "lung")
    told = asker.get(f"/api/datasets/{made.iri}", headers=bearer("operator")).json()
    assert (told["images"], told["studies"], len(told["newest_studies"])) == (6, 3, 3)
    assert (told["in_step"], told["permits_in_force"], told["patients"]) == (True, 0, None)
    assert [one["instances"] for one in told["snapshots"]] == [6] and told["images_since_snapshot"] == 0
    assert asker.get("/api/datasets/urn:uuid:none", headers=bearer("operator")).status_code == 404
    assert asker.get(f"/api/datasets/{made.iri}", headers=bearer("sender")).status_code == 403
