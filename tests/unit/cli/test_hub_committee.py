"""`carina hub committee`, on real folders."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import update
from tests.unit.cli.conftest import Run
from tests.unit.cli.test_hub import PASSWORD, join

from carina.app.hub import open_hub
from carina.storage.hub_schema import nodes


def test_the_operator_appoints_and_dismisses_a_committee(run: Run, hub: Path, node: Path) -> None:
    name = join(hub, node, run("hub", "invite", hub).output)
    run("hub", "account", "add", hub, "clara", "--password", PASSWORD)
    assert "nobody" in run("hub", "committee", "list", hub).output
    assert run("hub", "committee", "add", hub, name, "clara").output == "clara is on the committee.\n"
    run("hub", "committee", "add", hub, name, "clara").complaint(73, "already")
    for listed in (run("hub", "committee", "list", hub), run("hub", "committee", "list", hub, name)):
        assert name in listed.output and "Hospital Ficticio" in listed.output and "clara" in listed.output
    assert run("hub", "committee", "remove", hub, name, "clara").code == 0
    assert "clara" not in run("hub", "committee", "list", hub).output
    run("hub", "committee", "remove", hub, name, "clara").complaint(66, "not on this node's committee")


def test_an_unknown_node_or_account_is_named_in_one_sentence(run: Run, hub: Path, node: Path) -> None:
    name = join(hub, node, run("hub", "invite", hub).output)
    run("hub", "committee", "add", hub, name, "clara").complaint(66, "no account")
    run("hub", "committee", "add", hub, "n-nobody", "clara").complaint(66, "no such node")
    run("hub", "committee", "list", hub, "n-nobody").complaint(66, "no such node")


def test_titles_of_nodes_are_shown_as_they_are(run: Run, hub: Path, node: Path) -> None:
    join(hub, node, run("hub", "invite", hub).output)
    with open_hub(hub) as opened, opened.engine.begin() as connection:
        connection.execute(update(nodes).values(title="Site [conceal]one[/x]", institution="[bold]"))
    assert "Site [conceal]one[/x]" in run("hub", "committee", "list", hub).output
    listed = run("hub", "nodes", "list", hub)
    assert listed.code == 0 and "Site [conceal]one[/x]" in listed.output and "[bold]" in listed.output
