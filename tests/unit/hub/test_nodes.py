"""Joining a hub: a node and a hub with real records, and what carries the request between them."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.federating import open_joined_node, open_test_hub, post_to
from tests.support import open_test_node, ring

from carina.errors import BadInput, BadSettings, InvalidInvitation, InvalidMessage, NotFound
from carina.federation.invitation import parse_invitation
from carina.federation.signing import SigningKey
from carina.hub import nodes
from carina.hub.centre import Hub
from carina.model.clock import now, stamp
from carina.node import membership
from carina.node.site import Node

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with open_test_hub(tmp_path / "hub") as opened:
        yield opened


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with open_test_node(tmp_path / "node") as opened:
        yield opened


def test_a_node_joins_by_invitation_and_both_sides_know_each_other(hub: Hub, node: Node) -> None:
    joined = membership.join(node, nodes.invite(hub, 1), post_to(hub))
    assert (joined.id, joined.title, joined.key, joined.state) == (hub.id, "Test hub", hub.signing.public_jwk, "joined")
    assert (joined.broker, joined.broker_ca) == (hub.broker, hub.broker_ca)
    [known] = nodes.list_nodes(hub)
    assert (known.id, known.key, known.title, known.country) == (node.id, node.signing.public_jwk, node.title, "ES")
    assert [entry.action for entry in hub.audit.entries(5)] == ["node-joined", "invited"]
    assert [entry.action for entry in node.audit.entries(5)] == ["hub-joined"]


def test_the_secret_never_travels_and_is_not_kept(hub: Hub, node: Node) -> None:
    text = nodes.invite(hub, 1)
    sent: list[str] = []

    def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
        reply = post_to(hub)(url, body)
        sent.append(url + json.dumps(body) + json.dumps(reply))
        return reply

    membership.join(node, text, post)
    invitation = parse_invitation(text)
    assert sent[0].startswith("http://hub.localhost:8700/federation/join")
    assert invitation.secret.hex() not in sent[0] and invitation.proof_key.hex() not in sent[0]
    for folder in (hub.folder, node.folder):
        for file in folder.rglob("records.sqlite*"):
            assert invitation.secret not in file.read_bytes()
            assert invitation.secret.hex().encode() not in file.read_bytes()


def test_an_invitation_is_good_once(hub: Hub, node: Node, tmp_path: Path) -> None:
    text = nodes.invite(hub, 1)
    membership.join(node, text, post_to(hub))
    with (
        open_test_node(tmp_path / "second", keys=ring(2)) as second,
        pytest.raises(InvalidInvitation, match="used before") as used,
    ):
        membership.join(second, text, post_to(hub))
    assert "new invitation" in used.value.hint
    assert [known.id for known in nodes.list_nodes(hub)] == [node.id]
    assert hub.audit.entries(1)[0].action == "join-refused"


def test_of_five_nodes_that_use_one_invitation_at_once_one_joins(hub: Hub, tmp_path: Path) -> None:
    text = nodes.invite(hub, 1)
    requests: list[dict[str, Any]] = []

    def keep(_: str, body: dict[str, Any]) -> dict[str, Any]:
        requests.append(body)
        raise InvalidInvitation("kept for later")

    for seed in range(2, 7):
        with open_test_node(tmp_path / f"n{seed}", keys=ring(seed)) as one, pytest.raises(InvalidInvitation):
            membership.join(one, text, keep)

    def attempt(body: dict[str, Any]) -> bool:
        try:
            return bool(nodes.accept_join(hub, body))
        except InvalidInvitation:
            return False

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(attempt, requests)) == 1
    assert len(nodes.list_nodes(hub)) == 1


def test_an_expired_invitation_is_refused_by_the_node(hub: Hub, node: Node) -> None:
    invitation = replace(parse_invitation(nodes.invite(hub, 1)), expires=now() - timedelta(seconds=1))
    with pytest.raises(InvalidInvitation, match="expired"):
        membership.join(node, invitation.text(), post_to(hub))


def test_an_expired_invitation_is_refused_by_the_hub(hub: Hub, node: Node) -> None:
    text = nodes.invite(hub, 1)

    def late(_: str, body: dict[str, Any]) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as clock:
            clock.setattr(nodes, "stamp", lambda *_: stamp(now() + timedelta(hours=2)))
            return nodes.accept_join(hub, body)

    with pytest.raises(InvalidInvitation, match="expired"):
        membership.join(node, text, late)
    assert nodes.list_nodes(hub) == []


def test_a_longer_life_written_into_an_invitation_does_not_help(hub: Hub, node: Node) -> None:
    invitation = replace(parse_invitation(nodes.invite(hub, 1)), expires=now() + timedelta(days=9))
    with pytest.raises(InvalidInvitation, match="proof"):
        membership.join(node, invitation.text(), post_to(hub))


def test_another_hubs_invitation_is_refused_by_the_hub(hub: Hub, node: Node, tmp_path: Path) -> None:
    with (
        open_test_hub(tmp_path / "other", seed=98) as other,
        pytest.raises(InvalidInvitation, match="another hub's") as refused,
    ):
        membership.join(node, nodes.invite(other, 1), post_to(hub))
    assert "ask this hub's operator" in refused.value.hint


def test_an_invitation_that_was_never_made_is_refused(hub: Hub, node: Node) -> None:
    invitation = replace(parse_invitation(nodes.invite(hub, 1)), secret=b"x" * 32)
    with pytest.raises(InvalidInvitation, match="does not know"):
        membership.join(node, invitation.text(), post_to(hub))


def test_a_hub_that_does_not_hold_the_invited_key_is_not_joined(hub: Hub, node: Node) -> None:
    stranger = replace(hub, signing=SigningKey.from_seed(b"s" * 32))
    text = nodes.invite(hub, 1)

    def swapped(url: str, body: dict[str, Any]) -> dict[str, Any]:
        genuine = post_to(hub)(url, body)
        payload = stranger.signing.sign({"says": "joined"}).decode()
        return {**genuine, "signed": payload}

    with pytest.raises(InvalidInvitation, match="not from the hub"):
        membership.join(node, text, swapped)
    assert membership.list_hubs(node) == []


def test_a_broker_certificate_that_is_not_the_invited_one_is_not_trusted(hub: Hub, node: Node, tmp_path: Path) -> None:
    text = nodes.invite(hub, 1)
    with (
        open_test_hub(tmp_path / "other", seed=98) as other,
        pytest.raises(InvalidInvitation, match="not from the hub"),
    ):
        membership.join(node, text, post_to(replace(hub, broker_ca=other.broker_ca)))
    assert membership.list_hubs(node) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda body: {**body, "proof": "0" * 64},
        lambda body: {**body, "signed": body["signed"][:-9] + "AAAAAAAA" + body["signed"][-1]},
        lambda body: {**body, "extra": 1},
        lambda body: {**body, "proof": None},
        lambda body: {},
        lambda body: [],
        lambda body: {**body, "signed": "a.b.c"},
    ],
)
def test_a_tampered_request_is_refused_and_leaves_the_invitation_good(hub: Hub, node: Node, change: Change) -> None:
    text = nodes.invite(hub, 1)
    with pytest.raises((InvalidInvitation, InvalidMessage)):
        membership.join(node, text, lambda _, body: nodes.accept_join(hub, change(body)))
    assert nodes.list_nodes(hub) == []
    assert membership.join(node, text, post_to(hub)).state == "joined"


def test_another_node_cannot_use_a_request_it_overheard(hub: Hub, node: Node, tmp_path: Path) -> None:
    text = nodes.invite(hub, 1)
    with open_test_node(tmp_path / "thief", keys=ring(7)) as thief:
        blind = replace(parse_invitation(text), secret=b"?" * 32).text()
        taken: dict[str, Any] = {}

        def mixed(_: str, body: dict[str, Any]) -> dict[str, Any]:
            return nodes.accept_join(hub, {**taken, "signed": body["signed"]})

        def overhear(_: str, body: dict[str, Any]) -> dict[str, Any]:
            taken.update(body)
            raise InvalidInvitation("overheard")

        with pytest.raises(InvalidInvitation, match="overheard"):
            membership.join(node, text, overhear)
        with pytest.raises(InvalidInvitation, match="proof"):
            membership.join(thief, blind, mixed)


def test_the_same_node_may_join_again_with_a_new_invitation(hub: Hub, node: Node) -> None:
    for _ in range(2):
        membership.join(node, nodes.invite(hub, 1), post_to(hub))
    assert len(nodes.list_nodes(hub)) == 1
    assert len(membership.list_hubs(node)) == 1


def test_a_node_joins_several_hubs_under_other_broker_keys(hub: Hub, node: Node, tmp_path: Path) -> None:
    with open_test_hub(tmp_path / "other", seed=98) as other:
        for each in (hub, other):
            membership.join(node, nodes.invite(each, 1), post_to(each))
        assert {joined.id for joined in membership.list_hubs(node)} == {hub.id, other.id}
        assert nodes.list_nodes(hub)[0].nkey != nodes.list_nodes(other)[0].nkey


def test_a_removed_node_cannot_come_back(hub: Hub, tmp_path: Path) -> None:
    with open_joined_node(tmp_path / "node", hub) as (node, _):
        nodes.remove(hub, node.id)
        assert nodes.list_nodes(hub) == [] and nodes.key_of(hub, node.id) is None
        with pytest.raises(InvalidInvitation, match="removed"):
            membership.join(node, nodes.invite(hub, 1), post_to(hub))


def test_a_node_that_is_not_known_cannot_be_removed(hub: Hub) -> None:
    with pytest.raises(NotFound):
        nodes.remove(hub, "n-" + "a" * 26)


def test_a_node_whose_title_cannot_travel_is_told_so(hub: Hub, node: Node) -> None:
    with pytest.raises(BadSettings, match="title"):
        membership.join(replace(node, title="x" * 201), nodes.invite(hub, 1), post_to(hub))


@pytest.mark.parametrize("hours", [0, -1, 721, float("nan")])
def test_an_invitation_is_good_for_up_to_thirty_days(hub: Hub, hours: float) -> None:
    with pytest.raises(BadInput):
        nodes.invite(hub, hours)


def test_an_invitation_made_before_the_hubs_key_changed_is_refused(hub: Hub, node: Node) -> None:
    text = nodes.invite(hub, 1)
    nodes.replace_hub_key(hub, b"n" * 32)
    new = SigningKey.from_seed(b"n" * 32)
    with pytest.raises(InvalidInvitation, match="before the hub's key changed"):
        membership.join(node, text, post_to(replace(hub, signing=new)))


def test_a_node_is_online_for_a_minute_after_it_was_seen(hub: Hub, tmp_path: Path) -> None:
    with open_joined_node(tmp_path / "node", hub) as (node, _):
        known = replace(nodes.get_node(hub, node.id), last_seen="2026-01-02T03:04:05.000000Z")
        at = now().replace(year=2026, month=1, day=2, hour=3, minute=4, second=5, microsecond=0)
        assert known.online(at + timedelta(seconds=59))
        assert not known.online(at + timedelta(seconds=61))
        assert not replace(known, last_seen=None).online(at)


@pytest.mark.parametrize(
    ("url", "broker", "good"),
    [
        ("https://hub.example.org", "127.0.0.1:8701", False),
        ("https://hub.example.org", "[::1]:8701", False),
        ("https://10.0.0.5", "localhost:8701", False),
        ("https://hub.example.org", "hub.example.org:8701", True),
        ("http://hub.localhost:8700", "127.0.0.1:8701", True),
        ("http://127.0.0.1:8700", "localhost:8701", True),
        ("http://[::1]:8700", "[::1]:8701", True),
    ],
)
def test_no_node_is_invited_to_a_broker_that_only_the_hubs_machine_reaches(
    hub: Hub, url: str, broker: str, good: bool
) -> None:
    there = replace(hub, url=url, broker=broker)
    if good:
        assert nodes.invite(there, 1)
        return
    with pytest.raises(BadSettings) as refused:
        nodes.invite(there, 1)
    assert "broker_names" in refused.value.hint
    assert hub.audit.entries(5) == []
