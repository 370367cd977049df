"""What no message may hold, however it is signed."""

from __future__ import annotations

from typing import Any

import pytest

from carina.errors import InvalidMessage
from carina.federation import wire
from carina.federation.brokerkeys import broker_name, broker_seed, is_broker_name
from carina.federation.permitkeys import PermitKey
from carina.federation.signing import SigningKey

PERMITS = PermitKey.from_master(b"p" * 32)
KEY = SigningKey.from_seed(b"k" * 32)
NKEY = broker_name(broker_seed(b"n" * 32))


def description(**changes: Any) -> dict[str, Any]:
    usual = {
        "iri": "urn:uuid:00000000-0000-4000-8000-000000000001",
        "node": "n-" + "a" * 26,
        "project": "lung",
        "title": "Lung",
        "description": "",
        "institution": "Hospital",
        "country": "ES",
        "threshold": 10,
        "patients": 40,
        "studies": 50,
        "series": 60,
        "instances": 70,
        "groups": {},
        "digest": "d",
        "computed": "2026-01-02T03:04:05.678901Z",
        "terms": {"actions": ["view", "analyse"], "longest_days": 365, "versions": [1, 2], "countersign": True},
    }
    return {**usual, **changes}


def terms(**changes: Any) -> dict[str, Any]:
    return {**description()["terms"], **changes}


def join_reply(**changes: Any) -> dict[str, Any]:
    usual = {
        "says": "joined",
        "hub": "h-" + "a" * 26,
        "key": KEY.public_jwk,
        "node": "n-" + "a" * 26,
        "node_key": KEY.thumbprint,
        "nkey": NKEY,
        "expires": "2026-01-02T03:04:05.678901Z",
        "request": "0" * 64,
        "title": "Hub",
        "broker": "127.0.0.1:8701",
        "broker_ca": "",
        "permit_key": PERMITS.public_jwk,
    }
    return {**usual, **changes}


def result(**changes: Any) -> dict[str, Any]:
    usual = {
        "says": "result",
        "hub": "h-" + "a" * 26,
        "node": "n-" + "a" * 26,
        "job": "0" * 26,
        "permit": "1" * 26,
        "dataset": "urn:uuid:00000000-0000-4000-8000-000000000001",
        "version": "live",
        "analysis": "signal-statistics",
        "analysis_version": "1",
        "threshold": 10,
        "groups": [{"group": "CT", "n": 10, "mean": "1.5", "m2": "0E-33"}],
        "at": "2026-01-02T03:04:05.678901Z",
    }
    return {**usual, **changes}


def key_change(nkey: object) -> dict[str, Any]:
    return {"key": KEY.public_jwk, "nkey": nkey, "proof": "a.b.c"}


@pytest.mark.parametrize("member", ["title", "description", "institution"])
@pytest.mark.parametrize("letter", ["\x00", "\x7f", "\x85", "\x9b", "\u202e", "\u202a", "\u2066", "\u2069", "\ud800"])
def test_a_text_holds_nothing_that_could_not_be_shown_as_it_is(member: str, letter: str) -> None:
    with pytest.raises(InvalidMessage):
        wire.read(wire.Description, description(**{member: f"Lung{letter}CT"}))


def test_only_prose_has_lines() -> None:
    for end in ("\n", "\r\n", "\t", "\u2028", "\u2029"):
        wire.read(wire.Description, description(description=f"two{end}lines"))
        with pytest.raises(InvalidMessage):
            wire.read(wire.Description, description(title=f"two{end}lines"))


def welcome(url: str) -> dict[str, Any]:
    return {"of": "hello", "title": "Hub", "url": url, "chain": [], "wanted": []}


@pytest.mark.parametrize(
    "url",
    [
        "https://hub.example.org",
        "http://127.0.0.1:8700/",
        "https://[::1]:8443/carina",
        "http://hub.localhost:8700/a/b-c_~.",
    ],
)
def test_an_address_is_read_as_it_is(url: str) -> None:
    assert wire.read(wire.Welcome, welcome(url)).url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://[",
        "https://[::1",
        "https://[1:2]",
        "https://[::1%25eth0]",
        "https://x:99999",
        "https://x:0",
        "https://x:",
        "http://h:9x",
        "https://",
        "https:///x",
        "ftp://x",
        "javascript://x",
        "https://hub.example.org@evil.example",
        "https://*",
        "https://*.example.org",
        "https://evil.example;sandbox",
        "https://evil,default-src",
        "https://a*b;form-action",
        "https://evil.example/?a=#",
        "https://evil.example/a;b",
        "https://evil.example#x",
        "https://EVIL%2f.x",
        "https://x y",
        "https://x\n",
        "https://x\t.y",
        " https://x",
        "https://\u0445",
        "https://" + "x" * 300,
    ],
)
def test_an_address_with_a_second_meaning_is_malformed(url: str) -> None:
    with pytest.raises(InvalidMessage):
        wire.read(wire.Welcome, welcome(url))


def test_an_nkey_as_it_is_derived_is_one() -> None:
    assert is_broker_name(NKEY)
    assert wire.read(wire.KeyChange, key_change(NKEY)).nkey == NKEY


@pytest.mark.parametrize(
    "nkey",
    [
        "U" + "A" * 55,  # of the right letters, without the right checksum
        NKEY[:-1] + ("A" if NKEY[-1] != "A" else "B"),
        "A" + NKEY[1:],  # of another kind
        NKEY.lower(),
        NKEY + "\n",
        "",
        7,
    ],
)
def test_an_nkey_that_a_broker_would_refuse_is_malformed(nkey: object) -> None:
    with pytest.raises(InvalidMessage):
        wire.read(wire.KeyChange, key_change(nkey))


@pytest.mark.parametrize("computed", ["9999-99-99T99:99:99.999999Z", "2026-02-30T00:00:00.000000Z", "2026-01-02"])
def test_a_time_that_never_is_is_malformed(computed: str) -> None:
    wire.read(wire.Description, description())
    with pytest.raises(InvalidMessage):
        wire.read(wire.Description, description(computed=computed))


def test_a_variable_has_at_most_500_groups() -> None:
    groups = [{"value": str(number), "patients": 50} for number in range(501)]
    wire.read(wire.Description, description(groups={"body_part": groups[1:]}))
    with pytest.raises(InvalidMessage):
        wire.read(wire.Description, description(groups={"body_part": groups}))


def test_terms_name_known_actions_and_true_numbers() -> None:
    for good in (terms(), terms(actions=[]), terms(versions=[]), terms(longest_days=3650)):
        assert wire.read(wire.Description, description(terms=good)).terms.countersign
    for bad in (
        None,
        {},
        terms(actions=["delete"]),
        terms(actions=["view"] * 4),
        terms(longest_days=0),
        terms(longest_days=3651),
        terms(versions=[0]),
        terms(versions=list(range(1, 1002))),
        terms(countersign="yes"),
        terms(more=1),
    ):
        with pytest.raises(InvalidMessage):
            wire.read(wire.Description, description(terms=bad))


def test_a_hub_says_with_which_key_it_signs_permits() -> None:
    assert wire.write(wire.read(wire.JoinReply, join_reply()))["permit_key"] == PERMITS.public_jwk
    private = {**PERMITS.public_jwk, "d": PERMITS.public_jwk["x"]}
    for bad in (None, KEY.public_jwk, private, {**PERMITS.public_jwk, "crv": "P-384"}):
        with pytest.raises(InvalidMessage):
            wire.read(wire.JoinReply, join_reply(permit_key=bad))


def test_a_result_has_no_group_below_its_threshold() -> None:
    assert wire.read(wire.Result, result()).groups[0].n == 10
    for bad in (
        result(threshold=11),
        result(groups=[{"group": "CT", "n": 10, "mean": "NaN", "m2": "0"}]),
        result(groups=[{"group": "CT", "n": 10, "mean": 1.5, "m2": "0"}]),
        result(version="latest"),
    ):
        with pytest.raises(InvalidMessage):
            wire.read(wire.Result, bad)


@pytest.mark.parametrize(
    ("state", "reason", "with_result", "good"),
    [
        ("done", "", True, True),
        ("done", "", False, False),
        ("done", "crashed", True, False),
        ("failed", "crashed", False, True),
        ("failed", "", False, False),
        ("refused", "expired", True, False),
        ("refused", "Not A Word", False, False),
    ],
)
def test_an_outcome_fits_its_state(state: str, reason: str, with_result: bool, good: bool) -> None:
    said = {"job": "0" * 26, "state": state, "reason": reason, "result": "a.b.c" if with_result else None}
    if good:
        assert wire.read(wire.Outcome, said).state == state
    else:
        with pytest.raises(InvalidMessage):
            wire.read(wire.Outcome, said)
