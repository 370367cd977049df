"""Permits and snapshots at the command line."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from tests.federating import open_test_hub, post_to
from tests.permitting import AT, Site
from tests.support import SCANNER, ct
from tests.unit.cli.conftest import Run

from carina.app.site import open_node
from carina.hub import nodes
from carina.model.ids import ProjectId
from carina.node import datasets, ingest, membership, worker
from carina.storage.schema import hubs
from carina.storage.schema import permits as table


@pytest.fixture
def permit(node: Path, tmp_path: Path) -> str:
    """A permit that waits for the data manager."""
    with open_test_hub(tmp_path / "test-hub") as hub, open_node(node) as opened:
        joined = membership.join(opened, nodes.invite(hub, 1), post_to(hub))
        made = datasets.create(opened, "ana", ProjectId("lung"), "Lung CT")
        datasets.publish(opened, "ana", made.iri)
        return (
            Site(hub, opened, joined, made.iri)
            .grant(signed=False, actions=("analyse",), conditions="Cite the\ndata set.")
            .id
        )


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
    said = run("node", "permit", "countersign", node, permit, "--yes")
    assert said.output.splitlines()[-1].startswith("In force: rosa may analyse until ")
    assert states(node, run) == ["in-force"]
    run("node", "permit", "countersign", node, permit, "--yes").complaint(73, "waits for an agreement")
    assert run("node", "permit", "withdraw", node, permit, "--reason", "The consent was taken back.").code == 0
    assert states(node, run) == ["withdrawn"]
    with open_node(node) as opened:
        assert opened.audit.entries(1, action="permit-withdrawn")[0].actor == "operator"


SAID = {
    "Account": "rosa (Rosa Investigadora)",
    "Organisation": "University",
    "Project": "Lungs",
    "Purpose": "To find out",
    "Actions": "analyse",
    "Version": "live",
    "Conditions": "Cite the data set.",
}


def facts(output: str) -> dict[str, str]:
    """What was shown of a permit."""
    pairs = [line.partition("  ") for line in output.splitlines()]
    return {name: value.strip() for name, between, value in pairs if between}


def test_whoever_signs_sees_first_what_and_is_asked(node: Path, permit: str, run: Run) -> None:
    said = run("node", "permit", "countersign", node, permit, typed=b"n\n", terminal=True)
    assert said.code == 130 and "Sign this permit? [y/N]" in said.output
    shown = facts(said.output.partition("Sign this")[0])
    assert SAID.items() <= shown.items()
    assert shown["Dataset"].startswith("Lung CT (urn:uuid:")
    last = AT + timedelta(days=30, seconds=-1)
    assert shown["Last day"] == f"{last:%Y-%m-%d} (UTC)"
    assert states(node, run) == ["waiting"]
    agreed = run("node", "permit", "countersign", node, permit, typed=b"y\n", terminal=True)
    assert agreed.code == 0 and f"In force: rosa may analyse until {last:%Y-%m-%d}." in agreed.output
    assert states(node, run) == ["in-force"]


def test_without_a_terminal_nothing_is_signed_unless_one_says_so(node: Path, permit: str, run: Run) -> None:
    for typed in (b"", b"y\n"):
        run("node", "permit", "countersign", node, permit, typed=typed).complaint(65, "Nothing is signed", "--yes")
    assert states(node, run) == ["waiting"]
    said = run("node", "permit", "countersign", node, permit, "--yes")
    assert said.code == 0 and SAID.items() <= facts(said.output).items()


def test_all_that_a_permit_says_is_shown(node: Path, permit: str, run: Run) -> None:
    shown = facts(run("node", "permit", "show", node, permit).output)
    assert SAID.items() <= shown.items()
    assert shown["Permit"] == permit and shown["State"] == "waiting here; the hub says valid"
    assert shown["Hub"].startswith("Test hub (h-")
    assert (
        json.loads(run("node", "permit", "show", node, permit, "--json").output)["conditions"] == "Cite the\ndata set."
    )
    run("node", "permit", "show", node, "a" * 26).complaint(66, "no such permit")


def test_what_others_wrote_is_shown_as_it_is(node: Path, permit: str, run: Run) -> None:
    """No markup, no orders to the terminal, no turned text."""
    with open_node(node) as opened, opened.engine.begin() as connection:
        connection.execute(update(hubs).values(title="Good [conceal]hub[/x]\x9b2J\u202e"))
    for shown in (
        run("node", "permit", "list", node),
        run("node", "permit", "show", node, permit),
        run("node", "hub", "list", node),
        run("node", "status", node),
    ):
        assert shown.code == 0 and "Good [conceal]hub[/x]\N{REPLACEMENT CHARACTER}2J" in shown.output
        assert "\x9b" not in shown.output and "\u202e" not in shown.output


def test_a_permit_is_declined_with_a_reason(node: Path, permit: str, run: Run) -> None:
    assert run("node", "permit", "decline", node, permit).code != 0
    run("node", "permit", "decline", node, permit, "--reason", " ").complaint(65, "A reason is missing")
    assert run("node", "permit", "decline", node, permit, "--reason", "Not for this.").output == "Declined.\n"
    assert states(node, run) == ["declined"]


def test_an_unknown_permit_is_not_found(node: Path, permit: str, run: Run) -> None:
    for arguments in (("a" * 26,), (permit, "--hub", "h-" + "a" * 26)):
        run("node", "permit", "countersign", node, *arguments, "--yes").complaint(66, "no such permit")


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
