"""Tokens with rights of their own: bound to actions and datasets, judged each time, ended at once, cheap."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import process_time

import pytest
from starlette.testclient import TestClient
from tests.archive import take_in
from tests.support import BREAST, LUNG, ct, open_test_node

from carina.app.node import inside_application
from carina.errors import BadInput, PermitDenied
from carina.model.cohort import OneOf
from carina.model.ids import DatasetIri
from carina.model.permit import Action
from carina.model.principal import EVERYTHING, Principal, Service
from carina.node import datasets
from carina.node.authorise import authorise, check, members
from carina.node.site import Node
from carina.settings import NodeSettings
from carina.storage import accounts

NOWHERE = "urn:uuid:00000000-0000-4000-8000-000000000000"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_test_node(tmp_path, public_url=None) as made:
        take_in(made, [ct("A"), ct("B", elements={"BodyPartExamined": "ABDOMEN"})])
        yield made


def published(node: Node, part: str = "CHEST", **changes: object) -> DatasetIri:
    made = datasets.create(node, "dora", LUNG, part, query=OneOf("body_part", (part,)), **changes)  # type: ignore[arg-type]
    datasets.publish(node, "dora", made.iri)
    return made.iri


def who(node: Node, *iris: str, may: tuple[Action, ...] = ("view", "retrieve")) -> Principal:
    service = Service(frozenset(may), frozenset(iris))
    return Principal("token:robot", node.id, frozenset({"service"}), service=service)


def refused(node: Node, asks: Principal, dataset: str | None, action: Action = "retrieve") -> str:
    with pytest.raises(PermitDenied) as error:
        authorise(node, asks, dataset, action, door="test")
    return error.value.reason


def test_a_service_of_the_whole_archive_sees_it_and_is_no_staff(node: Node) -> None:
    grant = authorise(node, who(node, EVERYTHING), None, "retrieve", door="test")
    assert (grant.service, grant.staff, grant.dataset, members(grant)) == ("token:robot", False, None, None)


def test_a_service_of_one_dataset_sees_its_members_and_nothing_else(node: Node) -> None:
    iri, other = published(node), published(node, "ABDOMEN")
    robot = who(node, iri)
    for dataset in (None, iri):
        grant = authorise(node, robot, dataset, "view", door="test")
        assert grant.dataset == iri
        found = members(grant)
        assert found is not None and found.query == OneOf("body_part", ("CHEST",))
    assert refused(node, robot, other) == "no-permit"
    assert refused(node, who(node, iri, other), None) == "no-permit"
    assert refused(node, who(node), None) == "no-permit"
    assert refused(node, who(node), iri) == "no-permit"


def test_a_service_does_what_it_was_given_to_do(node: Node) -> None:
    iri = published(node)
    assert refused(node, who(node, iri, may=("view",)), iri) == "action-not-granted"
    assert refused(node, who(node, EVERYTHING, may=()), None, "view") == "action-not-granted"
    assert refused(node, Principal("token:robot", node.id, frozenset({"service"})), None) == "no-permit"
    staff = who(node, EVERYTHING)
    assert refused(node, Principal("token:x", node.id, frozenset(), service=staff.service), None) == "no-permit"
    told = [(entry.actor, entry.details["reason"]) for entry in node.audit.entries(9, action="access-refused")]
    assert ("token:robot", "action-not-granted") in told


def test_a_dataset_counts_while_it_is_published_and_for_what_it_allows(node: Node) -> None:
    draft = datasets.create(node, "dora", BREAST, "Breast").iri
    assert refused(node, who(node, draft), draft) == "dataset-not-published"
    assert refused(node, who(node, NOWHERE), NOWHERE) == "dataset-not-published"
    narrow = published(node, actions=["view"])
    assert authorise(node, who(node, narrow), narrow, "view", door="test")
    assert refused(node, who(node, narrow), narrow) == "action-not-allowed"
    assert refused(node, who(node, EVERYTHING), narrow) == "action-not-allowed"
    datasets.withdraw(node, "dora", narrow)
    assert refused(node, who(node, narrow), narrow, "view") == "dataset-not-published"


def test_another_nodes_service_is_nobody_here(node: Node) -> None:
    asks = Principal(
        "token:robot", "n-other", frozenset({"service"}), service=Service(frozenset({"view"}), frozenset("*"))
    )
    assert refused(node, asks, None, "view") == "not-signed-in"


def test_what_is_under_way_ends_with_the_token(node: Node) -> None:
    for name, roles, service in (
        ("robot", {"service"}, Service(frozenset({"view"}), frozenset({EVERYTHING}))),
        ("staff", {"data-manager"}, None),
    ):
        secret = accounts.add_token(node.engine, name, roles, service=service)
        holder = accounts.token(node.engine, secret, issuer=node.id)
        assert holder is not None
        assert check(node, holder, None, "view", door="test")
        accounts.revoke_token(node.engine, name)
        with pytest.raises(PermitDenied):
            check(node, holder, None, "view", door="test")


@pytest.mark.parametrize(
    ("roles", "service"),
    [
        ({"service"}, None),
        ({"sender"}, Service(frozenset({"view"}), frozenset("*"))),
        ({"service", "data-manager"}, Service(frozenset({"view"}), frozenset("*"))),
        ({"service"}, Service(frozenset(), frozenset("*"))),
        ({"service"}, Service(frozenset({"analyse"}), frozenset("*"))),
        ({"service"}, Service(frozenset({"view"}), frozenset())),
        ({"service"}, Service(frozenset({"view"}), frozenset({"*", NOWHERE}))),
        ({"service"}, Service(frozenset({"view"}), frozenset(str(number) for number in range(101)))),
    ],
)
def test_a_token_that_says_too_little_or_too_much_is_not_made(
    node: Node, roles: set[str], service: Service | None
) -> None:
    with pytest.raises(BadInput):
        accounts.add_token(node.engine, "robot", roles, service=service)


def test_no_person_is_a_service(node: Node) -> None:
    with pytest.raises(BadInput):
        accounts.add_account(node.engine, "robot", "correct horse battery", {"service"})


# --- by DICOMweb ---


def client(node: Node, iri: str | None, *may: Action) -> TestClient:
    service = Service(frozenset(may), frozenset({iri} if iri else {EVERYTHING}))
    secret = accounts.add_token(node.engine, "robot", {"service"}, service=service)
    settings = NodeSettings.model_construct(**_settings())
    made = TestClient(inside_application(node, settings), base_url="http://127.0.0.1:8721", client=("127.0.0.1", 50000))
    made.headers["Authorization"] = f"Bearer {secret}"
    return made


def _settings() -> dict[str, object]:
    return {name: field.get_default(call_default_factory=True) for name, field in NodeSettings.model_fields.items()}


def test_a_token_searches_and_fetches_what_it_is_bound_to_and_each_time_that_is_a_release(node: Node) -> None:
    iri = published(node)
    robot = client(node, iri, "view", "retrieve")
    [study] = robot.get("/dicom-web/studies").json()
    uid = study["0020000D"]["Value"][0]
    [same] = robot.get(f"/datasets/{iri}/dicom-web/studies").json()
    assert same["0020000D"]["Value"] == [uid]
    answer = robot.get(
        f"/datasets/{iri}/dicom-web/studies/{uid}", headers={"Accept": "multipart/related; type=application/dicom"}
    )
    assert answer.status_code == 200
    [entry] = node.audit.entries(5, action="released")
    assert (entry.actor, entry.subject, entry.details["dataset"]) == ("token:robot", uid, iri)
    assert robot.get(f"/datasets/{NOWHERE}/dicom-web/studies").status_code == 403
    assert robot.get(f"/dicom-web/studies/{uid}/metadata").status_code == 200
    accounts.revoke_token(node.engine, "robot")
    assert robot.get("/dicom-web/studies").status_code == 401


def test_a_token_to_look_fetches_nothing_stores_nothing_and_opens_no_page(node: Node) -> None:
    robot = client(node, None, "view")
    study = robot.get("/dicom-web/studies").json()[0]["0020000D"]["Value"][0]
    assert robot.get(f"/dicom-web/studies/{study}").status_code == 403
    assert robot.post("/dicom-web/studies", content=b"").status_code == 403
    for page in ("/", "/quarantine", "/api/status"):
        assert robot.get(page, follow_redirects=False).status_code in (303, 307, 401, 403)


def test_a_token_is_looked_up_and_judged_for_little(node: Node) -> None:
    secret = accounts.add_token(node.engine, "staff", {"data-manager"})

    def once() -> None:
        holder = accounts.token(node.engine, secret, issuer=node.id)
        assert holder is not None
        authorise(node, holder, None, "view", door="test")

    for _ in range(20):
        once()
    began = process_time()
    for _ in range(500):
        once()
    assert (process_time() - began) / 500 < 0.0012  # s; a tenth of that where nothing measures
