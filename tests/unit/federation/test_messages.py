import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from carina.errors import BadInput, InvalidMessage
from carina.federation import wire
from carina.federation.messages import Message, open_message, seal_message
from carina.federation.signing import Jwk, SigningKey, party_id

HUB_KEY, NODE_KEY, OTHER_KEY = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2, 3))
HUB = party_id(HUB_KEY.public_jwk, "h")
NODE = party_id(NODE_KEY.public_jwk, "n")
OTHER = party_id(OTHER_KEY.public_jwk, "n")
OTHER_HUB = party_id(OTHER_KEY.public_jwk, "h")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SEARCH = wire.Search(query={"all": []})


@dataclass
class Receiver:
    """A node that knows its hub, and remembers nonces."""

    known: dict[str, Jwk] = field(default_factory=lambda: {HUB: HUB_KEY.public_jwk})
    seen: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def first_time(self, sender: str, nonce: str, until: datetime) -> bool:
        if (sender, nonce) in self.seen:
            return False
        self.seen[sender, nonce] = until
        return True

    def open(self, data: bytes, **changes: Any) -> Message:
        usual: dict[str, Any] = {"me": NODE, "hub": HUB, "sender": HUB, "now": NOON}
        return open_message(data, keys_of=self.known.get, first_time=self.first_time, **{**usual, **changes})


def sealed(key: SigningKey = HUB_KEY, body: wire.Body = SEARCH, **changes: Any) -> bytes:
    usual: dict[str, Any] = {"hub": HUB, "sender": HUB, "to": NODE, "now": NOON}
    return seal_message(key, body, **{**usual, **changes}).data


def envelope(**changes: Any) -> dict[str, Any]:
    second = int(NOON.timestamp())
    usual = {"v": 1, "hub": HUB, "iss": HUB, "aud": NODE, "iat": second, "exp": second + 60}
    return {**usual, "nonce": "n" * 32, "kind": "search", "re": None, "body": {"query": {}}, **changes}


def reason_of(call: Callable[[], object]) -> str:
    with pytest.raises(InvalidMessage) as refused:
        call()
    return refused.value.reason


def test_a_genuine_message_is_opened() -> None:
    message = Receiver().open(sealed())
    assert (message.sender, message.body) == (HUB, SEARCH)


def test_a_message_signed_by_another_is_forged() -> None:
    assert reason_of(lambda: Receiver().open(sealed(OTHER_KEY))) == "forged"


def test_a_message_that_another_sent_is_forged() -> None:
    receiver = Receiver(known={HUB: HUB_KEY.public_jwk, OTHER: OTHER_KEY.public_jwk})
    assert reason_of(lambda: receiver.open(sealed(), sender=OTHER)) == "forged"


def test_a_sender_without_a_key_is_unknown() -> None:
    assert reason_of(lambda: Receiver(known={}).open(sealed())) == "unknown-sender"


def test_a_message_received_again_is_replayed() -> None:
    receiver, data = Receiver(), sealed()
    receiver.open(data)
    assert reason_of(lambda: receiver.open(data)) == "replayed"


def test_a_message_for_another_node_is_misaddressed() -> None:
    assert reason_of(lambda: Receiver().open(sealed(to=OTHER))) == "misaddressed"


def test_a_message_of_another_hubs_exchange_is_misaddressed() -> None:
    assert reason_of(lambda: Receiver().open(sealed(hub=OTHER_HUB))) == "misaddressed"


def test_an_answer_to_another_question_is_misaddressed() -> None:
    answer = sealed(body=wire.Done(), re="a" * 32)
    assert reason_of(lambda: Receiver().open(answer, answers="b" * 32)) == "misaddressed"


def test_an_answer_to_nothing_is_misaddressed() -> None:
    assert reason_of(lambda: Receiver().open(sealed(body=wire.Done()))) == "misaddressed"


def test_a_request_in_place_of_an_answer_is_misaddressed() -> None:
    assert reason_of(lambda: Receiver().open(sealed(re="a" * 32), answers="a" * 32)) == "misaddressed"


@pytest.mark.parametrize(("seconds", "good"), [(-29, True), (-31, False), (0, True), (89, True), (91, False)])
def test_clocks_may_differ_by_thirty_seconds(seconds: int, good: bool) -> None:
    receiver, data, then = Receiver(), sealed(), NOON + timedelta(seconds=seconds)
    if good:
        assert receiver.open(data, now=then).body == SEARCH
    else:
        assert reason_of(lambda: receiver.open(data, now=then)) == "expired"


def test_a_nonce_is_remembered_for_longer_than_its_message_could_be_opened() -> None:
    receiver, data = Receiver(), sealed()
    receiver.open(data)
    [until] = receiver.seen.values()
    assert reason_of(lambda: Receiver().open(data, now=until)) == "expired"


def test_a_message_that_claims_to_be_good_for_a_day_is_expired() -> None:
    data = HUB_KEY.sign(envelope(exp=int(NOON.timestamp()) + 86_400))
    assert reason_of(lambda: Receiver().open(data)) == "expired"


@pytest.mark.parametrize(
    "changes",
    [
        {"v": 2},
        {"extra": 1},
        {"kind": "gossip"},
        {"nonce": "short"},
        {"iat": "now"},
        {"exp": 1.5},
        {"body": []},
        {"body": {"query": {}, "more": 1}},
        {"kind": "hello"},
        {"kind": "answer", "body": {"of": "nothing"}},
    ],
)
def test_other_shapes_are_refused(changes: dict[str, Any]) -> None:
    data = HUB_KEY.sign(envelope(**changes))
    assert reason_of(lambda: Receiver().open(data)) in ("malformed", "misaddressed")


def test_a_refused_message_uses_up_no_nonce() -> None:
    receiver = Receiver()
    for data in (sealed(OTHER_KEY), sealed(to=OTHER), HUB_KEY.sign(envelope(kind="hello"))):
        with pytest.raises(InvalidMessage):
            receiver.open(data)
    assert receiver.seen == {}


def test_a_message_too_large_for_the_transport_is_not_made() -> None:
    with pytest.raises(BadInput, match="more than"):
        sealed(body=wire.Search(query={"all": ["x" * 1_000_000]}))


@pytest.mark.parametrize("second", [2**40, 253_402_300_800, -1])
def test_an_instant_that_no_calendar_has_is_malformed(second: int) -> None:
    data = HUB_KEY.sign(envelope(iat=second, exp=second))
    assert reason_of(lambda: Receiver().open(data)) == "malformed"


def test_the_last_instant_of_the_calendar_is_expired() -> None:
    data = HUB_KEY.sign(envelope(iat=253_402_300_799, exp=253_402_300_799))
    assert reason_of(lambda: Receiver().open(data)) == "expired"


@pytest.mark.parametrize("issuer", ["\ud800", "\x00", "h-", "h-" + "a" * 27, f"{HUB}\n", 7, None, ["h"]])
def test_no_key_is_looked_for_of_a_sender_that_is_no_party(issuer: object) -> None:
    asked: list[str] = []
    token = b".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "none"}, {"iss": issuer})
    )
    with pytest.raises(InvalidMessage) as refused:
        open_message(
            token + b".x",
            me=NODE,
            hub=HUB,
            sender=HUB,
            keys_of=asked.append,
            first_time=lambda *_: True,
        )
    assert (refused.value.reason, asked) == ("unknown-sender", [])
