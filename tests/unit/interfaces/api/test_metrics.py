"""Figures for Prometheus: of the whole node, and of nobody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from tests.support import SCANNER, ct, open_test_node

from carina.errors import CarinaError
from carina.interfaces.api.health import node_checks
from carina.interfaces.api.identity import Identity, MemoryAccounts
from carina.interfaces.api.metrics import Meter
from carina.interfaces.api.node import inside_routes
from carina.interfaces.api.problems import exception_handlers
from carina.interfaces.api.security import Rules, middleware
from carina.model.principal import Principal
from carina.node import ingest, worker
from carina.node.site import Node
from carina.storage.schema import node_tables

BASE = "http://node.localhost:8721"
OPERATOR = {"Authorization": "Bearer operator-secret"}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_test_node(tmp_path / "node") as node:
        yield node


def client(node: Node, meter: Meter, **changes: object) -> TestClient:
    tokens = {
        "operator-secret": Principal("token:operator", node.id, frozenset({"operator"})),
        "sender-secret": Principal("token:sender", node.id, frozenset({"sender"})),
        "service-secret": Principal("token:service", node.id, frozenset({"service"})),
    }
    identity = Identity(MemoryAccounts({}, tokens), node.id, secure=False)

    async def study(request: object) -> None:
        raise CarinaError("always")

    app = Starlette(
        routes=[
            *inside_routes(node, identity, meter, node_checks(node, **changes)),  # type: ignore[arg-type]
            Mount("/dicom-web", routes=[Route("/studies/{study}", study)]),
        ],
        middleware=middleware(Rules(BASE), identity),
        exception_handlers=exception_handlers(),
    )
    counted = meter.counting(app, "inside")
    return TestClient(counted, base_url=BASE, client=("127.0.0.1", 5), raise_server_exceptions=False)


def read(asker: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Each sample by name and labels."""
    answer = asker.get("/metrics", headers=OPERATOR)
    assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_figures_are_those_of_the_records_whoever_wrote_them(node: Node) -> None:
    for data in (ct("MRN-1"), ct("MRN-1", number=2), b"none"):
        ingest.receive(node, data, SCANNER)
    worker.work(node, "test")
    while worker.work(node, "test"):
        pass
    ingest.receive(node, ct("MRN-2"), SCANNER)
    found = read(client(node, Meter(lambda: {"worker-1": 1, "worker-2": 2, "pixels-1": 3}, lambda: 7)))
    assert found["carina_archive", (("level", "instances"),)] == 2
    assert found["carina_arrivals_total", (("state", "archived"),)] == 2
    assert found["carina_quarantine", (("reason", "not-dicom"),)] == 1
    assert found["carina_waiting", ()] == 1 and found["carina_waiting_bytes", ()] > 1000
    assert found["carina_archive_bytes", ()] > 1000 and found["carina_disk_free_bytes", ()] > 0
    assert found["carina_workers", (("kind", "worker"),)] == 2 and found["carina_associations", ()] == 7
    assert sum(found["carina_studies", (("state", state),)] for state in ("receiving", "complete")) == 1


def test_requests_are_counted_by_their_template_and_never_by_their_path(node: Node) -> None:
    asker = client(node, Meter())
    for path in ("/dicom-web/studies/1.2.3.4567", "/dicom-web/studies/9.8.7", "/Garcia%5EMaria", "/health/live"):
        asker.get(path)
    asker.request("GARCIA", "/health/live")
    found = read(asker)
    label = {"listener": "inside", "method": "GET"}

    def count(route: str, status: str, **changes: str) -> float:
        labels = {**label, "route": route, "status": status, **changes}
        return found["carina_http_requests_total", tuple(sorted(labels.items()))]

    assert count("/dicom-web/studies/{study}", "500") == 2
    assert count("other", "404") == 1 and count("/health/live", "200") == 1
    text = asker.get("/metrics", headers=OPERATOR).text
    assert not any(word in text for word in ("1.2.3.4567", "9.8.7", "Garcia", "GARCIA", "process_", "python_"))
    assert 'carina_http_request_seconds_bucket{le="0.005",listener="inside"' in text


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer sender-secret"}, {"Authorization": "Bearer service-secret"}]
)
def test_only_the_staff_may_read_them(node: Node, headers: dict[str, str]) -> None:
    assert client(node, Meter()).get("/metrics", headers=headers).status_code in (401, 403)


def test_a_node_is_ready_while_it_has_records_keys_room_and_workers(node: Node) -> None:
    running = {"worker-1": 1}
    asker = client(node, Meter(), workers=lambda: running, wanted=["worker-1"])
    assert asker.get("/health/ready").status_code == 200
    running.clear()
    assert asker.get("/health/ready").status_code == 503
    assert asker.get("/health/live").status_code == 200


def test_a_node_without_room_or_with_other_keys_is_not_ready(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    from carina.interfaces.api import health
    from carina.node.ingest import RESERVE

    asker = client(node, Meter())
    assert asker.get("/health/ready").status_code == 200
    with monkeypatch.context() as patch:
        usage = type("Usage", (), {"free": RESERVE - 1})
        patch.setattr(health.shutil, "disk_usage", lambda _path: usage)
        assert asker.get("/health/ready").status_code == 503
    checks = node_tables.tables["key_checks"]
    with node.engine.begin() as connection:
        connection.execute(checks.insert(), {"name": "storage", "check": "another"})
    answer = asker.get("/health/ready")
    assert answer.status_code == 503 and "keys" in answer.json()["detail"] + answer.json()["title"]
    with node.engine.begin() as connection:
        connection.execute(update(checks).values(check="x"))
