"""What a hub does with messages, and a node with a hub's: every way of forging one is refused and written down."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from tests.federating import IRI, described, open_joined_node, open_test_hub, refusals
from tests.support import ring

from carina.errors import BadInput, InvalidMessage, InvalidQuery, NotFound, WrongKey
from carina.federation import wire
from carina.federation.keychange import next_node_key
from carina.federation.messages import Sealed, seal_message
from carina.federation.papers import StatusList, make_status
from carina.federation.signing import SigningKey, party_id, peek
from carina.hub import catalogue, nodes
from carina.hub.centre import Hub
from carina.hub.figures import Figures, figures
from carina.hub.receive import open_from, receive
from carina.hub.search import Ask, ask, read_answer
from carina.model.clock import now
from carina.model.cohort import All, OneOf
from carina.model.dataset import Group
from carina.model.keys import derive
from carina.model.search import Counts
from carina.node import membership
from carina.node.answer import answer
from carina.node.membership import JoinedHub
from carina.node.site import Node
from carina.storage.database import check_keys
from carina.storage.hub_schema import nodes as table

STRANGER = SigningKey.from_seed(b"x" * 32)
NEXT = SigningKey.from_seed(b"y" * 32)
CT = OneOf("modality", ("CT",))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with open_test_hub(tmp_path / "hub") as opened:
        yield opened


@pytest.fixture
def site(hub: Hub, tmp_path: Path) -> Iterator[tuple[Node, JoinedHub]]:
    with open_joined_node(tmp_path / "node", hub) as opened:
        yield opened


def told(hub: Hub, node: Node, body: wire.Body) -> tuple[Sealed, bytes]:
    """What a node says, and the hub's answer."""
    sealed = membership.seal(node, hub.id, body)
    reply = receive(hub, node.id, sealed.data)
    assert reply is not None
    return sealed, reply


def greeted(hub: Hub, node: Node, *datasets: object) -> wire.Welcome:
    joined = membership.get_hub(node, hub.id)
    sealed = membership.hello(node, joined, list(datasets))  # type: ignore[arg-type]
    reply = receive(hub, node.id, sealed.data)
    assert reply is not None
    return membership.read_welcome(node, joined, sealed, reply)


def test_a_hello_is_welcomed_and_marks_the_node_as_seen(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    assert nodes.get_node(hub, node.id).last_seen is None
    welcome = greeted(hub, replace(node, title="Renamed"))
    assert welcome == wire.Welcome(title="Test hub", url=hub.url)
    known = nodes.get_node(hub, node.id)
    assert known.online() and known.title == "Renamed"
    [renamed] = hub.audit.entries(9, action="node-renamed")
    assert (renamed.subject, renamed.details) == (node.id, {"changed": ["title"]})


def test_a_dataset_travels_into_the_catalogue_and_out_again(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, joined = site
    dataset = described(node)
    assert greeted(hub, node, dataset).wanted == (IRI,)
    sealed, reply = told(hub, node, membership.description(dataset))
    membership.read_done(node, joined, sealed, reply)
    assert catalogue.get_dataset(hub, IRI).dataset == dataset
    assert greeted(hub, node, dataset).wanted == ()
    assert greeted(hub, node, replace(dataset, digest="e" * 64)).wanted == (IRI,)
    told(hub, node, wire.Withdraw(iri=IRI))
    assert catalogue.list_datasets(hub) == []
    with pytest.raises(NotFound):
        catalogue.get_dataset(hub, IRI)


def test_what_a_node_no_longer_names_leaves_the_catalogue(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    told(hub, node, membership.description(described(node)))
    greeted(hub, node)
    assert catalogue.list_datasets(hub) == []


def test_a_node_cannot_describe_or_withdraw_anothers_dataset(
    hub: Hub, site: tuple[Node, JoinedHub], tmp_path: Path
) -> None:
    node, _ = site
    told(hub, node, membership.description(described(node)))
    with open_joined_node(tmp_path / "other", hub, seed=2) as (other, joined):
        for body in (membership.description(described(other)), wire.Withdraw(iri=IRI)):
            sealed, reply = told(hub, other, body)
            with pytest.raises(BadInput, match="not-yours"):
                membership.read_done(other, joined, sealed, reply)
        sealed, reply = told(hub, other, membership.description(described(node, iri=IRI[:-1] + "2")))
        with pytest.raises(BadInput, match="not-yours"):
            membership.read_done(other, joined, sealed, reply)
    assert [entry.dataset.node for entry in catalogue.list_datasets(hub)] == [node.id]


def test_a_description_that_shows_a_small_count_cannot_be_sent(site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    for changes in ({"patients": 9}, {"patients": None}, {"threshold": 19}):
        with pytest.raises(InvalidMessage):
            membership.description(described(node, **changes))


def test_forged_messages_get_no_answer_and_are_written_down(
    hub: Hub, site: tuple[Node, JoinedHub], tmp_path: Path
) -> None:
    node, _ = site
    body = membership.description(described(node))
    usual = {"hub": hub.id, "sender": node.id, "to": hub.id}
    with open_test_hub(tmp_path / "other", seed=98) as elsewhere:
        forged = {
            "forged": seal_message(STRANGER, body, **usual).data,
            "unknown-sender": seal_message(
                STRANGER, body, **{**usual, "sender": party_id(STRANGER.public_jwk, "n")}
            ).data,
            "misaddressed": seal_message(node.signing, body, **{**usual, "hub": elsewhere.id, "to": elsewhere.id}).data,
            "expired": seal_message(node.signing, body, **usual, now=now() - timedelta(seconds=95)).data,
            "malformed": b"not a message",
        }
    for reason, data in forged.items():
        assert receive(hub, node.id, data) is None
        assert refusals(hub.audit)[0] == reason
    assert catalogue.list_datasets(hub) == []
    hub.audit.verify()


def test_no_kind_of_message_has_an_effect_when_it_is_forged(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    told(hub, node, membership.description(described(node)))
    before = nodes.get_node(hub, node.id), catalogue.list_datasets(hub)
    held = wire.Possession(hub=hub.id, node=node.id, old=node.signing.thumbprint, new=NEXT.thumbprint)
    bodies = [
        membership.description(described(node, title="Forged")),
        wire.Withdraw(iri=IRI),
        wire.Bye(),
        wire.Hello(title="Forged", institution="", country="XX", public_url=None, knows=NEXT.thumbprint, datasets={}),
        wire.KeyChange(
            key=wire.read(wire.Jwk, NEXT.public_jwk), nkey=before[0].nkey, proof=NEXT.sign(wire.write(held)).decode()
        ),
        wire.Search(query={"all": []}),
        wire.Status(paper="a.b.c"),
        wire.Ring(),
        wire.Permits(held={}, wanted=()),
        wire.Jobs(progress={}),
        wire.Outcome(job="0" * 26, state="failed", reason="crashed", result=None),
        wire.Done(),
        wire.Refusal(reason="not-yours"),
    ]
    assert {body.kind for body in bodies} == set(get_args(wire.Kind))
    for body in bodies:
        data = seal_message(STRANGER, body, hub=hub.id, sender=node.id, to=hub.id).data
        assert receive(hub, node.id, data) is None
    assert refusals(hub.audit) == ["forged"] * len(bodies)
    assert (nodes.get_node(hub, node.id), catalogue.list_datasets(hub)) == before


def test_a_message_counts_once_even_after_the_hub_was_started_again(
    hub: Hub, site: tuple[Node, JoinedHub], tmp_path: Path
) -> None:
    node, _ = site
    sealed = membership.seal(node, hub.id, membership.description(described(node)))
    assert receive(hub, node.id, sealed.data) is not None
    with open_test_hub(hub.folder) as again:
        assert receive(again, node.id, sealed.data) is None
        assert refusals(again.audit) == ["replayed"]


def test_a_genuine_message_brought_by_another_node_is_forged(
    hub: Hub, site: tuple[Node, JoinedHub], tmp_path: Path
) -> None:
    node, _ = site
    with open_joined_node(tmp_path / "other", hub, seed=2) as (other, _hub):
        sealed = membership.seal(node, hub.id, wire.Bye())
        assert receive(hub, other.id, sealed.data) is None
    assert refusals(hub.audit) == ["forged"]
    assert nodes.get_node(hub, node.id).state == "joined"


def test_a_removed_nodes_messages_are_refused_and_its_datasets_are_gone(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    told(hub, node, membership.description(described(node)))
    nodes.remove(hub, node.id)
    assert receive(hub, node.id, membership.seal(node, hub.id, wire.Bye()).data) is None
    assert refusals(hub.audit) == ["unknown-sender"]
    assert catalogue.list_datasets(hub) == []
    assert ask(hub, CT) == []


def test_a_node_that_says_good_bye_has_left(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    told(hub, node, wire.Bye())
    assert nodes.get_node(hub, node.id).state == "left"


@pytest.mark.parametrize("body", [wire.Search(query={"all": []}), wire.Status(paper="a.b.c"), wire.Ring()])
def test_what_is_for_nodes_is_not_understood_by_a_hub(hub: Hub, site: tuple[Node, JoinedHub], body: wire.Body) -> None:
    node, joined = site
    sealed, reply = told(hub, node, body)
    with pytest.raises(BadInput, match="not-understood"):
        membership.read_done(node, joined, sealed, reply)


@pytest.mark.parametrize(
    "body",
    [wire.Permits(held={}, wanted=()), wire.Jobs(progress={}), wire.Withdraw(iri=IRI)],
    ids=lambda body: body.kind,
)
def test_what_is_for_hubs_is_not_understood_by_a_node(hub: Hub, site: tuple[Node, JoinedHub], body: wire.Body) -> None:
    node, _ = site
    sealed = seal_message(hub.signing, body, hub=hub.id, sender=hub.id, to=node.id)
    reply = answer(node, hub.id, sealed.data)
    assert reply is not None
    assert open_from(hub, node.id, reply, answers=sealed.nonce).body == wire.Refusal(reason="not-understood")


def test_a_node_that_holds_and_wants_nothing_gets_nothing(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, joined = site
    unknown = {"0" * 26: wire.Held(state="in-force", reason="", use=wire.Use())}
    for body, expected in (
        (wire.Permits(held=unknown, wanted=("1" * 26,)), wire.Visas(visas=())),
        (wire.Jobs(progress={}), wire.Open(orders=(), stop=())),
        (
            wire.Jobs(progress={"0" * 26: wire.Progress(state="running", percent=7)}),
            wire.Open(orders=(), stop=("0" * 26,)),
        ),
    ):
        sealed, reply = told(hub, node, body)
        assert membership.open_from(node, joined, reply, answers=sealed.nonce).body == expected


def test_a_ring_rouses_the_node_and_a_list_of_states_only_if_it_names_an_unknown_permit(
    hub: Hub, site: tuple[Node, JoinedHub]
) -> None:
    node, _ = site
    heard: list[str] = []

    def tell(body: wire.Body) -> None:
        sealed = seal_message(hub.signing, body, hub=hub.id, sender=hub.id, to=node.id)
        reply = answer(node, hub.id, sealed.data, lambda: heard.append(body.kind))
        assert reply is not None
        assert open_from(hub, node.id, reply, answers=sealed.nonce).body == wire.Done()

    def states(number: int, **permits: str) -> wire.Status:
        said = {"hub": hub.id, "node": node.id, "number": number, "issued": int(now().timestamp()), "permits": permits}
        return wire.Status(paper=make_status(hub.permit_key, wire.read(StatusList, said)))

    tell(wire.Ring())
    tell(states(1))
    tell(states(2, **{"0" * 26: "ended"}))
    assert heard == ["ring"]
    tell(states(3, **{"0" * 26: "valid"}))
    assert heard == ["ring", "status"]


def test_a_nodes_next_key_is_taken_under_its_present_one(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, joined = site
    master = bytes([7]) * 32
    following = replace(node, signing=SigningKey.from_seed(master), keys=replace(node.keys, signing=master))
    change = membership.key_change(node, hub.id, master)
    reply = receive(hub, node.id, change.data)
    assert reply is not None
    membership.read_done(node, joined, change, reply)
    known = nodes.get_node(hub, node.id)
    assert known.key == following.signing.public_jwk and known.id == node.id
    assert known.nkey == membership.broker_name(membership.seed_for(following, hub.id))
    assert receive(hub, node.id, membership.seal(node, hub.id, wire.Bye()).data) is None
    greeted(hub, following)


def test_after_a_change_of_key_the_records_know_the_next_one_and_not_the_old(
    hub: Hub, site: tuple[Node, JoinedHub]
) -> None:
    node, _ = site
    for engine in (hub.engine, node.engine):
        check_keys(engine, ring())
    nodes.replace_hub_key(hub, b"y" * 32)
    membership.adopt_key(node, b"y" * 32)
    for engine in (hub.engine, node.engine):
        check_keys(engine, replace(ring(), signing=b"y" * 32))
        with pytest.raises(WrongKey):
            check_keys(engine, ring())


def test_a_next_key_that_its_holder_does_not_prove_is_forged(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    held = wire.Possession(hub=hub.id, node=node.id, old=node.signing.thumbprint, new=NEXT.thumbprint)
    for signer, claim in ((STRANGER, held), (NEXT, held.model_copy(update={"old": NEXT.thumbprint}))):
        body = wire.KeyChange(
            key=wire.read(wire.Jwk, NEXT.public_jwk),
            nkey=nodes.get_node(hub, node.id).nkey,
            proof=signer.sign(wire.write(claim)).decode(),
        )
        assert receive(hub, node.id, membership.seal(node, hub.id, body).data) is None
        assert refusals(hub.audit)[0] == "forged"
    assert nodes.key_of(hub, node.id) == node.signing.public_jwk


def test_a_node_follows_its_hub_over_two_changes_of_key(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    third = SigningKey.from_seed(b"z" * 32)
    nodes.replace_hub_key(hub, b"y" * 32)
    nodes.replace_hub_key(replace(hub, signing=NEXT), b"z" * 32)
    later = replace(hub, signing=third)
    assert len(greeted(later, node).chain) == 2
    assert membership.get_hub(node, hub.id).key == third.public_jwk
    assert node.audit.entries(1)[0].action == "hub-key-followed"
    assert greeted(later, node).chain == ()


def test_a_chain_that_does_not_begin_at_the_known_key_is_not_followed(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, joined = site
    thief = replace(hub, signing=STRANGER)
    with pytest.raises(InvalidMessage) as refused:
        greeted(thief, node)
    assert refused.value.reason == "forged"
    nodes.replace_hub_key(thief, b"y" * 32)
    with pytest.raises(InvalidMessage) as refused:
        greeted(replace(hub, signing=NEXT), node)
    assert refused.value.reason == "forged"
    assert membership.get_hub(node, hub.id) == joined


def asked_one(hub: Hub, query: object = CT) -> Ask:
    [asked] = ask(hub, query)  # type: ignore[arg-type]
    return asked


def test_a_node_with_nobody_to_find_is_below_the_threshold(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    asked = asked_one(hub)
    found = read_answer(hub, asked, answer(node, hub.id, asked.message), 0.5)
    assert (found.node, found.state, found.counts) == (node.id, "below-threshold", Counts(None, None, 10))


def test_a_counted_answer_is_read(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    asked = asked_one(hub)
    body = wire.Found(state="counted", patients=12, studies=20, threshold=10)
    found = read_answer(hub, asked, membership.seal(node, hub.id, body, re=asked.nonce).data, 0.5)
    assert (found.state, found.counts, found.title) == ("counted", Counts(12, 20, 10), node.title)


def test_a_count_below_the_hubs_own_threshold_is_not_shown(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    strict = replace(hub, threshold=15)
    asked = asked_one(strict)
    body = wire.Found(state="counted", patients=12, studies=20, threshold=10)
    found = read_answer(strict, asked, membership.seal(node, hub.id, body, re=asked.nonce).data, 0.5)
    assert (found.state, found.counts) == ("below-threshold", Counts(None, None, 15))


def test_an_answer_with_a_count_below_its_threshold_is_refused(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    asked = asked_one(hub)
    body = wire.Found.model_construct(of="search", state="counted", patients=3, studies=4, threshold=10, unknown=())
    found = read_answer(hub, asked, membership.seal(node, hub.id, body, re=asked.nonce).data, 0.5)
    assert (found.state, found.reason, found.counts) == ("refused", "malformed", None)


def test_a_silent_node_is_named(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    assert read_answer(hub, asked_one(hub), None, 2.0).state == "silent"


def test_an_answer_that_is_not_genuine_is_refused_and_written_down(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    asked = asked_one(hub)
    body = wire.Found(state="counted", patients=99, studies=99, threshold=10)
    for data, reason in (
        (seal_message(STRANGER, body, hub=hub.id, sender=node.id, to=hub.id, re=asked.nonce).data, "forged"),
        (membership.seal(node, hub.id, body, re="o" * 32).data, "misaddressed"),
        (membership.seal(node, hub.id, body).data, "misaddressed"),
        (json.dumps({"patients": 99}).encode(), "malformed"),
    ):
        found = read_answer(hub, asked, data, 0.1)
        assert (found.state, found.reason, found.counts) == ("refused", reason, None)
        assert refusals(hub.audit)[0] == reason


def test_terms_unknown_to_the_hub_are_named_before_anyone_is_asked(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    with pytest.raises(InvalidQuery, match="pirads"):
        ask(hub, All((CT, OneOf("pirads", ("5",)))))


def test_terms_unknown_to_the_node_are_named_instead_of_a_count(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    query = {"all": [{"one_of": {"variable": "pirads\n", "values": ["5"]}}]}
    sealed = seal_message(hub.signing, wire.Search(query=query), hub=hub.id, sender=hub.id, to=node.id)
    asked = replace(asked_one(hub), message=sealed.data, nonce=sealed.nonce)
    found = read_answer(hub, asked, answer(node, hub.id, sealed.data), 0.1)
    assert (found.state, found.unknown, found.counts) == ("unknown-terms", ("pirads?",), None)


def test_a_query_of_no_known_shape_is_refused_by_the_node(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    sealed = seal_message(hub.signing, wire.Search(query={"not": []}), hub=hub.id, sender=hub.id, to=node.id)
    asked = replace(asked_one(hub), message=sealed.data, nonce=sealed.nonce)
    found = read_answer(hub, asked, answer(node, hub.id, sealed.data), 0.1)
    assert (found.state, found.reason) == ("refused", "no-such-query")


def test_a_node_refuses_what_is_not_its_hubs_and_writes_it_down(
    hub: Hub, site: tuple[Node, JoinedHub], tmp_path: Path
) -> None:
    node, _ = site
    body, usual = wire.Search(query={"all": []}), {"hub": hub.id, "sender": hub.id, "to": node.id}
    for data, reason in (
        (seal_message(STRANGER, body, **usual).data, "forged"),
        (seal_message(node.signing, body, **{**usual, "sender": node.id}).data, "unknown-sender"),
        (seal_message(hub.signing, body, **{**usual, "to": "n-" + "a" * 26}).data, "misaddressed"),
        (seal_message(hub.signing, body, **usual, now=now() + timedelta(seconds=40)).data, "expired"),
        (b"\x00", "malformed"),
    ):
        assert answer(node, hub.id, data) is None
        assert refusals(node.audit)[0] == reason
    asked = asked_one(hub)
    assert answer(node, hub.id, asked.message) is not None
    assert answer(node, hub.id, asked.message) is None
    assert refusals(node.audit)[0] == "replayed"


def test_one_hubs_message_is_not_answered_over_anothers_connection(
    hub: Hub, site: tuple[Node, JoinedHub], tmp_path: Path
) -> None:
    node, _ = site
    with open_test_hub(tmp_path / "other", seed=98) as other:
        membership.join(node, nodes.invite(other, 1), lambda _, body: nodes.accept_join(other, body))
        assert answer(node, other.id, asked_one(hub).message) is None
        assert refusals(node.audit) == ["unknown-sender"]


def test_a_hub_that_says_good_bye_has_removed_the_node(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    bye = seal_message(hub.signing, wire.Bye(), hub=hub.id, sender=hub.id, to=node.id)
    assert answer(node, hub.id, bye.data) is not None
    assert membership.get_hub(node, hub.id).state == "removed"
    assert answer(node, hub.id, asked_one(hub).message) is None


def test_the_figures_sum_what_is_shown_and_count_what_is_hidden(
    hub: Hub, site: tuple[Node, JoinedHub], tmp_path: Path
) -> None:
    node, _ = site
    greeted(hub, node)
    told(hub, node, membership.description(described(node)))
    with open_joined_node(tmp_path / "other", hub, seed=2) as (other, _hub):
        small = described(
            other, iri=IRI[:-1] + "2", patients=None, studies=None, series=None, instances=None, groups={}
        )
        told(hub, other, membership.description(small))
    assert figures(hub) == Figures(nodes=2, online=1, datasets=2, patients=40, studies=80, instances=1600, hidden=1)


def test_the_broker_key_differs_by_hub_and_is_not_the_signing_key(site: tuple[Node, JoinedHub]) -> None:
    node, joined = site
    assert membership.seed_for(node, joined.id) != membership.seed_for(node, "h-" + "a" * 26)
    assert derive(ring().signing, "nkey", joined.id) != ring().signing


def changed_key(hub: Hub, node: Node, nkey: str) -> wire.Body:
    """What the hub answers when the node says that its next nkey is this one."""
    body = next_node_key(node.signing, NEXT, nkey, hub.id, node.id)
    sealed = membership.seal(node, hub.id, body)
    reply = receive(hub, node.id, sealed.data)
    assert reply is not None
    return wire.read_body(*(peek(reply)[1][name] for name in ("kind", "body")))


def test_a_node_cannot_take_the_broker_key_of_another_or_of_the_hub(
    hub: Hub, site: tuple[Node, JoinedHub], tmp_path: Path
) -> None:
    node, _ = site
    with open_joined_node(tmp_path / "other", hub, seed=2) as (other, _hub):
        before = {known.id: known.nkey for known in nodes.list_nodes(hub)}
        for nkey in (before[other.id], hub.nkey):
            assert changed_key(hub, node, nkey) == wire.Refusal(reason="not-yours")
            assert refusals(hub.audit)[0] == "not-yours"
    assert {known.id: known.nkey for known in nodes.list_nodes(hub)} == before
    assert nodes.key_of(hub, node.id) == node.signing.public_jwk


def test_a_node_cannot_change_to_a_broker_key_that_is_none(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    held = wire.Possession(hub=hub.id, node=node.id, old=node.signing.thumbprint, new=NEXT.thumbprint)
    body = wire.KeyChange.model_construct(
        key=wire.read(wire.Jwk, NEXT.public_jwk), nkey="U" + "A" * 55, proof=NEXT.sign(wire.write(held)).decode()
    )
    assert receive(hub, node.id, membership.seal(node, hub.id, body).data) is None
    assert refusals(hub.audit) == ["malformed"]


def test_the_records_hold_no_broker_key_twice_even_in_a_race(
    hub: Hub, site: tuple[Node, JoinedHub], tmp_path: Path
) -> None:
    node, _ = site
    with open_joined_node(tmp_path / "other", hub, seed=2) as (other, _hub):
        taken = update(table).where(table.c.id == other.id).values(nkey=nodes.get_node(hub, node.id).nkey)
        with pytest.raises(IntegrityError), hub.engine.begin() as connection:
            connection.execute(taken)
        nodes.remove(hub, node.id)
        with hub.engine.begin() as connection:
            connection.execute(taken)  # of a removed node it counts no more


def test_a_hub_hides_in_descriptions_what_is_below_its_own_threshold(hub: Hub, site: tuple[Node, JoinedHub]) -> None:
    node, _ = site
    body = membership.description(
        described(
            node,
            threshold=2,
            groups={
                "sex": (Group("F", 30), Group("M", 8), Group("O", 2)),
                "modality": (Group("CT", 40), Group("US", None)),
                "diagnosis": (Group("C34", 3),),
            },
        )
    )
    told(hub, node, body)
    [shown] = catalogue.list_datasets(hub)
    assert shown.dataset.threshold == 10
    assert (shown.dataset.patients, shown.dataset.studies) == (40, 80)
    assert shown.dataset.groups == {
        "sex": (Group("F", 30),),
        "modality": (Group("CT", 40),),
        "diagnosis": (),
    }
    [strict] = catalogue.list_datasets(replace(hub, threshold=41))
    assert (strict.dataset.patients, strict.dataset.studies, strict.dataset.series) == (None, None, None)
    assert strict.dataset.instances is None
    assert set(strict.dataset.groups.values()) == {()}


def test_a_node_describes_so_many_datasets_and_no_more(
    hub: Hub, site: tuple[Node, JoinedHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    node, _ = site
    monkeypatch.setattr(catalogue, "MOST_OF_A_NODE", 2)
    for number in (1, 2, 1):
        told(hub, node, membership.description(described(node, iri=f"{IRI[:-1]}{number}")))
    told(hub, node, wire.Withdraw(iri=f"{IRI[:-1]}2"))
    _, reply = told(hub, node, membership.description(described(node, iri=f"{IRI[:-1]}3")))
    assert peek(reply)[1]["body"] == {"reason": "too-many"}
    assert refusals(hub.audit) == ["too-many"]
    assert [entry.dataset.iri for entry in catalogue.list_datasets(hub)] == [f"{IRI[:-1]}1"]
