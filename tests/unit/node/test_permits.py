"""What a node believes of hubs' permits, and what its data manager says to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from tests.federating import open_test_hub, post_to, refusals
from tests.permitting import AT, TRUSTING, Site, open_site, opened_segment, unsigned, visa_of, with_payload
from tests.support import make_node

from carina.errors import BadInput, Conflict, InvalidMessage, NotFound, PermitDenied
from carina.federation import wire
from carina.federation.messages import seal_message
from carina.federation.papers import make_code, make_visa
from carina.federation.permitkeys import PermitKey
from carina.hub import nodes
from carina.model.clock import now
from carina.model.permit import Visa
from carina.node import answer, membership, permits
from carina.node.authorise import authorise
from carina.node.permits import take_states, take_visa
from carina.storage.schema import hubs, permit_states
from carina.storage.schema import permits as table

STRANGER = PermitKey.from_master(b"stranger" * 4)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as made:
        yield made


# --- lists of states ----------------------------------------------------------------------------------------------


def refused_list(site: Site, paper: str, seconds: float = 0) -> str:
    """Why the node does not take a list; audited as the node's answer to hubs does."""
    with pytest.raises(InvalidMessage) as refused:
        take_states(site.node, site.hub.id, paper, now=AT + timedelta(seconds=seconds))
    answer.refuse(site.node, site.hub.id, refused.value)
    assert refusals(site.node.audit)[0] == refused.value.reason
    return refused.value.reason


def number(site: Site) -> int:
    with site.node.engine.connect() as connection:
        return connection.execute(select(func.coalesce(func.max(permit_states.c.number), 0))).scalar_one()


def test_each_list_replaces_the_one_before(site: Site) -> None:
    site.states = {"a" * 26: "valid"}
    site.say()
    assert permits.wanted(site.node, site.hub.id) == ("a" * 26,)
    site.states = {"a" * 26: "ended", "b" * 26: "valid"}
    site.say()
    assert permits.wanted(site.node, site.hub.id) == ("b" * 26,)
    assert number(site) == 2


def test_an_old_list_is_refused_as_replayed_also_the_very_same(site: Site) -> None:
    first, second = site.list(), site.list()
    take_states(site.node, site.hub.id, second, now=AT)
    assert [refused_list(site, paper) for paper in (first, second)] == ["replayed", "replayed"]
    assert number(site) == 2


def test_an_old_list_is_refused_after_the_node_has_started_again(site: Site, tmp_path: Path) -> None:
    old = site.list()
    site.say()
    site.node.engine.dispose()
    again = make_node(tmp_path / "node", keys=site.node.keys)
    with pytest.raises(InvalidMessage) as refused:
        take_states(again, site.hub.id, old, now=AT)
    assert refused.value.reason == "replayed"
    again.engine.dispose()


@pytest.mark.parametrize(("seconds", "taken"), [(59.9, True), (60, False), (-30, True), (-31, False)])
def test_a_list_is_taken_within_a_minute_of_its_issue(site: Site, seconds: float, taken: bool) -> None:
    paper = site.list()
    if taken:
        take_states(site.node, site.hub.id, paper, now=AT + timedelta(seconds=seconds))
    else:
        assert refused_list(site, paper, seconds) == "expired"
    assert number(site) == int(taken)


def test_a_list_of_another_hub_or_for_another_node_is_misaddressed(site: Site) -> None:
    assert refused_list(site, site.list(node="n-" + "a" * 26)) == "misaddressed"
    assert refused_list(site, site.list(hub="h-" + "a" * 26)) == "misaddressed"


def test_a_list_that_the_hub_did_not_sign_is_forged(site: Site) -> None:
    assert refused_list(site, site.list(key=STRANGER)) == "forged"
    assert refused_list(site, with_payload(site.list(), number=9)) == "forged"
    assert refused_list(site, unsigned(site.list())) == "forged"
    code = make_code(
        site.hub.permit_key, hub=site.hub.id, node=site.node.id, permit="a" * 26, dataset=site.dataset, subject="r",
        name="R",
    )  # fmt: skip
    assert refused_list(site, code) == "forged"  # another kind of paper with the right key
    assert number(site) == 0


def test_a_number_that_would_lock_out_all_later_lists_is_refused(site: Site) -> None:
    at = int(AT.timestamp())
    assert refused_list(site, site.list(number=10**15)) == "expired"
    assert refused_list(site, site.list(number=at + 86_401)) == "expired"
    take_states(site.node, site.hub.id, site.list(number=at + 86_400), now=AT)
    take_states(site.node, site.hub.id, site.list(number=at + 86_401), now=AT + timedelta(seconds=1))


def test_a_hub_that_is_joined_again_with_another_key_of_permits_counts_anew(site: Site) -> None:
    take_states(site.node, site.hub.id, site.list(number=1_000), now=AT)
    membership.join(site.node, nodes.invite(site.hub, 1), post_to(site.hub))
    assert refused_list(site, site.list(number=999)) == "replayed"
    changed = replace(site.hub, permit_key=STRANGER)
    membership.join(site.node, nodes.invite(changed, 1), post_to(changed))
    take_states(site.node, site.hub.id, site.list(number=1, key=STRANGER), now=AT)
    assert number(site) == 1


def test_an_old_list_sent_again_and_again_fills_no_audit_trail(site: Site) -> None:
    old = site.list(now())
    site.say(now())
    for _ in range(20):
        sealed = seal_message(site.hub.signing, wire.Status(paper=old), hub=site.hub.id, sender=site.hub.id,
            to=site.node.id)  # fmt: skip
        assert answer.answer(site.node, site.hub.id, sealed.data) is not None
    assert refusals(site.node.audit) == ["replayed"]


def test_who_has_stolen_only_the_key_of_messages_says_nothing_of_permits(site: Site) -> None:
    made = site.grant(signed=False)
    site.end(made)
    revived = site.list(key=STRANGER, permits={made.id: "valid"}, issued=int(now().timestamp()))
    sealed = seal_message(site.hub.signing, wire.Status(paper=revived), hub=site.hub.id, sender=site.hub.id,
        to=site.node.id)  # fmt: skip
    assert answer.answer(site.node, site.hub.id, sealed.data) is not None
    assert refusals(site.node.audit)[0] == "forged"
    assert permits.get(site.node, site.hub.id, made.id).hub_state == "ended"


def test_a_hub_that_was_left_says_nothing_any_more(site: Site) -> None:
    membership.leave(site.node, site.hub.id)
    assert refused_list(site, site.list()) == "forged"


def test_a_hub_joined_before_there_were_permits_has_none(site: Site) -> None:
    with site.node.engine.begin() as connection:
        connection.execute(update(hubs).values(permit_key=None))
    assert refused_list(site, site.list()) == "forged"
    assert reason_of_visa(site, make_visa(site.hub.permit_key, visa_of(site.hub, site.node, site.dataset))) == "forged"


def test_the_end_of_a_permit_that_is_held_is_audited_once(site: Site) -> None:
    visa = site.grant()
    site.states["v" * 26] = "ended"  # not held: nothing of this node's ends
    site.end(visa)
    site.say()
    assert site.audited("permit-ended") == [{"reason": "revoked"}]
    assert permits.get(site.node, site.hub.id, visa.id).hub_state == "ended"


def test_a_list_of_as_many_permits_as_there_may_be_is_taken(site: Site) -> None:
    site.states = {f"{item:026d}": "valid" for item in range(12_000)}
    site.say()
    assert len(permits.wanted(site.node, site.hub.id)) == permits.MOST_TOLD


# --- visas --------------------------------------------------------------------------------------------------------


def reason_of_visa(site: Site, text: str, seconds: float = 0) -> str:
    """Why the node does not take a visa, which its audit trail must say too."""
    with pytest.raises(PermitDenied) as refused:
        take_visa(site.node, site.hub.id, text, now=AT + timedelta(seconds=seconds))
    assert site.audited("visa-refused")[0] == {"reason": refused.value.reason}
    return refused.value.reason


def visa(site: Site, **changes: object) -> Visa:
    return visa_of(site.hub, site.node, site.dataset, **changes)


def test_a_visa_waits_for_the_data_manager(site: Site) -> None:
    made = site.grant(signed=False)
    held = permits.get(site.node, site.hub.id, made.id)
    assert (held.visa, held.state, held.hub_title, held.hub_state) == (made, "waiting", "Test hub", "valid")
    assert permits.wanted(site.node, site.hub.id) == ()
    assert site.audited("permit-received")[0]["account"] == "rosa"


def test_the_same_visa_again_changes_nothing(site: Site) -> None:
    made = site.grant()
    take_visa(site.node, site.hub.id, make_text(site, made), now=AT)
    assert permits.get(site.node, site.hub.id, made.id).state == "in-force"
    assert len(site.audited("permit-received")) == 1


def make_text(site: Site, made: Visa) -> str:
    """The text that the node holds of a visa."""
    with site.node.engine.connect() as connection:
        return str(connection.execute(select(table.c.visa).where(table.c.id == made.id)).scalar_one())


def test_another_visa_of_a_known_id_is_forged(site: Site) -> None:
    made = site.grant(actions=("view",))
    wider = make_visa(site.hub.permit_key, replace(made, actions=("view", "retrieve", "analyse")))
    assert reason_of_visa(site, wider) == "forged"
    assert permits.get(site.node, site.hub.id, made.id).visa == made


def test_a_visa_that_the_hub_did_not_sign_is_forged(site: Site) -> None:
    genuine = make_visa(site.hub.permit_key, visa(site))
    assert reason_of_visa(site, make_visa(STRANGER, visa(site))) == "forged"
    assert reason_of_visa(site, with_payload(genuine, sub="someone-else")) == "forged"
    assert reason_of_visa(site, site.hub.signing.sign({"jti": "a" * 26}).decode()) == "forged"  # the key of messages
    assert [reason_of_visa(site, text) for text in ("", "a.b.c", "\ud800.\ud800.\ud800")] == ["forged"] * 3


def test_a_visa_with_the_algorithm_none_is_forged(site: Site) -> None:
    genuine = make_visa(site.hub.permit_key, visa(site))
    assert reason_of_visa(site, unsigned(genuine)) == "forged"
    assert reason_of_visa(site, unsigned(genuine) + genuine.rpartition(".")[2]) == "forged"


def test_a_visa_for_another_node_is_misaddressed(site: Site) -> None:
    other = make_visa(site.hub.permit_key, visa(site, node="n-" + "a" * 26))
    assert reason_of_visa(site, other) == "misaddressed"


def test_a_visa_of_another_issuer_is_refused(site: Site, tmp_path: Path) -> None:
    assert reason_of_visa(site, make_visa(site.hub.permit_key, visa(site, hub="h-" + "a" * 26))) == "wrong-issuer"
    with open_test_hub(tmp_path / "other", seed=77, url="http://other.localhost:8700/hub") as other:
        membership.join(site.node, nodes.invite(other, 1), post_to(other))
        theirs = visa(site, issuer="http://OTHER.localhost:8700/hub/")
        assert reason_of_visa(site, make_visa(site.hub.permit_key, theirs)) == "wrong-issuer"


def test_a_permit_from_before_its_hub_moved_is_taken(site: Site) -> None:
    made = visa(site)
    site.states[made.id] = "valid"
    site.say()
    move(site, "https://moved.example.org")
    take_visa(site.node, site.hub.id, make_visa(site.hub.permit_key, made), now=AT)
    assert permits.get(site.node, site.hub.id, made.id).visa == made


def move(site: Site, url: str) -> None:
    """What the hub's own word does, or a record from before addresses were checked."""
    with site.node.engine.begin() as connection:
        connection.execute(update(hubs).where(hubs.c.id == site.hub.id).values(url=url))


def test_a_hub_with_the_same_address_does_not_keep_anothers_permits_out(site: Site, tmp_path: Path) -> None:
    with open_test_hub(tmp_path / "other", seed=77, url=site.hub.url) as other:
        membership.join(site.node, nodes.invite(other, 1), post_to(other))
        assert permits.get(site.node, site.hub.id, site.grant().id).state == "in-force"


def refused_for(site: Site, made: Visa) -> str:
    with pytest.raises(InvalidMessage) as refused:
        take_visa(site.node, site.hub.id, make_visa(site.hub.permit_key, made), now=AT)
    return refused.value.reason


def test_a_permit_that_the_node_has_not_asked_for_is_not_kept(site: Site) -> None:
    assert refused_for(site, visa(site)) == "not-wanted"
    ended = visa(site)
    site.states[ended.id] = "ended"
    site.say()
    assert refused_for(site, ended) == "not-wanted"
    assert permits.listed(site.node) == []


def test_a_node_holds_only_so_many_permits_of_a_hub(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permits, "MOST_HELD", 2)
    first, _ = site.grant(), site.grant(expires=AT + timedelta(seconds=1))
    third = visa(site)
    site.states[third.id] = "valid"
    site.say(AT + timedelta(seconds=1))
    late = make_visa(site.hub.permit_key, third)
    with pytest.raises(InvalidMessage) as refused:  # one is over, but came today
        take_visa(site.node, site.hub.id, late, now=AT + timedelta(seconds=2))
    assert refused.value.reason == "too-many"
    take_visa(site.node, site.hub.id, make_text(site, first), now=AT)  # what is held is no new one
    take_visa(site.node, site.hub.id, late, now=AT + timedelta(days=1, seconds=2))
    assert len(permits.listed(site.node)) == 3


def test_a_visa_of_another_hub_is_refused_however_genuine(site: Site, tmp_path: Path) -> None:
    with open_test_hub(tmp_path / "other", seed=77) as other:
        assert reason_of_visa(site, make_visa(other.permit_key, visa_of(other, site.node, site.dataset))) == "forged"


def test_a_visa_out_of_its_time_is_refused(site: Site) -> None:
    made = make_visa(site.hub.permit_key, visa(site, expires=AT + timedelta(seconds=100)))
    assert reason_of_visa(site, made, 100) == "expired"
    early = make_visa(site.hub.permit_key, visa(site, issued=AT + timedelta(seconds=31)))
    assert reason_of_visa(site, early) == "not-yet"
    site.states[opened_segment(early.split(".")[1])["jti"]] = "valid"
    site.say()
    take_visa(site.node, site.hub.id, early, now=AT + timedelta(seconds=1))


def test_a_refused_visa_that_comes_again_and_again_is_audited_once(site: Site) -> None:
    bad = make_visa(STRANGER, visa(site))
    for minute in range(60):
        assert reason_of_visa(site, bad, minute * 60) == "forged"
    assert site.audited("visa-refused") == [{"reason": "forged"}]
    with pytest.raises(PermitDenied):
        take_visa(site.node, site.hub.id, bad, now=AT + timedelta(hours=1))
    assert site.audited("visa-refused")[0] == {"reason": "forged", "repeats": 59}


def test_visas_that_a_hub_did_not_make_fill_no_audit_trail(site: Site) -> None:
    before = site.node.audit.verify()
    for _ in range(20):
        with pytest.raises(PermitDenied):
            take_visa(site.node, site.hub.id, make_visa(STRANGER, visa(site)), now=AT)
    assert site.node.audit.verify() == before + 1


def test_leaving_a_hub_ends_its_permits_for_good(site: Site) -> None:
    agreed, waits, declined = site.grant(), site.grant(signed=False), site.grant(signed=False)
    permits.decline(site.node, "ana", site.hub.id, declined.id, "Not for this.")
    membership.leave(site.node, site.hub.id, "ana")
    assert site.audited("hub-left") == [{"withdrawn": 2}]
    membership.join(site.node, nodes.invite(site.hub, 1), post_to(site.hub))
    site.say()
    held = {permit.visa.id: permit for permit in permits.listed(site.node)}
    assert {held[made.id].state for made in (agreed, waits)} == {"withdrawn"}
    assert (held[agreed.id].reason, held[agreed.id].decided_by) == ("This node left the hub.", "ana")
    assert (held[declined.id].state, held[declined.id].reason) == ("declined", "Not for this.")
    with pytest.raises(PermitDenied) as refused:
        authorise(site.node, site.rosa(permit=agreed.id), site.dataset, "view", door="web", now=AT)
    assert refused.value.reason == "declined"
    with pytest.raises(Conflict):
        permits.countersign(site.node, "ana", site.hub.id, waits.id, now=AT)


def test_being_removed_ends_a_hubs_permits_also_where_the_hub_is_trusted(tmp_path: Path) -> None:
    with open_site(tmp_path, policy=TRUSTING) as site:
        made = site.grant(signed=False)
        membership.end(site.node, site.hub.id, "removed", site.hub.id)
        membership.join(site.node, nodes.invite(site.hub, 1), post_to(site.hub))
        site.say()
        held = permits.get(site.node, site.hub.id, made.id)
        assert (held.state, held.reason) == ("withdrawn", "The hub removed this node.")


def test_a_hub_that_was_left_gives_no_permits(site: Site) -> None:
    held = site.grant()
    membership.leave(site.node, site.hub.id)
    assert reason_of_visa(site, make_visa(site.hub.permit_key, visa(site))) == "wrong-issuer"
    assert permits.listed(site.node) == []
    with pytest.raises(PermitDenied):
        permits.get(site.node, site.hub.id, held.id)


# --- the data manager's word --------------------------------------------------------------------------------------


def state(site: Site, made: Visa) -> str:
    return permits.get(site.node, site.hub.id, made.id).state


def test_a_countersigned_permit_is_in_force_and_says_by_whom(site: Site) -> None:
    made = site.grant(signed=False)
    held = permits.countersign(site.node, "ana", site.hub.id, made.id, now=AT)
    assert (held.state, held.decided_by) == ("in-force", "ana")
    assert site.audited("permit-countersigned") == [{"hub": site.hub.id, "dataset": site.dataset}]
    with pytest.raises(Conflict):
        permits.countersign(site.node, "ana", site.hub.id, made.id, now=AT)


def test_a_declined_permit_may_be_agreed_to_later(site: Site) -> None:
    made = site.grant(signed=False)
    held = permits.decline(site.node, "ana", site.hub.id, made.id, "  Not for this purpose.  ")
    assert (held.state, held.reason) == ("declined", "Not for this purpose.")
    with pytest.raises(Conflict):
        permits.withdraw(site.node, "ana", site.hub.id, made.id, "It is none.")
    permits.countersign(site.node, "ana", site.hub.id, made.id, now=AT)
    assert (state(site, made), permits.get(site.node, site.hub.id, made.id).reason) == ("in-force", "")
    assert [len(site.audited(f"permit-{word}")) for word in ("declined", "countersigned")] == [1, 1]


def test_a_withdrawn_permit_stays_so(site: Site) -> None:
    made = site.grant()
    permits.withdraw(site.node, "ana", site.hub.id, made.id, "The consent was taken back.")
    assert state(site, made) == "withdrawn"
    for step in (permits.decline, permits.withdraw):
        with pytest.raises(Conflict):
            step(site.node, "ana", site.hub.id, made.id, "Again.")
    with pytest.raises(Conflict):
        permits.countersign(site.node, "ana", site.hub.id, made.id, now=AT)
    assert len(site.audited("permit-withdrawn")) == 1


@pytest.mark.parametrize("reason", ["", "  ", "x" * 201, "two\nlines", "a\x00b", "\ud800"])
def test_a_reason_is_one_sentence(site: Site, reason: str) -> None:
    made = site.grant(signed=False)
    with pytest.raises(BadInput):
        permits.decline(site.node, "ana", site.hub.id, made.id, reason)
    assert state(site, made) == "waiting"


def test_nobody_agrees_to_what_is_over_or_was_changed(site: Site) -> None:
    made = site.grant(signed=False)
    with pytest.raises(PermitDenied) as refused:
        permits.countersign(site.node, "ana", site.hub.id, made.id, now=made.expires)
    assert refused.value.reason == "expired"
    with site.node.engine.begin() as connection:
        connection.execute(update(table).values(visa=make_visa(STRANGER, made)))
    with pytest.raises(PermitDenied) as refused:
        permits.countersign(site.node, "ana", site.hub.id, made.id, now=AT)
    assert refused.value.reason == "forged"
    assert site.audited("permit-countersigned") == []


def test_a_node_that_trusts_its_hub_needs_no_countersignature_but_can_withdraw(tmp_path: Path) -> None:
    with open_site(tmp_path, policy=TRUSTING) as site:
        made = site.grant(signed=False)
        assert state(site, made) == "in-force"
        with pytest.raises(Conflict):
            permits.decline(site.node, "ana", site.hub.id, made.id, "It is in force.")
        permits.withdraw(site.node, "ana", site.hub.id, made.id, "No more.")
        assert state(site, made) == "withdrawn"


def test_what_this_node_does_not_hold_is_not_found(site: Site) -> None:
    for step in (permits.decline, permits.withdraw):
        with pytest.raises(NotFound):
            step(site.node, "ana", site.hub.id, "a" * 26, "Why not.")
    for hub in (site.hub.id, "h-" + "a" * 26):
        with pytest.raises(NotFound):
            permits.get(site.node, hub, "a" * 26)
        with pytest.raises(NotFound):
            permits.countersign(site.node, "ana", hub, "a" * 26)


# --- what is told -------------------------------------------------------------------------------------------------


def test_the_hub_is_told_state_reason_and_use_of_what_has_not_expired(site: Site) -> None:
    made, short = site.grant(signed=False), site.grant(expires=AT + timedelta(hours=1))
    permits.decline(site.node, "ana", site.hub.id, made.id, "Not now.")
    told = permits.held(site.node, site.hub.id, now=AT)
    assert {permit: (item.state, item.reason) for permit, item in told.items()} == {
        made.id: ("declined", "Not now."),
        short.id: ("in-force", ""),
    }
    assert told[made.id].use.last is None
    assert set(permits.held(site.node, site.hub.id, now=AT + timedelta(hours=1))) == {made.id}


def test_a_visa_that_was_changed_in_the_records_is_not_listed(site: Site) -> None:
    made, other = site.grant(), site.grant()
    with site.node.engine.begin() as connection:
        connection.execute(update(table).where(table.c.id == made.id).values(visa=make_text(site, other)))
    assert [item.visa.id for item in permits.listed(site.node)] == [other.id]
    assert set(permits.held(site.node, site.hub.id, now=AT)) == {other.id}


def test_what_is_over_or_beyond_what_is_told_is_not_even_read(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    over, older, newest = site.grant(expires=AT + timedelta(seconds=1)), site.grant(), site.grant()
    with site.node.engine.begin() as connection:
        connection.execute(update(table).where(table.c.id != newest.id).values(visa="a.b.c"))
    monkeypatch.setattr(permits, "MOST_TOLD", 1)
    assert set(permits.held(site.node, site.hub.id, now=AT + timedelta(seconds=1))) == {newest.id}
    assert caplog.messages == []
    assert {over.id, older.id} & {item.visa.id for item in permits.listed(site.node)} == set()
    assert caplog.messages == ["permit-unreadable"] * 2


def test_permits_are_listed_newest_first(site: Site) -> None:
    first = site.grant(issued=AT - timedelta(hours=1))
    with site.node.engine.begin() as connection:
        connection.execute(update(table).values(received_at="2026-01-01T00:00:00.000000Z"))
    second = site.grant()
    assert [item.visa.id for item in permits.listed(site.node)] == [second.id, first.id]
