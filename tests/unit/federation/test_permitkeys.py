"""The key that signs permits: no paper passes for another, and no other signature for its own."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from joserfc import jws
from joserfc.jwk import ECKey, OctKey

from carina.errors import InvalidMessage
from carina.federation.permitkeys import PermitKey, open_paper, permit_public_key, permit_thumbprint
from carina.federation.signing import SigningKey
from carina.model.keys import derive

KEY = PermitKey.from_master(bytes(range(32)))
OTHER = PermitKey.from_master(bytes(32))
PAPER = KEY.sign("thing+jwt", {"a": ["é", 1, None]})


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def header(**changes: Any) -> str:
    return part({"alg": "ES256", "typ": "thing+jwt", "kid": KEY.thumbprint, **changes})


def reason_of(text: str, typ: str = "thing+jwt") -> str:
    with pytest.raises(InvalidMessage) as refused:
        open_paper(text, typ, KEY.public_jwk)
    return refused.value.reason


def test_what_was_signed_is_read_back() -> None:
    assert open_paper(PAPER, "thing+jwt", KEY.public_jwk) == {"a": ["é", 1, None]}


def test_the_thumbprint_is_the_digest_of_the_members_that_rfc_7638_names() -> None:
    assert permit_thumbprint(KEY.public_jwk) == ECKey.import_key({**KEY.public_jwk}).thumbprint()


def test_the_key_is_the_same_each_time_and_another_of_another_master() -> None:
    assert PermitKey.from_master(bytes(range(32))).public_jwk == KEY.public_jwk != OTHER.public_jwk
    assert derive(bytes(32), "permits", "p-256", "1") != derive(bytes(32), "permits", "p-256", "2")


def test_the_headers_are_those_that_visas_have() -> None:
    signed = KEY.sign("thing+jwt", {}, jku="https://hub.example.org/.well-known/jwks.json")
    assert json.loads(base64.urlsafe_b64decode(signed.split(".")[0] + "==")) == {
        "alg": "ES256",
        "typ": "thing+jwt",
        "kid": KEY.thumbprint,
        "jku": "https://hub.example.org/.well-known/jwks.json",
    }
    assert open_paper(signed, "thing+jwt", KEY.public_jwk) == {}


def test_a_paper_of_another_type_is_forged() -> None:
    assert reason_of(PAPER, "other+jwt") == "forged"
    assert reason_of(KEY.sign("JWT", {"a": 1})) == "forged"


def test_anothers_signature_is_forged_also_under_the_name_of_the_right_key() -> None:
    assert reason_of(OTHER.sign("thing+jwt", {"a": 1})) == "forged"
    _, payload, signature = OTHER.sign("thing+jwt", {"a": 1}).split(".")
    assert reason_of(f"{header()}.{payload}.{signature}") == "forged"


def test_the_key_of_messages_signs_no_paper() -> None:
    assert reason_of(SigningKey.from_seed(bytes(32)).sign({"a": 1}).decode()) == "forged"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "ES384", "Ed25519", "", 1, None, ["ES256"]])
def test_any_other_algorithm_is_forged(algorithm: object) -> None:
    _, payload, signature = PAPER.split(".")
    for end in (signature, ""):
        assert reason_of(f"{header(alg=algorithm)}.{payload}.{end}") == "forged"


def test_a_mac_made_with_the_public_key_as_its_secret_is_forged() -> None:
    for secret in (json.dumps(KEY.public_jwk).encode(), base64.urlsafe_b64decode(KEY.public_jwk["x"] + "=")):
        head = {"alg": "HS256", "typ": "thing+jwt", "kid": KEY.thumbprint}
        assert reason_of(jws.serialize_compact(head, b'{"a":1}', OctKey.import_key(secret))) == "forged"


@pytest.mark.parametrize(
    "more", [{"crit": ["b64"], "b64": False}, {"jwk": OTHER.public_jwk}, {"x5c": []}, {"cty": "x"}, {"b64": False}]
)
def test_a_header_that_says_more_is_forged(more: dict[str, Any]) -> None:
    _, payload, signature = PAPER.split(".")
    assert reason_of(f"{header(**more)}.{payload}.{signature}") == "forged"


@pytest.mark.parametrize("missing", ["alg", "typ", "kid"])
def test_a_header_that_says_less_is_forged(missing: str) -> None:
    said = {"alg": "ES256", "typ": "thing+jwt", "kid": KEY.thumbprint}
    del said[missing]
    _, payload, signature = PAPER.split(".")
    assert reason_of(f"{part(said)}.{payload}.{signature}") == "forged"


def test_a_key_that_the_paper_brings_itself_counts_for_nothing() -> None:
    head = {"alg": "ES256", "typ": "thing+jwt", "kid": KEY.thumbprint, "jwk": OTHER.public_jwk}
    own = jws.serialize_compact(head, b"{}", OTHER._key)
    assert reason_of(own) == "forged"


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c.d", "....", "e30.e30.", "é.é.é", "\ud800.\ud800.\ud800", "a" * 9])
def test_what_is_no_paper_is_refused_in_our_own_words(text: str) -> None:
    assert reason_of(text) in ("malformed", "forged")


def test_a_paper_has_one_spelling() -> None:
    assert {reason_of(text) for text in (PAPER + "=", PAPER + "\n", " " + PAPER, PAPER.replace(".", "=.", 1))} <= {
        "malformed",
        "forged",
    }
    head, payload, signature = PAPER.split(".")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = letters.index(signature[-1])
    for spare in range(1, 16):  # the same 64 bytes, where decoders pass over the last bits
        assert reason_of(f"{head}.{payload}.{signature[:-1]}{letters[last + spare]}") == "forged"
    assert reason_of(f"{head}.{payload}.{signature[:40]}!{signature[40:]}") == "forged"


@pytest.mark.parametrize("numbers", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_signature_of_trivial_numbers_is_forged(numbers: tuple[int, int]) -> None:
    encode_dss_signature(*numbers)
    raw = b"".join(number.to_bytes(32, "big") for number in numbers)
    head, payload, _ = PAPER.split(".")
    signature = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert decode_dss_signature(encode_dss_signature(*numbers)) == numbers
    assert reason_of(f"{head}.{payload}.{signature}") == "forged"


def test_more_than_a_megabyte_is_refused_before_it_is_read() -> None:
    assert reason_of("a" * 1_000_001) == "malformed"


@pytest.mark.parametrize(
    "bad",
    [
        {},
        None,
        "key",
        {**KEY.public_jwk, "d": KEY.public_jwk["x"]},
        {**KEY.public_jwk, "crv": "P-384"},
        {**KEY.public_jwk, "kty": "OKP"},
        {**KEY.public_jwk, "x": "short"},
        {**KEY.public_jwk, "y": KEY.public_jwk["x"]},  # no point of the curve
        {"kty": "EC", "crv": "P-256", "x": "A" * 43, "y": "A" * 43},
        SigningKey.from_seed(bytes(32)).public_jwk,
    ],
)
def test_what_is_no_public_p256_key_is_refused(bad: object) -> None:
    with pytest.raises(InvalidMessage):
        permit_public_key(bad)


def test_a_public_key_is_taken_as_it_is() -> None:
    assert permit_public_key(dict(KEY.public_jwk)) == KEY.public_jwk


def test_the_private_key_is_not_shown() -> None:
    assert repr(KEY) == f"PermitKey({KEY.thumbprint})"
    assert set(KEY.public_jwk) == {"kty", "crv", "x", "y"}
