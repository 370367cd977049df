"""A researcher whom a hub hands over: once, here, under this permit, as this person."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update
from tests.federating import open_joined_node, open_test_hub, post_to
from tests.permitting import AT, Site, open_site, unsigned, with_payload

from carina.errors import PermitDenied
from carina.federation.papers import CODE
from carina.federation.permitkeys import PermitKey
from carina.hub import nodes
from carina.model.clock import stamp
from carina.node import membership, permits, visits
from carina.node.authorise import LINGER, authorise
from carina.node.visits import BROWSER, PROGRAM, Visit, enter, leave, visit
from carina.storage.schema import hubs
from carina.storage.schema import visits as table

STRANGER = PermitKey.from_master(b"stranger" * 4)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as made:
        yield made


def come(site: Site, code: str, seconds: float = 0, lifetime: timedelta = BROWSER) -> Visit:
    return enter(site.node, code, lifetime=lifetime, now=AT + timedelta(seconds=seconds))


def turned_away(site: Site, code: str, seconds: float = 0) -> str:
    """Why nobody comes in by this code, which the audit trail must say; and nobody is in."""
    before = visits_of(site)
    with pytest.raises(PermitDenied) as refused:
        come(site, code, seconds)
    assert site.audited("handover-refused")[0] == {"reason": refused.value.reason}
    assert visits_of(site) == before
    return refused.value.reason


def visits_of(site: Site) -> int:
    with site.node.engine.connect() as connection:
        return len(connection.execute(select(table.c.digest)).all())


# --- coming in ----------------------------------------------------------------------------------------------------


def test_a_code_lets_its_person_in_under_its_permit(site: Site) -> None:
    made = site.grant()
    entered = come(site, site.code(made))
    assert (entered.hub, entered.permit, entered.dataset) == (site.hub.id, made.id, site.dataset)
    assert entered.principal == site.rosa(permit=made.id)
    assert entered.expires == AT + BROWSER
    assert visit(site.node, entered.secret, AT) == replace(entered, secret="")
    assert authorise(site.node, entered.principal, site.dataset, "retrieve", door="web", now=AT).permit == made.id
    row = site.node.audit.entries(1, action="handover-accepted")[0]
    assert (row.actor, row.subject, row.details["hub"]) == ("rosa", made.id, site.hub.id)


def test_the_secret_is_not_kept_nor_shown(site: Site) -> None:
    entered = come(site, site.code(site.grant()))
    with site.node.engine.connect() as connection:
        kept = " ".join(str(value) for value in connection.execute(select(table)).one())
    assert entered.secret not in kept
    assert entered.secret not in repr(entered) and entered.csrf not in repr(entered)
    assert entered.secret.startswith(visits.PREFIX)


def test_a_visit_lasts_as_long_as_its_door_says_and_never_beyond_the_permit(site: Site) -> None:
    made = site.grant(expires=AT + timedelta(hours=9))
    browser, program = come(site, site.code(made)), come(site, site.code(made), lifetime=PROGRAM)
    assert (browser.expires, program.expires) == (AT + BROWSER, made.expires)
    assert visit(site.node, browser.secret, browser.expires - timedelta(seconds=1)) is not None
    assert visit(site.node, browser.secret, browser.expires) is None


def test_a_visit_that_is_over_is_forgotten(site: Site) -> None:
    made = site.grant()
    come(site, site.code(made))
    later = BROWSER.total_seconds() + 1
    site.say(AT + timedelta(seconds=later))
    come(site, site.code(made, now=AT + timedelta(seconds=later)), later)
    assert visits_of(site) == 1


def test_who_may_only_fetch_objects_may_enter_too(site: Site) -> None:
    made = site.grant(actions=("retrieve", "analyse"))
    assert come(site, site.code(made)).permit == made.id


def test_who_may_only_analyse_has_nothing_to_see(site: Site) -> None:
    assert turned_away(site, site.code(site.grant(actions=("analyse",)))) == "action-not-granted"


def test_entering_is_no_use_of_the_permit(site: Site) -> None:
    made = site.grant()
    come(site, site.code(made))
    assert permits.get(site.node, site.hub.id, made.id).use.last is None


def test_who_leaves_is_gone(site: Site) -> None:
    entered, other = (come(site, site.code(site.grant())) for _ in range(2))
    for _ in range(2):
        leave(site.node, entered.secret)
    assert visit(site.node, entered.secret, AT) is None
    assert visit(site.node, other.secret, AT) is not None
    assert len(site.audited("visit-ended")) == 1


@pytest.mark.parametrize("secret", ["", "carina_visit_x", "\ud800"])
def test_what_is_no_secret_is_nobodys(site: Site, secret: str) -> None:
    assert visit(site.node, secret) is None


# --- being turned away --------------------------------------------------------------------------------------------


def test_a_code_is_good_once(site: Site) -> None:
    code = site.code(site.grant())
    come(site, code)
    assert turned_away(site, code) == "used-code"


def test_of_many_who_bring_the_same_code_at_once_one_comes_in(site: Site) -> None:
    code = site.code(site.grant())

    def try_it(_: int) -> str:
        try:
            return come(site, code).permit
        except PermitDenied as refused:
            return refused.reason

    with ThreadPoolExecutor(6) as pool:
        results = sorted(pool.map(try_it, range(6)))
    assert results.count("used-code") == 5
    assert visits_of(site) == 1


def test_a_code_that_was_refused_is_used_up_too(site: Site) -> None:
    made = site.grant(signed=False)
    code = site.code(made)
    assert turned_away(site, code) == "not-countersigned"
    permits.countersign(site.node, "ana", site.hub.id, made.id, now=AT)
    assert turned_away(site, code) == "used-code"
    come(site, site.code(made))


def test_a_code_is_good_at_its_own_node_only(site: Site, tmp_path: Path) -> None:
    code = site.code(site.grant())
    url = "https://other.example.org"
    with open_joined_node(tmp_path / "other", site.hub, seed=2, public_url=url) as (node, joined):
        assert turned_away(Site(site.hub, node, joined, site.dataset), code) == "misaddressed"
    come(site, code)


@pytest.mark.parametrize(("seconds", "good"), [(90, True), (91, False), (-30, True), (-31, False)])
def test_a_code_is_good_for_a_minute_give_or_take_the_clocks(site: Site, seconds: int, good: bool) -> None:
    code = site.code(site.grant(issued=AT - timedelta(seconds=60)))
    site.say(AT + timedelta(seconds=seconds))
    if good:
        come(site, code, seconds)
    else:
        assert turned_away(site, code, seconds) == "expired"


def test_a_code_that_the_hub_did_not_sign_is_forged(site: Site) -> None:
    made = site.grant()
    code = site.code(made)
    for text in (
        site.code(made, key=STRANGER),
        with_payload(code, subject="eva"),
        unsigned(code),
        site.hub.signing.sign({"hub": site.hub.id}).decode(),
        site.hub.permit_key.sign("JWT", {"hub": site.hub.id}),
        site.hub.permit_key.sign(CODE, {"hub": site.hub.id}),
        "",
        "a.b.c",
        "\ud800.\ud800.\ud800",
        "x" * 1_000_001,
    ):
        assert turned_away(site, text) == "forged"
    come(site, code)


def test_a_code_of_a_hub_that_the_node_has_not_joined_is_nothing(site: Site, tmp_path: Path) -> None:
    made = site.grant()
    with open_test_hub(tmp_path / "stranger", seed=77) as stranger:
        assert turned_away(site, site.code(made, hub=stranger.id, key=stranger.permit_key)) == "wrong-issuer"
    code = site.code(made)
    membership.leave(site.node, site.hub.id)
    assert turned_away(site, code) == "wrong-issuer"
    assert {entry.actor for entry in site.node.audit.entries(9, action="handover-refused")} == {"unknown"}


def test_a_code_of_a_hub_without_a_key_for_permits_is_nothing(site: Site) -> None:
    code = site.code(site.grant())
    with site.node.engine.begin() as connection:
        connection.execute(update(hubs).values(permit_key=None))
    assert turned_away(site, code) == "wrong-issuer"


def test_a_code_for_another_person_than_the_permits_is_refused(site: Site) -> None:
    assert turned_away(site, site.code(site.grant(), subject="eva")) == "foreign-subject"


def test_a_code_for_another_dataset_than_the_permits_is_refused(site: Site) -> None:
    elsewhere = "urn:uuid:00000000-0000-4000-8000-000000000009"
    assert turned_away(site, site.code(site.grant(), dataset=elsewhere)) == "no-permit"


def test_a_code_for_a_permit_that_the_node_does_not_hold_is_refused(site: Site) -> None:
    assert turned_away(site, site.code(site.grant(), permit="a" * 26)) == "no-permit"


def test_a_permit_that_does_not_hold_lets_nobody_in(site: Site) -> None:
    made = site.grant()
    code = site.code(made)
    site.end(made)
    assert turned_away(site, code) == "revoked"
    assert turned_away(site, site.code(site.grant(), now=AT + timedelta(seconds=60)), 60) == "status-unknown"


def test_who_is_in_sees_nothing_more_once_the_permit_ends(site: Site) -> None:
    made = site.grant()
    entered = come(site, site.code(made))
    site.end(made)
    again = visit(site.node, entered.secret, AT)
    assert again is not None
    with pytest.raises(PermitDenied) as refused:
        authorise(site.node, again.principal, site.dataset, "view", door="web", now=AT)
    assert refused.value.reason == "revoked"


def end_of(site: Site, secret: str) -> datetime | None:
    found = visit(site.node, secret, AT)
    return None if found is None else found.expires


@pytest.mark.parametrize("reason", ["revoked", "expired", "declined"])
def test_a_visit_is_over_ten_minutes_after_the_first_refusal_for_good(site: Site, reason: str) -> None:
    made = site.grant(expires=AT + timedelta(hours=20))
    entered, other = come(site, site.code(made)), come(site, site.code(site.grant()))
    seconds = 10.0
    if reason == "revoked":
        site.end(made)
    elif reason == "declined":
        permits.withdraw(site.node, "ana", site.hub.id, made.id, "No more.")
    else:
        seconds = 20 * 3600
        with site.node.engine.begin() as connection:
            connection.execute(update(table).values(expires_at=stamp(AT + timedelta(days=2))))
    ends = AT + timedelta(seconds=seconds) + LINGER
    for later in (0, 300):
        at = AT + timedelta(seconds=seconds + later)
        site.say(at)
        with pytest.raises(PermitDenied) as refused:
            authorise(site.node, entered.principal, site.dataset, "view", door="web", count=False, now=at)
        assert refused.value.reason == reason
        assert end_of(site, entered.secret) == ends  # the first counts
    assert visit(site.node, entered.secret, ends - timedelta(seconds=1)) is not None
    assert visit(site.node, entered.secret, ends) is None
    assert visit(site.node, other.secret, ends) is not None


def test_a_refusal_that_may_pass_ends_no_visit(site: Site) -> None:
    entered = come(site, site.code(site.grant(actions=("view",))))
    for action, seconds in (("retrieve", 0), ("view", 60)):
        at = AT + timedelta(seconds=seconds)
        with pytest.raises(PermitDenied):
            authorise(site.node, entered.principal, site.dataset, action, door="web", now=at)  # type: ignore[arg-type]
    assert end_of(site, entered.secret) == AT + BROWSER


def test_an_open_page_that_goes_on_asking_fills_no_audit_trail(site: Site) -> None:
    made = site.grant()
    entered = come(site, site.code(made))
    site.end(made)
    for second in range(0, 600, 5):
        at = AT + timedelta(seconds=second)
        with pytest.raises(PermitDenied):
            authorise(site.node, entered.principal, site.dataset, "view", door="web", count=False, now=at)
    rows = site.audited("access-refused")
    assert len(rows) == 10
    assert [row.get("repeats", 0) for row in rows] == [11] * 9 + [0]


def test_codes_of_strangers_fill_no_audit_trail(site: Site) -> None:
    before = site.node.audit.verify()
    for _ in range(20):
        assert turned_away(site, "a.b.c") == "forged"
    assert site.node.audit.verify() == before + 1


# --- where forms may come from ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("http://hub.localhost:8700", "http://hub.localhost:8700"),
        ("https://Hub.Example.org:443/carina/", "https://hub.example.org"),
        ("http://[::1]:8700", "http://[::1]:8700"),
    ],
)
def test_the_origins_of_joined_hubs_are_as_browsers_write_them(site: Site, url: str, origin: str) -> None:
    with site.node.engine.begin() as connection:
        connection.execute(update(hubs).values(url=url))
    assert visits.hub_origins(site.node) == {origin}


@pytest.mark.parametrize("url", ["https://[", "https://x:99999", "http://h:9x", "https://a@b", "https://*", ""])
def test_a_hub_whose_address_cannot_be_read_keeps_no_other_out(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture, url: str
) -> None:
    visits._origin_of.cache_clear()
    with open_test_hub(tmp_path / "other", seed=77) as other:
        membership.join(site.node, nodes.invite(other, 1), post_to(other))
        with site.node.engine.begin() as connection:
            connection.execute(update(hubs).where(hubs.c.id == other.id).values(url=url))
        for _ in range(2):
            assert visits.hub_origins(site.node) == {"http://hub.localhost:8700"}
    assert caplog.messages == ["hub-address-unreadable"]


def test_a_hub_that_was_left_sends_no_forms(site: Site) -> None:
    membership.leave(site.node, site.hub.id)
    assert visits.hub_origins(site.node) == set()


def test_the_oldest_viewer_of_a_person_ends_when_there_are_too_many(site: Site) -> None:
    entered = come(site, site.code(site.grant()))
    with site.node.engine.begin() as connection:
        for number in range(visits.MOST_VIEWERS):
            viewer = replace(entered, secret=f"secret {number}", study="1.2")
            connection.execute(insert(table), visits._row(viewer, began=AT + timedelta(seconds=number)))
        visits._end_oldest(connection, entered)
    assert visits_of(site) == visits.MOST_VIEWERS  # one less, and the visit itself
    assert visit(site.node, "secret 0", AT, study="1.2") is None
    assert visit(site.node, "secret 1", AT, study="1.2") is not None
    assert visit(site.node, entered.secret, AT) is not None
