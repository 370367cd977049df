"""What no message may hold, however it is signed."""

from __future__ import annotations

from typing import Any

import pytest

from carina.errors import InvalidMessage
from carina.federation import wire
from carina.federation.brokerkeys import broker_name, broker_seed, is_broker_name
from carina.federation.signing import SigningKey

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
    }
    return {**usual, **changes}


def key_change(nkey: object) -> dict[str, Any]:
    return {"key": KEY.public_jwk, "nkey": nkey, "proof": "a.b.c"}


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
