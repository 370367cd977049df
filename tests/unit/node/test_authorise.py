"""Every way in which an access is refused, each with its row in the node's audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import delete, insert, select, update
from tests.permitting import AT, TRUSTING, Site, open_site, unsigned, with_payload
from tests.support import LUNG, make_node

from carina.errors import InvalidMessage, NotFound, PermitDenied
from carina.federation.papers import (
    Countersignature,
    make_countersignature,
    make_order,
    make_visa,
    visa_digest,
)
from carina.federation.permitkeys import PermitKey
from carina.model.clock import new_id
from carina.model.job import JobOrder
from carina.model.permit import ACTIONS, Action, Denial, Visa
from carina.model.principal import Principal
from carina.node import datasets, jobs, membership, permits, visits
from carina.node.authorise import SENTENCES, Grant, authorise, check, members
from carina.node.permits import take_states
from carina.node.refusals import Refusals
from carina.node.site import Policy
from carina.storage.members import Members
from carina.storage.schema import node_jobs, permit_states, snapshots
from carina.storage.schema import permits as table

STRANGER = PermitKey.from_master(b"stranger" * 4)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as made:
        yield made


def ask(site: Site, action: Action = "view", *, seconds: float = 0, **changes: Any) -> Grant:
    """What the researcher gets so many seconds later."""
    who, dataset = changes.pop("who", site.rosa()), changes.pop("dataset", site.dataset)
    return authorise(site.node, who, dataset, action, door="web", now=AT + timedelta(seconds=seconds), **changes)


def refused(site: Site, action: Action = "view", **changes: Any) -> str:
    """Why the researcher gets nothing, which the audit trail must say with who asked, for what and by which door."""
    before = site.node.audit.verify()
    first = replace(site, node=replace(site.node, refusals=Refusals()))  # as if nothing had been refused before
    with pytest.raises(PermitDenied) as error:
        ask(first, action, **changes)
    assert (error.value.message, error.value.hint) == SENTENCES[error.value.reason]  # type: ignore[index]
    row = site.node.audit.entries(1)[0]
    assert site.node.audit.verify() == before + 1
    assert (row.action, row.actor) == ("access-refused", changes.get("who", site.rosa()).subject)
    assert row.details.items() >= {"reason": error.value.reason, "asked": action, "door": "web"}.items()
    return error.value.reason


def change_row(site: Site, changed: Visa, /, **values: Any) -> None:
    """What somebody with the records, and without any key, can do."""
    with site.node.engine.begin() as connection:
        connection.execute(update(table).where(table.c.id == changed.id).values(**values))


def row_of(site: Site, visa: Visa) -> Any:
    with site.node.engine.connect() as connection:
        return connection.execute(select(table).where(table.c.id == visa.id)).one()


# --- what is allowed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_a_permit_in_force_opens_what_it_is_for(site: Site, action: Action) -> None:
    visa = site.grant(actions=(action,))
    grant = ask(site, action)
    assert (grant.permit, grant.hub, grant.dataset, grant.project) == (visa.id, site.hub.id, site.dataset, LUNG)
    assert (grant.version, grant.query, grant.expires, grant.staff) == ("live", datasets.WHOLE, visa.expires, False)
    assert members(grant) == Members(LUNG, query=datasets.WHOLE)
    for other in set(ACTIONS) - {action}:
        assert refused(site, other) == "action-not-granted"


def test_each_use_is_counted_by_action_and_a_look_is_not(site: Site) -> None:
    visa = site.grant()
    for action in ("view", "view", "analyse"):
        ask(site, action)
    ask(site, count=False)
    check(site.node, site.rosa(), site.dataset, "retrieve", door="web", now=AT)
    use = permits.get(site.node, site.hub.id, visa.id).use
    assert (use.view, use.retrieve, use.analyse) == (2, 0, 1)
    assert use.last is not None


def test_no_use_is_lost_when_many_come_at_once(site: Site) -> None:
    visa = site.grant()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: ask(site), range(12)))
    assert permits.get(site.node, site.hub.id, visa.id).use.view == 12


def test_a_refused_look_is_audited_too(site: Site) -> None:
    with pytest.raises(PermitDenied):
        check(site.node, site.rosa(), site.dataset, "view", door="job", now=AT)
    assert site.audited("access-refused")[0]["door"] == "job"


def test_of_several_permits_any_that_covers_it_counts(site: Site) -> None:
    site.grant(actions=("view",))
    wanted = site.grant(actions=("analyse",))
    site.end(site.grant(actions=ACTIONS))
    assert ask(site, "analyse").permit == wanted.id


def test_of_several_permits_that_do_not_cover_it_the_nearest_says_why(site: Site) -> None:
    site.grant(actions=("view",))
    site.end(site.grant(actions=ACTIONS))
    site.grant(signed=False)
    assert refused(site, "retrieve") == "action-not-granted"


def test_who_entered_under_one_permit_has_no_other(site: Site) -> None:
    entered = site.grant(actions=("view",))
    site.grant(actions=ACTIONS)
    assert refused(site, "retrieve", who=site.rosa(permit=entered.id)) == "action-not-granted"
    assert site.audited("access-refused")[0]["permit"] == entered.id


def test_the_nodes_own_staff_need_no_permit(site: Site) -> None:
    ana = Principal("ana", site.node.id, frozenset({"data-manager"}))
    whole = ask(site, "retrieve", who=ana, dataset=None)
    assert (whole.staff, whole.dataset, members(whole)) == (True, None, None)
    assert members(ask(site, "retrieve", who=ana)) == Members(LUNG, query=datasets.WHOLE)
    with pytest.raises(NotFound):
        ask(site, who=ana, dataset="urn:uuid:00000000-0000-4000-8000-000000000009")


@pytest.mark.parametrize("roles", [{"sender"}, {"operator"}, set()])
def test_others_whom_the_node_knows_see_nothing(site: Site, roles: set[Any]) -> None:
    assert refused(site, who=Principal("token:ct", site.node.id, frozenset(roles)), dataset=None) == "no-permit"


def test_a_data_manager_of_elsewhere_is_nobody_here(site: Site) -> None:
    stranger = Principal("ana", "n-" + "a" * 26, frozenset({"data-manager"}))
    assert refused(site, who=stranger, dataset=None) == "not-signed-in"
    of_hub = site.rosa(roles=frozenset({"data-manager", "operator"}))
    assert refused(site, who=of_hub, dataset=None) == "no-permit"


# --- no permit ----------------------------------------------------------------------------------------------------


def test_without_a_permit_nothing_opens(site: Site) -> None:
    assert refused(site) == "no-permit"


def test_a_permit_is_for_its_dataset_only(site: Site) -> None:
    visa = site.grant()
    other = datasets.create(site.node, "ana", LUNG, "Another")
    datasets.publish(site.node, "ana", other.iri)
    for who in (site.rosa(), site.rosa(permit=visa.id)):
        assert refused(site, "analyse", who=who, dataset=other.iri) == "no-permit"


def test_a_permit_is_for_its_person_only(site: Site) -> None:
    visa = site.grant()
    assert refused(site, who=site.rosa(subject="eva", permit=visa.id)) == "no-permit"
    assert refused(site, who=site.rosa(issuer="h-" + "a" * 26)) == "not-signed-in"


def test_what_is_no_name_of_a_dataset_is_not_written_down(site: Site) -> None:
    assert refused(site, dataset="<script>Garcia^Maria") == "no-permit"
    assert site.node.audit.entries(1)[0].subject == ""


def test_the_hub_that_was_left_opens_nothing(site: Site) -> None:
    site.grant()
    membership.leave(site.node, site.hub.id)
    assert refused(site) == "wrong-issuer"
    assert refused(site, dataset=None) == "wrong-issuer"


# --- visas that were changed in the records ------------------------------------------------------------------------


def test_a_forged_visa_opens_nothing(site: Site) -> None:
    visa = site.grant()
    genuine = row_of(site, visa).visa
    later = int((visa.expires + timedelta(days=300)).timestamp())
    for text in (
        make_visa(STRANGER, visa),
        unsigned(genuine),
        with_payload(genuine, exp=later),
        site.hub.signing.sign({"jti": visa.id}).decode(),
        "",
        "nothing",
    ):
        change_row(site, visa, visa=text)
        assert refused(site) == "forged"


def test_a_visa_in_the_place_of_another_opens_nothing(site: Site) -> None:
    narrow, wide = site.grant(actions=("view",)), site.grant(expires=AT + timedelta(seconds=1))
    change_row(site, narrow, visa=row_of(site, wide).visa, countersignature=row_of(site, wide).countersignature)
    assert refused(site, "retrieve", who=site.rosa(permit=narrow.id)) == "forged"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"node": "n-" + "a" * 26}, "misaddressed"),
        ({"hub": "h-" + "a" * 26}, "wrong-issuer"),
        ({"subject": "eva"}, "foreign-subject"),
        ({"dataset": "urn:uuid:00000000-0000-4000-8000-000000000009"}, "forged"),
        ({"issued": AT + timedelta(seconds=31)}, "not-yet"),
        ({"expires": AT}, "expired"),
    ],
)
def test_a_visa_that_says_other_things_than_its_row_opens_nothing(
    site: Site, changes: dict[str, Any], reason: str
) -> None:
    visa = site.grant()
    change_row(site, visa, visa=make_visa(site.hub.permit_key, replace(visa, **changes)))
    assert refused(site) == reason


def test_another_persons_row_does_not_become_ones_own(site: Site) -> None:
    visa = site.grant(subject="eva")
    change_row(site, visa, subject="rosa")
    assert refused(site) == "foreign-subject"


def test_another_datasets_row_does_not_become_this_ones(site: Site) -> None:
    other = datasets.create(site.node, "ana", LUNG, "Another")
    datasets.publish(site.node, "ana", other.iri)
    visa = site.grant()
    change_row(site, visa, dataset=other.iri)
    assert refused(site, dataset=other.iri) == "forged"


# --- its time -----------------------------------------------------------------------------------------------------


def test_a_permit_ends_at_its_end_without_leeway(site: Site) -> None:
    site.grant(expires=AT + timedelta(seconds=10))
    ask(site, seconds=9.9)
    assert refused(site, seconds=10) == "expired"


def test_a_permit_begins_when_it_begins(site: Site) -> None:
    site.grant(signed=False, issued=AT + timedelta(seconds=50))
    assert refused(site) == "not-yet"


def test_a_permit_lasts_no_longer_than_the_node_allows(site: Site) -> None:
    short = Site(replace(site.hub), replace(site.node, policy=Policy(longest_days=7)), site.joined, site.dataset)
    short.grant(expires=AT + timedelta(days=3000))
    assert ask(short).expires == AT + timedelta(days=8)
    day = timedelta(days=1).total_seconds()
    short.say(AT + timedelta(days=8))
    assert refused(short, seconds=8 * day) == "expired"


# --- what the hub says now ----------------------------------------------------------------------------------------


def test_a_permit_that_the_hub_ended_opens_nothing(site: Site) -> None:
    visa = site.grant()
    ask(site)
    site.end(visa)
    assert refused(site) == "revoked"
    assert refused(site, "analyse", seconds=600) == "revoked"


def test_a_permit_that_the_hubs_list_does_not_name_opens_nothing(site: Site) -> None:
    visa = site.grant()
    del site.states[visa.id]
    site.say()
    assert refused(site) == "revoked"


def test_without_any_list_the_status_is_unknown(site: Site) -> None:
    site.grant()
    with site.node.engine.begin() as connection:
        connection.execute(delete(permit_states))
    for action in ACTIONS:
        assert refused(site, action) == "status-unknown"


def test_a_list_is_good_for_a_minute_and_no_longer(site: Site) -> None:
    site.grant()
    for action in ACTIONS:
        ask(site, action, seconds=59.9)
        assert refused(site, action, seconds=60) == "status-unknown"
    assert "permit status unknown" in SENTENCES["status-unknown"][0]
    site.say(AT + timedelta(seconds=60))
    ask(site, seconds=60)


def test_a_list_is_as_old_as_its_issue_however_late_it_came(site: Site) -> None:
    site.grant()
    take_states(site.node, site.hub.id, site.list(AT), now=AT + timedelta(seconds=50))
    ask(site, seconds=59)
    assert refused(site, seconds=60) == "status-unknown"


def test_a_list_is_as_old_as_its_receipt_where_the_hubs_clock_is_ahead(site: Site) -> None:
    site.grant()
    take_states(site.node, site.hub.id, site.list(AT + timedelta(seconds=25)), now=AT)
    ask(site, seconds=59)
    assert refused(site, seconds=60) == "status-unknown"


def test_a_list_from_the_future_is_not_believed_when_the_clock_goes_back(site: Site) -> None:
    site.grant()
    site.say(AT + timedelta(hours=1))
    assert refused(site) == "status-unknown"


def test_an_old_list_brings_a_revoked_permit_back_neither_at_once_nor_after_a_restart(
    site: Site, tmp_path: Path
) -> None:
    visa = site.grant()
    kept = site.list()
    site.end(visa)
    site.node.engine.dispose()
    again = replace(site, node=make_node(tmp_path / "node", keys=site.node.keys, public_url="https://node.example"))
    for node in (site.node, again.node):
        with pytest.raises(InvalidMessage):
            take_states(node, site.hub.id, kept, now=AT)
    assert refused(again) == "revoked"
    again.node.engine.dispose()


def test_a_node_that_starts_again_knows_the_status_only_while_its_list_is_young(site: Site, tmp_path: Path) -> None:
    site.grant()
    site.node.engine.dispose()
    again = replace(site, node=make_node(tmp_path / "node", keys=site.node.keys, public_url="https://node.example"))
    ask(again, seconds=30)
    assert refused(again, seconds=60) == "status-unknown"
    again.node.engine.dispose()


# --- the word of this node's data manager --------------------------------------------------------------------------


def test_a_permit_that_nobody_here_agreed_to_opens_nothing(site: Site) -> None:
    site.grant(signed=False)
    for action in ACTIONS:
        assert refused(site, action) == "not-countersigned"


def test_a_node_that_trusts_its_hub_asks_for_no_countersignature(tmp_path: Path) -> None:
    with open_site(tmp_path, policy=TRUSTING) as site:
        visa = site.grant(signed=False)
        ask(site)
        permits.withdraw(site.node, "ana", site.hub.id, visa.id, "No more.")
        assert refused(site) == "declined"


def test_a_declined_or_withdrawn_permit_opens_nothing(site: Site) -> None:
    visa = site.grant(signed=False)
    permits.decline(site.node, "ana", site.hub.id, visa.id, "Not for this.")
    assert refused(site) == "declined"
    permits.countersign(site.node, "ana", site.hub.id, visa.id, now=AT)
    ask(site)
    permits.withdraw(site.node, "ana", site.hub.id, visa.id, "No more.")
    assert refused(site) == "declined"


def test_a_state_changed_in_the_records_is_no_agreement(site: Site) -> None:
    waiting, withdrawn = site.grant(signed=False), site.grant()
    permits.withdraw(site.node, "ana", site.hub.id, withdrawn.id, "No more.")
    for visa in (waiting, withdrawn):
        change_row(site, visa, state="agreed")
        assert refused(site, who=site.rosa(permit=visa.id)) == "not-countersigned"
        assert permits.get(site.node, site.hub.id, visa.id).state == "waiting"


def test_a_countersignature_of_another_visa_is_none_of_this_one(site: Site) -> None:
    agreed, waiting = site.grant(), site.grant(signed=False)
    change_row(site, waiting, state="agreed", countersignature=row_of(site, agreed).countersignature)
    assert refused(site, who=site.rosa(permit=waiting.id)) == "not-countersigned"


def test_a_countersignature_is_for_the_very_text_that_was_agreed_to(site: Site) -> None:
    visa = site.grant(actions=("view",))
    wider = make_visa(site.hub.permit_key, replace(visa, actions=ACTIONS))
    change_row(site, visa, visa=wider)
    assert refused(site, "retrieve") == "not-countersigned"


def test_a_countersignature_of_another_key_is_none(site: Site) -> None:
    visa = site.grant(signed=False)
    text = row_of(site, visa).visa
    paper = Countersignature(
        node=site.node.id, hub=site.hub.id, permit=visa.id, visa=visa_digest(text), by="ana",
        at="2026-01-02T03:04:05.678901Z",
    )  # fmt: skip
    for key in (site.hub.permit_key, STRANGER):
        signed = make_countersignature(key, paper)
        for forged in (signed, unsigned(signed), "", "x"):
            change_row(site, visa, state="agreed", countersignature=forged)
            assert refused(site) == "not-countersigned"
    change_row(site, visa, countersignature=make_countersignature(site.node.permit_key, paper))
    ask(site)


# --- what the node allows -----------------------------------------------------------------------------------------


def test_what_the_nodes_policy_forbids_no_permit_opens(site: Site) -> None:
    site.grant()
    strict = replace(site, node=replace(site.node, policy=Policy(actions=("analyse",))))
    assert refused(strict) == "action-not-allowed"
    assert ask(strict, "analyse").permit


def test_what_the_dataset_does_not_offer_no_permit_opens(site: Site) -> None:
    made = datasets.create(site.node, "ana", LUNG, "Pictures only", actions=["view"])
    datasets.publish(site.node, "ana", made.iri)
    site.grant(dataset=made.iri)
    ask(site, dataset=made.iri)
    assert refused(site, "retrieve", dataset=made.iri) == "action-not-allowed"


def test_a_node_without_an_outside_address_allows_analysis_only(tmp_path: Path) -> None:
    with open_site(tmp_path, public_url=None) as site:
        site.grant()
        assert [refused(site, action) for action in ("view", "retrieve")] == ["action-not-allowed"] * 2
        ask(site, "analyse")


def test_a_dataset_that_was_withdrawn_or_never_published_opens_to_nobody(site: Site) -> None:
    site.grant()
    datasets.withdraw(site.node, "ana", site.dataset)
    for action in ACTIONS:
        assert refused(site, action) == "dataset-not-published"
    draft = datasets.create(site.node, "ana", LUNG, "A draft").iri
    nowhere = "urn:uuid:00000000-0000-4000-8000-000000000009"
    for dataset in (draft, nowhere):
        site.grant(dataset=dataset)
        assert refused(site, dataset=dataset) == "dataset-not-published"


def test_a_version_that_the_node_does_not_have_opens_nothing(site: Site) -> None:
    site.grant(version="2")
    row = {"dataset": site.dataset, "digest": "d", "instances": 1, "created_at": "", "created_by": "ana"}
    with site.node.engine.begin() as connection:
        connection.execute(insert(snapshots), {"number": 1, **row})
    assert refused(site) == "version-unknown"
    with site.node.engine.begin() as connection:
        connection.execute(insert(snapshots), {"number": 2, **row})
    grant = ask(site)
    assert grant.version == "2"
    assert members(grant) == Members(LUNG, dataset=site.dataset, number=2)


# --- a stolen hub -------------------------------------------------------------------------------------------------


def test_who_has_stolen_both_keys_of_a_hub_opens_nothing_at_a_node_that_countersigns(site: Site) -> None:
    """The thief makes visas, states, codes and orders, all genuine; the node's own key is missing."""
    made = [site.grant(signed=False, actions=ACTIONS), site.grant(signed=False, subject="thief")]
    for visa in made:
        who = site.rosa(subject=visa.subject)
        for action in ACTIONS:
            assert refused(site, action, who=who) == "not-countersigned"
        with pytest.raises(PermitDenied) as error:
            visits.enter(site.node, site.code(visa), lifetime=visits.BROWSER, now=AT)
        assert error.value.reason == "not-countersigned"
        assert site.audited("handover-refused")[0] == {"reason": "not-countersigned"}
        order = JobOrder(new_id(), site.hub.id, new_id(), visa.id, site.dataset, visa.subject, "signal-statistics")
        paper = make_order(site.hub.permit_key, order, node=site.node.id, expires=AT + timedelta(days=7), now=AT)
        jobs.take(site.node, site.hub.id, paper, now=AT)
        assert job_of(site, order) == ("refused", "not-countersigned")
        assert site.audited("access-refused")[0]["door"] == "job"
        signed = make_countersignature(
            site.hub.permit_key,
            Countersignature(
                node=site.node.id, hub=site.hub.id, permit=visa.id, visa=visa_digest(row_of(site, visa).visa),
                by="ana", at="2026-01-02T03:04:05.678901Z",
            ),
        )  # fmt: skip
        change_row(site, visa, state="agreed", countersignature=signed)
        assert refused(site, who=who) == "not-countersigned"


def job_of(site: Site, order: JobOrder) -> tuple[str, str]:
    """State and reason of a job at the node."""
    with site.node.engine.connect() as connection:
        row = connection.execute(select(node_jobs).where(node_jobs.c.id == order.id)).one()
    return row.state, row.reason


@pytest.mark.parametrize("wrong", ["dataset", "subject", "permit"])
def test_an_order_goes_no_further_than_its_permit(site: Site, wrong: str) -> None:
    visa = site.grant()
    other = {"dataset": "urn:uuid:00000000-0000-4000-8000-000000000009", "subject": "eva", "permit": new_id()}
    order = JobOrder(new_id(), site.hub.id, new_id(), visa.id, site.dataset, "rosa", "signal-statistics")
    order = replace(order, **{wrong: other[wrong]})
    paper = make_order(site.hub.permit_key, order, node=site.node.id, expires=AT + timedelta(days=7), now=AT)
    jobs.take(site.node, site.hub.id, paper, now=AT)
    assert job_of(site, order) == ("refused", "no-permit")
    assert site.audited("access-refused")[0].items() >= {"reason": "no-permit", "door": "job"}.items()


def test_an_order_under_a_permit_for_looking_is_refused(site: Site) -> None:
    visa = site.grant(actions=("view", "retrieve"))
    order = JobOrder(new_id(), site.hub.id, new_id(), visa.id, site.dataset, "rosa", "signal-statistics")
    paper = make_order(site.hub.permit_key, order, node=site.node.id, expires=AT + timedelta(days=7), now=AT)
    jobs.take(site.node, site.hub.id, paper, now=AT)
    assert job_of(site, order) == ("refused", "action-not-granted")
    assert site.audited("access-refused")[0].items() >= {"reason": "action-not-granted", "asked": "analyse"}.items()


def test_who_has_stolen_a_hub_cannot_widen_what_was_agreed_to(site: Site) -> None:
    agreed = site.grant(actions=("view",), expires=AT + timedelta(hours=1))
    for changes in ({"actions": ACTIONS}, {"expires": AT + timedelta(days=300)}, {"subject": "thief"}):
        wider = make_visa(site.hub.permit_key, replace(agreed, **changes))
        with pytest.raises(PermitDenied) as error:
            permits.take_visa(site.node, site.hub.id, wider, now=AT)
        assert error.value.reason == "forged"
    assert refused(site, "retrieve") == "action-not-granted"


def test_every_reason_has_a_sentence_and_a_hint() -> None:
    assert set(SENTENCES) == set(get_args(Denial))
    assert all(message.endswith(".") and hint.endswith(".") for message, hint in SENTENCES.values())
