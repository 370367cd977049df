"""The console's pages of permits and of what was asked, over a real node and what a test hub signed."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.pages import PASSWORD, csrf, node_app, sign_in
from tests.permitting import AT, TRUSTING, Site, open_site, visa_of
from tests.support import SCANNER, ct

from carina.federation.papers import make_order, make_visa
from carina.interfaces.api.identity import Identity, LocalAccounts
from carina.interfaces.web.words import JOB_STATES
from carina.model.clock import new_id, now
from carina.model.job import JobOrder
from carina.model.permit import Visa
from carina.node import datasets, jobs, permits
from carina.node.authorise import authorise
from carina.node.ingest import receive
from carina.node.site import Policy
from carina.node.worker import work
from carina.storage.accounts import add_account

URL = "http://node.localhost:8721"


@pytest.fixture
def policy() -> Policy:
    return Policy()


@pytest.fixture
def site(tmp_path: Path, policy: Policy) -> Iterator[Site]:
    with open_site(tmp_path, policy=policy) as made:
        add_account(made.node.engine, "nora", PASSWORD, {"data-manager"}, "Nora Vidal")
        add_account(made.node.engine, "omar", PASSWORD, {"operator"})
        yield made


@pytest.fixture
def console(site: Site) -> TestClient:
    identity = Identity(LocalAccounts(site.node.engine, site.node.id), site.node.id, secure=False)
    return TestClient(
        node_app(site.node, identity, URL),
        base_url=URL,
        client=("127.0.0.1", 5),
        raise_server_exceptions=False,
        follow_redirects=False,
        headers={"Accept": "text/html"},
    )


@pytest.fixture
def nora(console: TestClient) -> TestClient:
    assert sign_in(console, "nora").status_code == 303
    return console


def path_of(site: Site, visa: Visa) -> str:
    return f"/permits/{site.hub.id}/{visa.id}"


def decide(client: TestClient, site: Site, visa: Visa, step: str, reason: str = "") -> object:
    token = csrf(client.get(path_of(site, visa)).text)
    return client.post(path_of(site, visa), data={"csrf": token, "step": step, "reason": reason})


def state(site: Site, visa: Visa) -> str:
    return permits.get(site.node, site.hub.id, visa.id).state


# --- permits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/permits", "/permits/live", "/permits/h/x", "/asked", "/asked/live"])
def test_nobody_sees_permits_without_signing_in(console: TestClient, path: str) -> None:
    answer = console.get(path)
    assert (answer.status_code, answer.headers["location"][:14]) == (303, "/sign-in?next=")


def test_what_waits_comes_first_with_all_that_is_to_be_decided(nora: TestClient, site: Site) -> None:
    site.grant(subject="clara", name="Clara Duval")
    visa = site.grant(
        signed=False,
        name="Ivo Marek",
        organisation="Oncology",
        project="Contours",
        purpose="To compare readers",
        conditions="Not for publication",
        actions=("view",),
    )
    for page in (nora.get("/permits").text, nora.get("/permits/live").text):
        assert "Waits for a signature" in page
        assert page.index("Ivo Marek") < page.index("Clara Duval")
        for words in ("Oncology", "Contours", "To compare readers", "Not for publication", "Look at images", "Lung CT"):
            assert words in page
        assert f"{visa.expires - timedelta(days=1):%B %Y} (UTC)" in page


def test_without_permits_the_page_says_what_will_come(nora: TestClient) -> None:
    assert "No permit yet" in nora.get("/permits").text


def test_a_signature_puts_the_permit_in_force(nora: TestClient, site: Site) -> None:
    visa = site.grant(signed=False)
    assert state(site, visa) == "waiting"
    answer = decide(nora, site, visa, "countersign")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path_of(site, visa)}?done=countersign")  # type: ignore[attr-defined]
    assert state(site, visa) == "in-force"
    page = nora.get(answer.headers["location"]).text  # type: ignore[attr-defined]
    assert "Signed. The permit is in force from now on." in page
    assert site.node.audit.entries(1, action="permit-countersigned")[0].actor == "nora"


def test_a_permit_is_declined_with_a_reason_and_may_be_signed_after_all(nora: TestClient, site: Site) -> None:
    visa = site.grant(signed=False)
    decide(nora, site, visa, "decline", "Not our purpose.")
    assert state(site, visa) == "declined"
    page = nora.get(path_of(site, visa)).text
    assert "Not our purpose." in page
    assert "Sign after all" in page
    decide(nora, site, visa, "countersign")
    assert state(site, visa) == "in-force"


def test_a_permit_in_force_is_taken_back_with_a_reason(nora: TestClient, site: Site) -> None:
    visa = site.grant()
    decide(nora, site, visa, "withdraw", "The study is over.")
    assert state(site, visa) == "withdrawn"
    assert "Taken back" in nora.get("/permits").text
    assert 'name="step"' not in nora.get(path_of(site, visa)).text


@pytest.mark.parametrize(("step", "signed"), [("decline", False), ("withdraw", True)])
@pytest.mark.parametrize("reason", ["", "   ", "x" * 201, "two\nlines"])
def test_without_a_reason_nothing_is_decided_and_what_was_typed_stays(
    nora: TestClient, site: Site, step: str, signed: bool, reason: str
) -> None:
    visa = site.grant(signed=signed)
    before = state(site, visa)
    answer = decide(nora, site, visa, step, reason)
    assert answer.status_code == 400  # type: ignore[attr-defined]
    assert 'role="alert"' in answer.text  # type: ignore[attr-defined]
    assert reason.strip() in html.unescape(answer.text)  # type: ignore[attr-defined]
    assert state(site, visa) == before


@pytest.mark.parametrize(("step", "status"), [("decline", 409), ("burn", 400)])
def test_a_step_that_cannot_be_taken_changes_nothing(nora: TestClient, site: Site, step: str, status: int) -> None:
    visa = site.grant()
    assert decide(nora, site, visa, step, "Why").status_code == status  # type: ignore[attr-defined]
    assert state(site, visa) == "in-force"
    answer = nora.post(path_of(site, visa), data={"step": "withdraw", "reason": "No token"})
    assert answer.status_code == 403
    assert state(site, visa) == "in-force"


def test_an_operator_looks_and_does_not_decide(console: TestClient, site: Site) -> None:
    visa = site.grant(signed=False)
    sign_in(console, "omar")
    page = console.get(path_of(site, visa)).text
    assert 'name="step"' not in page
    token = csrf(console.get("/account").text)
    answer = console.post(path_of(site, visa), data={"csrf": token, "step": "countersign"})
    assert answer.status_code == 403
    assert state(site, visa) == "waiting"


def test_what_the_hub_ended_or_time_has_is_over(nora: TestClient, site: Site) -> None:
    ended = site.grant(name="Otto Alt")
    site.end(ended)
    old = visa_of(site.hub, site.node, site.dataset, issued=AT - timedelta(days=9), expires=AT - timedelta(days=1))
    then = AT - timedelta(days=5)
    site.states[old.id] = "valid"
    site.say()
    permits.take_visa(site.node, site.hub.id, make_visa(site.hub.permit_key, old), now=then)
    permits.countersign(site.node, "ana", site.hub.id, old.id, now=then)
    page = nora.get("/permits").text
    assert "Ended by the hub" in page
    assert "Expired" in page
    assert ">In force<" not in page


@pytest.mark.parametrize("policy", [TRUSTING])
def test_a_node_that_trusts_its_hub_waits_for_nobody(nora: TestClient, site: Site) -> None:
    site.grant(signed=False)
    page = nora.get("/permits").text
    assert "trusts its hubs" in html.unescape(page)
    assert "Waits for a signature" not in page
    assert "In force" in page


def test_words_of_a_permit_are_shown_as_words(nora: TestClient, site: Site) -> None:
    visa = site.grant(signed=False, name="<b>x</b>", purpose="<script>x()</script>", conditions="<img src=x>")
    for path in ("/permits", path_of(site, visa)):
        page = nora.get(path).text
        assert "<script>x()" not in page
        assert "<img src=x>" not in page
        assert "&lt;b&gt;x" in page


# --- asked --------------------------------------------------------------------------------------------------------


def ask(site: Site, visa: Visa, analysis: str = "signal-statistics") -> JobOrder:
    """A job that the hub asks for under this permit."""
    order = JobOrder(new_id(), site.hub.id, new_id(), visa.id, visa.dataset, visa.subject, analysis)
    expires = now() + timedelta(days=7)
    site.say(now())
    jobs.take(site.node, site.hub.id, make_order(site.hub.permit_key, order, node=site.node.id, expires=expires))
    return order


def test_a_job_is_shown_with_its_answer_and_what_left(nora: TestClient, site: Site) -> None:
    for number in range(11):
        receive(site.node, ct(f"MRN-{number}"), SCANNER)
    receive(site.node, ct("MRN-0", series=2, elements={"Modality": "MR", "SOPClassUID": MR}), SCANNER)
    while work(site.node, "test"):
        pass
    order = ask(site, site.grant())
    page = nora.get("/asked").text
    assert JOB_STATES["taken"][0] in page
    assert "Nothing yet." in page
    jobs.begin(site.node, site.hub.id, order.id)
    jobs.compute_job(site.node, site.hub.id, order.id)
    page = nora.get("/asked/live").text
    assert "Done" in page
    assert "CT: 11 (number, mean and spread of each)" in page
    assert "MR: 1" not in page
    assert "smaller groups than 10 stay here" in page


MR = "1.2.840.10008.5.1.4.1.1.4"


def test_a_refused_job_says_why_and_that_nothing_left(nora: TestClient, site: Site) -> None:
    ask(site, site.grant(actions=("view",)))
    page = nora.get("/asked").text
    assert "Refused" in page
    assert "The permit does not cover analyses." in page
    assert "Nothing." in page


def test_use_is_counted_by_permit_and_searches_by_their_words(nora: TestClient, site: Site) -> None:
    visa = site.grant()
    site.say(now())
    for _ in range(3):
        authorise(site.node, site.rosa(permit=visa.id), site.dataset, "view", door="web")
    site.node.audit.append("search-answered", site.hub.id, site.node.id, state="counted", variables=["body_part"])
    page = nora.get("/asked").text
    assert re.search(r'data-label="Pages and pictures">3<', page)
    assert "body part" in page
    assert "With numbers" in page
    assert "Looked at and fetched" in page


# --- snapshots ----------------------------------------------------------------------------------------------------


def test_a_snapshot_is_taken_by_its_button_and_once(nora: TestClient, site: Site) -> None:
    path = f"/datasets/{site.dataset}"
    token = csrf(nora.get(path).text)
    assert nora.post(path, data={"csrf": token, "action": "snapshot"}).status_code == 400
    receive(site.node, ct(), SCANNER)
    while work(site.node, "test"):
        pass
    answer = nora.post(path, data={"csrf": token, "action": "snapshot"})
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?done=snapshot")
    page = nora.get(answer.headers["location"]).text
    assert "Kept as a snapshot." in page
    assert "Snapshot 1" in page
    assert datasets.versions(site.node, site.dataset) == (1,)
    again = nora.post(path, data={"csrf": token, "action": "snapshot"})
    assert again.status_code == 409
    assert "Nothing has changed since snapshot 1." in again.text


def test_a_data_manager_cancels_a_job_on_the_page_and_an_operator_does_not(nora: TestClient, site: Site) -> None:
    order = ask(site, site.grant())
    page = nora.get("/asked").text
    assert f'action="/jobs/{site.hub.id}/{order.id}"' in page
    path, token = f"/jobs/{site.hub.id}/{order.id}", csrf(page)
    assert nora.post(path, data={"action": "cancel"}).status_code == 403
    answer = nora.post(path, data={"csrf": token, "action": "cancel"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/asked?done=cancelled")
    page = nora.get("/asked?done=cancelled").text
    assert "The analysis was cancelled." in page and "data manager has stopped it" in page
    assert nora.post(path, data={"csrf": token, "action": "cancel"}).status_code == 409


def test_use_of_a_permit_is_told_day_by_day_and_given_as_a_file(nora: TestClient, site: Site) -> None:
    visa = site.grant()
    details = {"hub": site.hub.id, "permit": visa.id, "what": "rendered"}
    for number in (2, 3):
        site.node.audit.append("viewed", visa.subject, "1.2.3", **details, instances=number)
    page = nora.get(f"/asked/permits/{site.hub.id}/{visa.id}").text
    assert re.search(r'data-label="Requests">2<', page) and re.search(r'data-label="Images">5<', page)
    page = nora.get("/asked", params={"account": visa.subject}).text
    assert re.search(r'data-label="Images">5<', page) and f"/asked/permits/{site.hub.id}/{visa.id}" in page
    table = nora.get("/asked/export", params={"form": "csv", "permit": visa.id}).text.splitlines()
    assert table[0].startswith("day,action,account") and table[1].endswith(",2,5")
    assert nora.get("/asked/export?form=json").json()["given"][0]["dataset"] == visa.dataset
    assert nora.get("/asked?since=2019-01-01&until=2019-01-02").status_code == 200
    assert nora.get("/asked?since=soon").status_code == 400
    assert nora.get("/asked", params={"account": f" {visa.subject} "}).text.count('data-label="Images">5<') == 1
