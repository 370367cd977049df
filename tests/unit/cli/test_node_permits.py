"""Permits and snapshots at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.federating import open_test_hub, post_to
from tests.permitting import Site
from tests.support import SCANNER, ct
from tests.unit.cli.conftest import Run

from carina.app.site import open_node
from carina.hub import nodes
from carina.model.ids import ProjectId
from carina.node import datasets, ingest, membership, worker
from carina.storage.schema import permits as table


@pytest.fixture
def permit(node: Path, tmp_path: Path) -> str:
    """A permit that waits for the data manager."""
    with open_test_hub(tmp_path / "test-hub") as hub, open_node(node) as opened:
        joined = membership.join(opened, nodes.invite(hub, 1), post_to(hub))
        made = datasets.create(opened, "ana", ProjectId("lung"), "Lung CT")
        datasets.publish(opened, "ana", made.iri)
        return Site(hub, opened, joined, made.iri).grant(signed=False, actions=("analyse",)).id


def states(node: Path, run: Run) -> list[str]:
    listed = json.loads(run("node", "permit", "list", node, "--json").output)
    return [item["state"] for item in listed]


def test_a_node_without_permits_says_so(node: Path, run: Run) -> None:
    assert run("node", "permit", "list", node).output == "There are no permits.\n"


def test_permits_are_listed_for_people_and_programs(node: Path, permit: str, run: Run) -> None:
    shown = run("node", "permit", "list", node).output
    assert all(word in shown for word in (permit, "waiting", "valid", "rosa", "analyse", "UTC", "Test hub"))
    (listed,) = json.loads(run("node", "permit", "list", node, "--json").output)
    assert (listed["id"], listed["actions"], listed["purpose"]) == (permit, ["analyse"], "To find out")


def test_a_permit_is_agreed_to_and_withdrawn(node: Path, permit: str, run: Run) -> None:
    said = run("node", "permit", "countersign", node, permit)
    assert said.output.startswith("In force: rosa may analyse until ")
    assert states(node, run) == ["in-force"]
    run("node", "permit", "countersign", node, permit).complaint(73, "waits for an agreement")
    assert run("node", "permit", "withdraw", node, permit, "--reason", "The consent was taken back.").code == 0
    assert states(node, run) == ["withdrawn"]
    with open_node(node) as opened:
        assert opened.audit.entries(1, action="permit-withdrawn")[0].actor == "operator"


def test_a_permit_is_declined_with_a_reason(node: Path, permit: str, run: Run) -> None:
    assert run("node", "permit", "decline", node, permit).code != 0
    run("node", "permit", "decline", node, permit, "--reason", " ").complaint(65, "A reason is missing")
    assert run("node", "permit", "decline", node, permit, "--reason", "Not for this.").output == "Declined.\n"
    assert states(node, run) == ["declined"]


def test_an_unknown_permit_is_not_found(node: Path, permit: str, run: Run) -> None:
    for arguments in (("a" * 26,), (permit, "--hub", "h-" + "a" * 26)):
        run("node", "permit", "countersign", node, *arguments).complaint(66, "no such permit")


def test_a_permit_that_was_changed_in_the_records_cannot_be_agreed_to(node: Path, permit: str, run: Run) -> None:
    with open_node(node) as opened, opened.engine.begin() as connection:
        connection.execute(update(table).values(visa="a.b.c"))
    run("node", "permit", "countersign", node, permit).complaint(77, "was not made by the hub")


def test_a_snapshot_is_taken_by_its_datasets_iri(node: Path, run: Run) -> None:
    made = run(
        "node", "dataset", "create", node, "--project", "lung", "--title", "CT", "--action", "analyse",
        "--longest-days", 30,
    )  # fmt: skip
    iri = made.output.strip()
    run("node", "dataset", "snapshot", node, iri).complaint(65, "holds no images")
    with open_node(node) as opened:
        assert (datasets.get(opened, iri).actions, datasets.get(opened, iri).longest_days) == (("analyse",), 30)
        ingest.receive(opened, ct(size=4), SCANNER)
        while worker.work(opened, "test"):
            pass
    assert run("node", "dataset", "snapshot", node, iri).output.startswith("Snapshot 1: 1 image.")
    run("node", "dataset", "snapshot", node, iri).complaint(73, "Nothing has changed")
