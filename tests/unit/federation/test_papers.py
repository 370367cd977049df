"""Visas, lists of states, codes, orders and countersignatures: what each says, and what none of them may."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from carina.errors import InvalidMessage, PermitDenied
from carina.federation import papers
from carina.federation.papers import (
    CODE,
    COUNTERSIGNATURE,
    ORDER,
    STATUS,
    VISA,
    Countersignature,
    StatusList,
    check_times,
    claimed_hub,
    countersigns,
    make_code,
    make_countersignature,
    make_order,
    make_status,
    make_visa,
    open_code,
    open_order,
    open_status,
    open_visa,
    visa_digest,
)
from carina.federation.permitkeys import PermitKey
from carina.model.ids import DatasetIri, HubId, NodeId
from carina.model.job import JobOrder
from carina.model.permit import Visa, end_of

KEY = PermitKey.from_master(bytes(range(32)))
OTHER = PermitKey.from_master(bytes(32))
HUB, NODE = HubId("h-" + "a" * 26), NodeId("n-" + "b" * 26)
URL = "https://hub.example.org"
IRI = DatasetIri("urn:uuid:00000000-0000-4000-8000-000000000001")
ID = "0" * 26
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
A_SECOND = timedelta(seconds=1)

A_VISA = Visa(
    id=ID,
    issuer=URL,
    hub=HUB,
    subject="rosa",
    name="Rosa Ñandú",
    dataset=IRI,
    node=NODE,
    source=f"{URL}/nodes/{NODE}",
    asserted=NOON,
    issued=NOON,
    expires=end_of(NOON.date() + timedelta(days=30)),
    actions=("view", "analyse"),
    purpose="To compare.\nIn two lines.",
    project="Lungs",
    organisation="University",
    version="3",
    conditions="Cite us.",
)
AN_ORDER = JobOrder("1" * 26, HUB, "2" * 26, ID, IRI, "rosa", "signal-statistics")


def a_list(**changes: Any) -> StatusList:
    plain: dict[str, Any] = {
        "hub": HUB, "node": NODE, "number": 7, "issued": int(NOON.timestamp()), "permits": {ID: "valid"},
    }  # fmt: skip
    return StatusList(**{**plain, **changes})


def a_code(key: PermitKey = KEY, **changes: Any) -> str:
    said = {
        "hub": HUB, "node": NODE, "permit": ID, "dataset": IRI, "subject": "rosa", "name": "Rosa", "now": NOON,
    }  # fmt: skip
    return make_code(key, **{**said, **changes})


def an_order(**changes: Any) -> str:
    return make_order(KEY, replace(AN_ORDER, **changes), node=NODE, expires=NOON + timedelta(days=7), now=NOON)


def words(paper: str, part: int = 1) -> dict[str, Any]:
    text = paper.split(".")[part]
    return dict(json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))


def reopened(text: str, **changes: str) -> Visa:
    return open_visa(text, KEY.public_jwk, **{"hub": HUB, "node": NODE, **changes})


def denial(text: str, **changes: str) -> str:
    with pytest.raises(PermitDenied) as refused:
        reopened(text, **changes)
    return refused.value.reason


# --- visas --------------------------------------------------------------------------------------------------------


def test_a_visa_is_read_as_it_was_written() -> None:
    assert reopened(make_visa(KEY, A_VISA)) == A_VISA


def test_a_visa_has_the_claims_that_ga4gh_passports_name() -> None:
    text = make_visa(KEY, A_VISA)
    assert words(text, 0) == {
        "alg": "ES256",
        "typ": "vnd.ga4gh.visa+jwt",
        "kid": KEY.thumbprint,
        "jku": f"{URL}/.well-known/jwks.json",
    }
    claims = words(text)
    assert set(claims) == {"iss", "sub", "jti", "aud", "iat", "exp", "ga4gh_visa_v1", "carina"}
    assert (claims["iss"], claims["sub"], claims["aud"]) == (URL, "rosa", NODE)
    assert claims["ga4gh_visa_v1"] == {
        "type": "ControlledAccessGrants",
        "asserted": int(NOON.timestamp()),
        "value": IRI,
        "source": f"{URL}/nodes/{NODE}",
        "by": "dac",
    }


def test_a_permit_for_a_day_ends_when_the_next_begins() -> None:
    claims = words(make_visa(KEY, A_VISA))
    assert datetime.fromtimestamp(claims["exp"], UTC) == datetime(2026, 4, 2, tzinfo=UTC)


def test_a_visa_is_only_its_hubs_and_only_for_its_node() -> None:
    text = make_visa(KEY, A_VISA)
    assert denial(text, node="n-" + "c" * 26) == "misaddressed"
    assert denial(text, hub="h-" + "c" * 26) == "wrong-issuer"
    assert denial(make_visa(OTHER, A_VISA)) == "forged"


def test_audience_and_scope_must_name_the_same_node() -> None:
    claims = words(make_visa(KEY, A_VISA))
    claims["carina"]["node"] = "n-" + "c" * 26
    assert denial(KEY.sign(VISA, claims)) == "misaddressed"


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("exp", None),
        ("exp", "tomorrow"),
        ("exp", 10**12),
        ("exp", 1.5),
        ("iat", True),
        ("aud", [NODE]),
        ("sub", ""),
        ("sub", "a\nb"),
        ("jti", "../../x"),
        ("iss", "javascript:alert(1)"),
        ("nbf", 0),
        ("ga4gh_visa_v1", {"type": "AffiliationAndRole"}),
        ("carina", {}),
        ("carina", None),
    ],
)
def test_a_visa_that_is_signed_but_not_in_its_form_is_forged(claim: str, value: object) -> None:
    claims = {**words(make_visa(KEY, A_VISA)), claim: value}
    assert denial(KEY.sign(VISA, claims)) == "forged"


@pytest.mark.parametrize(
    ("claim", "value"),
    [("actions", []), ("actions", ["delete"]), ("version", "0"), ("version", "latest"), ("version", "1\n")],
)
def test_a_scope_that_has_no_meaning_is_forged(claim: str, value: object) -> None:
    claims = words(make_visa(KEY, A_VISA))
    claims["carina"][claim] = value
    assert denial(KEY.sign(VISA, claims)) == "forged"


def test_a_visas_time_is_judged_with_leeway_at_its_beginning_only() -> None:
    check_times(A_VISA, NOON - papers.LEEWAY)
    check_times(A_VISA, A_VISA.expires - A_SECOND)
    for at, reason in ((NOON - papers.LEEWAY - A_SECOND, "not-yet"), (A_VISA.expires, "expired")):
        with pytest.raises(PermitDenied) as refused:
            check_times(A_VISA, at)
        assert refused.value.reason == reason


# --- lists of states, codes, orders -------------------------------------------------------------------------------


def test_each_paper_is_read_as_it_was_written() -> None:
    assert open_status(make_status(KEY, a_list()), KEY.public_jwk, hub=HUB, node=NODE) == a_list()
    code = open_code(a_code(), KEY.public_jwk, hub=HUB, node=NODE, now=NOON)
    assert (code.permit, code.dataset, code.subject, code.name) == (ID, IRI, "rosa", "Rosa")
    assert open_order(an_order(), KEY.public_jwk, hub=HUB, node=NODE, now=NOON) == AN_ORDER


OPENERS: dict[str, Callable[..., object]] = {
    STATUS: open_status,
    CODE: lambda text, key, **who: open_code(text, key, now=NOON, **who),
    ORDER: lambda text, key, **who: open_order(text, key, now=NOON, **who),
}
PAPERS = {STATUS: make_status(KEY, a_list()), CODE: a_code(), ORDER: an_order()}


def reason_of(kind: str, text: str, key: PermitKey = KEY, hub: str = HUB, node: str = NODE) -> str:
    with pytest.raises(InvalidMessage) as refused:
        OPENERS[kind](text, key.public_jwk, hub=hub, node=node)
    return refused.value.reason


@pytest.mark.parametrize("kind", OPENERS)
def test_a_paper_is_only_its_hubs_only_for_its_node_and_only_of_its_kind(kind: str) -> None:
    text = PAPERS[kind]
    assert reason_of(kind, text, node="n-" + "c" * 26) == "misaddressed"
    assert reason_of(kind, text, hub="h-" + "c" * 26) == "misaddressed"
    assert reason_of(kind, text, OTHER) == "forged"
    for other in {*PAPERS.values(), make_visa(KEY, A_VISA)} - {text}:
        assert reason_of(kind, other) == "forged"


@pytest.mark.parametrize("kind", OPENERS)
def test_a_paper_that_says_more_or_less_than_its_kind_is_malformed(kind: str) -> None:
    said = words(PAPERS[kind])
    assert reason_of(kind, KEY.sign(kind, {**said, "admin": True})) == "malformed"
    for name in said:
        less = {key: value for key, value in said.items() if key != name}
        assert reason_of(kind, KEY.sign(kind, less)) == "malformed"


@pytest.mark.parametrize(
    "states", [{ID: "valid-ish"}, {"short": "valid"}, {ID: None}, [], {f"{n:026d}": "valid" for n in range(20_001)}]
)
def test_a_list_of_states_has_known_states_of_ids_only(states: object) -> None:
    said = {**words(PAPERS[STATUS]), "permits": states}
    assert reason_of(STATUS, KEY.sign(STATUS, said)) == "malformed"


def test_a_code_is_good_for_a_minute_with_leeway() -> None:
    life = papers.CODE_LIFETIME + papers.LEEWAY
    for at in (NOON - papers.LEEWAY, NOON + life):
        open_code(a_code(), KEY.public_jwk, hub=HUB, node=NODE, now=at)
    for at in (NOON - papers.LEEWAY - A_SECOND, NOON + life + A_SECOND):
        with pytest.raises(InvalidMessage) as refused:
            open_code(a_code(), KEY.public_jwk, hub=HUB, node=NODE, now=at)
        assert refused.value.reason == "expired"


def test_a_code_that_claims_a_longer_life_is_refused() -> None:
    said = words(a_code())
    assert reason_of(CODE, KEY.sign(CODE, {**said, "exp": said["iat"] + 3600})) == "expired"


def test_no_two_codes_are_the_same() -> None:
    assert words(a_code())["nonce"] != words(a_code())["nonce"]


def test_an_order_is_good_until_its_end() -> None:
    for at in (NOON - papers.LEEWAY, NOON + timedelta(days=7) - A_SECOND):
        open_order(an_order(), KEY.public_jwk, hub=HUB, node=NODE, now=at)
    for at in (NOON - papers.LEEWAY - A_SECOND, NOON + timedelta(days=7)):
        with pytest.raises(InvalidMessage) as refused:
            open_order(an_order(), KEY.public_jwk, hub=HUB, node=NODE, now=at)
        assert refused.value.reason == "expired"


def test_the_hub_that_a_paper_claims_is_found_without_believing_it() -> None:
    assert claimed_hub(a_code(OTHER)) == HUB
    for text in ("", "a.b", KEY.sign(CODE, {}), KEY.sign(CODE, {"hub": 7}), "\ud800.\ud800.\ud800"):
        with pytest.raises(InvalidMessage):
            claimed_hub(text)


# --- countersignatures --------------------------------------------------------------------------------------------

VISA_TEXT = make_visa(KEY, A_VISA)
AGREED = Countersignature(
    node=NODE, hub=HUB, permit=ID, visa=visa_digest(VISA_TEXT), by="ana", at="2026-03-02T12:00:00.000000Z"
)


def agrees(text: str, **changes: str) -> bool:
    held = {"node": NODE, "hub": HUB, "permit": ID, "visa": VISA_TEXT}
    return countersigns(text, OTHER.public_jwk, **{**held, **changes})


def test_a_countersignature_is_of_one_node_to_one_permit_of_one_hub_in_one_text() -> None:
    text = make_countersignature(OTHER, AGREED)
    assert agrees(text)
    assert not agrees(text, node="n-" + "c" * 26)
    assert not agrees(text, hub="h-" + "c" * 26)
    assert not agrees(text, permit="1" * 26)
    assert not agrees(text, visa=make_visa(KEY, A_VISA))  # the same words, signed once more
    assert not agrees(text, visa=VISA_TEXT + " ")


def test_only_the_nodes_own_key_countersigns() -> None:
    assert not agrees(make_countersignature(KEY, AGREED))
    assert not agrees(OTHER.sign(VISA, json.loads(AGREED.model_dump_json())))
    assert not agrees(OTHER.sign(COUNTERSIGNATURE, {}))
    for text in ("", "x", "\ud800", VISA_TEXT):
        assert not agrees(text)
