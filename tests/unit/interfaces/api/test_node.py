"""A node's JSON over a real node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from tests.support import LUNG, SCANNER, open_test_node

from carina.interfaces.api.identity import Identity, MemoryAccounts
from carina.interfaces.api.node import inside_routes, outside_routes
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.security import Rules, middleware
from carina.interfaces.api.visitors import entries
from carina.model.principal import Principal
from carina.node import datasets
from carina.node.ingest import receive
from carina.node.site import Node

STAFF = {"Authorization": "Bearer staff-secret"}
SENDER = {"Authorization": "Bearer sender-secret"}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_test_node(tmp_path) as node:
        yield node


def client(node: Node, *, outside: bool = False) -> TestClient:
    tokens = {
        "staff-secret": Principal("token:staff", node.id, frozenset({"data-manager"})),
        "sender-secret": Principal("token:sender", node.id, frozenset({"sender"})),
    }
    identity = Identity(MemoryAccounts({}, tokens), node.id, secure=False)
    app = Starlette(
        routes=outside_routes(node, entries()) if outside else inside_routes(node, identity),
        middleware=middleware(Rules("http://node.localhost:8721"), identity),
        exception_handlers=exception_handlers(),
    )
    return TestClient(app, base_url="http://node.localhost:8721", client=("127.0.0.1", 5))


def test_the_status_says_what_became_of_what_each_source_sent(node: Node) -> None:
    receive(node, b"no dicom at all", SCANNER)
    status = client(node).get("/api/status", headers=STAFF).json()
    assert status["id"] == node.id
    [source] = status["sources"]
    assert (source["kind"], source["name"], source["total"], source["waiting"]) == ("aet", "SCANNER", 1, 0)
    assert source["quarantined"] == {"not-dicom": 1}


def test_the_status_is_for_the_staff(node: Node) -> None:
    http = client(node)
    assert http.get("/api/status").status_code == 401
    assert http.get("/api/status", headers=SENDER).status_code == 403
    assert http.get("/api/status?source=x", headers=STAFF).status_code == 400


def test_the_outside_has_health_and_nothing_else(node: Node) -> None:
    http = client(node, outside=True)
    assert http.get("/health/live").status_code == http.get("/health/ready").status_code == 200
    for path in ("/", "/api", "/api/status", "/dicom-web/studies", "/sign-in"):
        assert http.get(path, headers=STAFF).status_code == 404


def test_a_node_whose_records_cannot_be_read_is_not_ready(node: Node, tmp_path: Path) -> None:
    http = client(node)
    node.engine.dispose()
    for path in tmp_path.glob("records.sqlite*"):
        path.unlink()
    (tmp_path / "records.sqlite").write_bytes(b"no database" * 1000)
    answer = http.get("/health/ready")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert http.get("/health/live").status_code == 200


def test_the_evidence_of_a_dataset_is_a_file_for_data_managers(node: Node) -> None:
    http, iri = client(node), datasets.create(node, "ana", LUNG, "All").iri
    answer = http.get(f"/api/datasets/{iri}/evidence", headers=STAFF)
    assert answer.headers["content-disposition"] == 'attachment; filename="evidence-live.json"'
    assert answer.json()["evidence"]["dataset"]["iri"] == iri
    assert http.get(f"/api/datasets/{iri}/evidence", headers=SENDER).status_code == 403
    assert http.get(f"/api/datasets/{iri}/evidence?snapshot=1", headers=STAFF).status_code == 404
    assert http.get(f"/api/datasets/{iri}/evidence?snapshot=x", headers=STAFF).status_code == 400
    assert http.get(f"/api/datasets/{iri}/evidence?other=1", headers=STAFF).status_code == 400
