"""`carina hub …` and joining one, on real folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.cli.conftest import Run

from carina.app.hub import open_hub
from carina.app.site import open_node
from carina.federation.invitation import parse_invitation
from carina.hub import nodes
from carina.node import membership
from carina.settings import load_hub

INIT = ("--title", "Test hub", "--public-url", "http://hub.localhost:8700")
PASSWORD = "correct horse battery"


def join(hub: Path, node: Path, invitation: str) -> str:
    """Let the node join without HTTP; its id."""
    with open_hub(hub) as centre, open_node(node) as site:
        membership.join(site, invitation, lambda _, body: nodes.accept_join(centre, body))
        return str(site.id)


def test_init_makes_a_hub_whose_keys_have_a_backup(run: Run, tmp_path: Path) -> None:
    said = run("hub", "init", tmp_path / "hub", *INIT, "--key-backup", tmp_path / "safe.json")
    assert said.code == 0 and "carina hub serve" in said.output
    assert (tmp_path / "hub-keys" / "hub.json").read_bytes() == (tmp_path / "safe.json").read_bytes()
    run("hub", "init", tmp_path / "hub", *INIT, "--key-backup", "-").complaint(73, "already")


@pytest.mark.parametrize("wrong", [("--port", "70000"), ("--title", ""), ("--keys", "hub/keys.json")])
def test_an_init_that_is_refused_leaves_nothing_behind(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run("hub", "init", "hub", *INIT, "--key-backup", "safe.json", *wrong).complaint(78)
    assert list(tmp_path.iterdir()) == []


def test_accounts_have_roles(run: Run, hub: Path) -> None:
    add = ("hub", "account", "add", hub)
    assert run(*add, "olaf", "--role", "operator", "--password", PASSWORD).output == "olaf can sign in.\n"
    run(*add, "olaf", "--password", PASSWORD).complaint(73, "already")
    assert run(*add, "rosa", "--role", "king", "--password", PASSWORD).code == 2
    assert run("hub", "account", "password", hub, "olaf", "--password", "another password").code == 0
    run("hub", "account", "password", hub, "rosa", "--password", PASSWORD).complaint(66, "no account")
    assert run("hub", "account", "disable", hub, "olaf").output == "olaf is shut out.\n"
    assert run("hub", "account", "enable", hub, "olaf").output == "olaf can sign in.\n"
    run("hub", "account", "disable", hub, "rosa").complaint(66, "no account")
    assert "whole, up to row 4" in run("hub", "audit", hub).output


def test_an_invitation_names_the_hub_and_is_one_line(run: Run, hub: Path) -> None:
    said = run("hub", "invite", hub, "--hours", "2")
    invitation = parse_invitation(said.output)
    assert len(said.output.splitlines()) == 1
    assert (invitation.hub[:2], invitation.url) == ("h-", "http://hub.localhost:8700")


@pytest.mark.parametrize("hours", ["0", "-1", "721", "nan"])
def test_an_invitation_has_a_sensible_end(run: Run, hub: Path, hours: str) -> None:
    run("hub", "invite", hub, "--hours", hours).complaint(65, "720 hours")


def test_nodes_are_listed_and_removed(run: Run, hub: Path, node: Path) -> None:
    invitation = run("hub", "invite", hub).output
    name = join(hub, node, invitation)
    assert "Hospital Ficticio" in (listed := run("hub", "nodes", "list", hub).output)
    assert name in listed and "joined" in listed
    assert run("hub", "nodes", "remove", hub, name).code == 0
    assert "removed" in run("hub", "nodes", "list", hub).output
    run("hub", "nodes", "remove", hub, "n-nobody").complaint(66, "no such node")


def test_joining_needs_a_hub_that_answers(run: Run, hub: Path, node: Path) -> None:
    text = (hub / "hub.toml").read_text().replace("hub.localhost:8700", "hub.localhost:1")
    (hub / "hub.toml").write_text(text)
    invitation = run("hub", "invite", hub).output.strip()
    run("node", "join", node, invitation).complaint(69, "does not answer", "Check that it runs")
    assert "Hub:" not in run("node", "status", node).output


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("hello", "no invitation"),
        ("carina-invitation:AAAA", "damaged"),
        ("", "no invitation"),
        ("carina-invitation:" + "é" * 40, "damaged"),
    ],
)
def test_what_is_no_invitation_is_refused_before_anything_is_sent(run: Run, node: Path, text: str, word: str) -> None:
    run("node", "join", node, typed=f"{text}\n".encode()).complaint(65, word, "opy all of it")
    run("node", "join", node, typed=b"").complaint(65, "no invitation")


def test_a_damaged_copy_is_refused_and_the_whole_one_still_works(run: Run, hub: Path, node: Path) -> None:
    invitation = run("hub", "invite", hub).output.strip()
    middle = len(invitation) // 2
    broken = invitation[:middle] + ("A" if invitation[middle] != "A" else "B") + invitation[middle + 1 :]
    run("node", "join", node, broken).complaint(65, "damaged")
    run("node", "join", node, invitation[:-3]).complaint(65, "damaged")
    assert join(hub, node, invitation)


OUTSIDE = ("--title", "Test hub", "--public-url", "https://hub.example.org", "--key-backup", "-")


def test_a_hub_for_other_machines_neither_serves_nor_invites_before_its_broker_has_a_name(
    run: Run, tmp_path: Path
) -> None:
    assert run("hub", "init", tmp_path / "hub", *OUTSIDE, "--port", "0", "--broker-port", "0").code == 0
    for command in ("invite", "serve"):
        run("hub", command, tmp_path / "hub").complaint(78, "broker", "broker_names")


def test_init_takes_the_names_by_which_nodes_reach_the_broker(run: Run, tmp_path: Path) -> None:
    names = ("--broker-name", "broker.example.org", "--broker-name", "192.0.2.7")
    assert run("hub", "init", tmp_path / "hub", *OUTSIDE, "--broker-port", "4222", *names).code == 0
    with open_hub(tmp_path / "hub") as opened:
        assert opened.broker == "broker.example.org:4222"
    settings = load_hub(tmp_path / "hub")
    assert (settings.broker_names, settings.broker.host) == (("broker.example.org", "192.0.2.7"), "0.0.0.0")
    assert parse_invitation(run("hub", "invite", tmp_path / "hub").output).url == "https://hub.example.org"
