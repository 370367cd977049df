import base64
import json

import pytest
from joserfc import jws
from joserfc.jwk import OctKey

from carina.errors import InvalidMessage
from carina.federation.signing import SigningKey, party_id, public_key, thumbprint, verify
from carina.model.ids import is_party

KEY = SigningKey.from_seed(bytes(range(32)))
OTHER = SigningKey.from_seed(bytes(32))


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def reason_of(token: bytes) -> str:
    with pytest.raises(InvalidMessage) as refused:
        verify(token, KEY.public_jwk)
    return refused.value.reason


def test_the_thumbprint_is_that_of_the_example_in_rfc_8037() -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_the_key_of_a_seed_is_that_of_the_example_in_rfc_8037() -> None:
    seed = base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    assert SigningKey.from_seed(seed).public_jwk["x"] == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"


def test_ids_are_made_from_the_key_and_tell_hub_from_node() -> None:
    assert is_party(party_id(KEY.public_jwk, "h")) and party_id(KEY.public_jwk, "h").startswith("h-")
    assert party_id(KEY.public_jwk, "n")[2:] == party_id(KEY.public_jwk, "h")[2:] != party_id(OTHER.public_jwk, "h")[2:]


def test_what_was_signed_is_read_back() -> None:
    assert verify(KEY.sign({"a": ["é", 1, None]}), KEY.public_jwk) == {"a": ["é", 1, None]}


def test_another_ones_signature_is_forged() -> None:
    assert reason_of(OTHER.sign({"a": 1})) == "forged"


def test_a_changed_payload_is_forged() -> None:
    head, _, signature = KEY.sign({"a": 1}).decode().split(".")
    assert reason_of(f"{head}.{part({'a': 2})}.{signature}".encode()) == "forged"


def test_the_algorithm_none_is_forged() -> None:
    header = {"alg": "none", "kid": KEY.thumbprint}
    assert reason_of(f"{part(header)}.{part({'a': 1})}.".encode()) == "forged"


def test_a_mac_made_with_the_public_key_as_its_secret_is_forged() -> None:
    secret = OctKey.import_key(base64.urlsafe_b64decode(KEY.public_jwk["x"] + "="))
    token = jws.serialize_compact({"alg": "HS256", "kid": KEY.thumbprint}, b'{"a":1}', secret)
    assert reason_of(token.encode()) == "forged"


def test_the_signers_name_must_be_that_of_the_key() -> None:
    _, payload, signature = KEY.sign({"a": 1}).decode().split(".")
    renamed = part({"alg": "Ed25519", "kid": OTHER.thumbprint})
    assert reason_of(f"{renamed}.{payload}.{signature}".encode()) == "forged"


def test_unknown_critical_headers_are_not_passed_over() -> None:
    header = {"alg": "Ed25519", "kid": KEY.thumbprint, "crit": ["b64"], "b64": False}
    assert reason_of(f"{part(header)}.{part({'a': 1})}.AAAA".encode()) == "forged"


@pytest.mark.parametrize(
    "token", [b"", b"a.b", b"a.b.c.d", b"....", b"\xff.\xff.\xff", b"bnVsbA.bnVsbA.AA", b"e30.W10.AA"]
)
def test_what_is_no_signed_object_is_malformed(token: bytes) -> None:
    assert reason_of(token) in ("malformed", "forged")
    with pytest.raises(InvalidMessage):
        verify(token, KEY.public_jwk)


def test_more_than_a_megabyte_is_malformed_before_it_is_read() -> None:
    assert reason_of(b"a" * 1_000_001) == "malformed"


def test_a_private_key_is_no_public_key() -> None:
    with pytest.raises(InvalidMessage):
        public_key({**KEY.public_jwk, "d": KEY.public_jwk["x"]})


def test_a_key_of_another_kind_is_no_public_key() -> None:
    for bad in ({}, None, {**KEY.public_jwk, "crv": "X25519"}, {**KEY.public_jwk, "x": "short"}):
        with pytest.raises(InvalidMessage):
            public_key(bad)


def test_the_private_key_is_not_shown() -> None:
    assert repr(KEY) == f"SigningKey({KEY.thumbprint})"
    assert "d" not in KEY.public_jwk
