"""Whatever is sealed is opened as it was; whatever is changed on the way is refused."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.written import HUB, JSON, KEY, NODE, TEXTS, answered, asked, queries

from carina.errors import InvalidMessage
from carina.federation import wire
from carina.federation.messages import Message, open_message, seal_message
from carina.model import cohort

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
NONCE = "n" * 32
bodies = st.one_of(*asked.values(), *answered.values())
shapes = st.sampled_from([*asked, *answered])


def opened(data: bytes, answers: str | None = None) -> Message:
    return open_message(
        data,
        me=NODE,
        hub=HUB,
        sender=HUB,
        keys_of=lambda party: KEY.public_jwk if party == HUB else None,
        first_time=lambda *_: True,
        answers=answers,
        now=NOON,
    )


def question(body: wire.Body) -> str | None:
    """The nonce that a body of this kind must answer, if it is an answer."""
    return NONCE if body.kind in ("answer", "error") else None


def sealed(body: wire.Body) -> bytes:
    return seal_message(KEY, body, hub=HUB, sender=HUB, to=NODE, re=question(body), now=NOON).data


def test_every_kind_and_every_answer_is_among_those_tried() -> None:
    assert {shape.kind for shape in (*asked, *answered)} == set(get_args(wire.Kind))
    assert {*asked, *answered} == set(wire.Body.__subclasses__())


@settings(deadline=None)
@given(bodies)
def test_every_body_is_read_as_it_was_written(body: wire.Body) -> None:
    assert opened(sealed(body), question(body)).body == body


@settings(deadline=None)
@given(queries)
def test_a_query_means_the_same_after_its_journey(query: cohort.Query) -> None:
    body = opened(sealed(wire.Search(query=cohort.to_json(query)))).body
    assert isinstance(body, wire.Search)
    assert cohort.from_json(body.query) == query


@settings(deadline=None)
@given(bodies, st.data())
def test_a_message_changed_in_any_one_place_is_refused(body: wire.Body, data: st.DataObject) -> None:
    whole = bytearray(sealed(body))
    place = data.draw(st.integers(0, len(whole) - 2))  # the last letter has bits that mean nothing
    before = whole[place]
    whole[place] ^= data.draw(st.integers(1, 255))
    assume({before, whole[place]} not in ({*b"-+"}, {*b"_/"}))  # two spellings of the same bits (RFC 4648 section 5)
    with pytest.raises(InvalidMessage):
        opened(bytes(whole), question(body))


@settings(deadline=None)
@given(st.binary(max_size=400) | st.text("eyJ.-_AQ0", max_size=200).map(str.encode))
def test_any_bytes_are_refused_in_our_own_words(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        opened(data)


@settings(deadline=None)
@given(st.dictionaries(TEXTS, JSON, max_size=5))
def test_any_signed_object_is_refused_in_our_own_words(payload: dict[str, Any]) -> None:
    with contextlib.suppress(ValueError):  # what is no JSON cannot be signed
        token = KEY.sign({**payload, "iss": HUB})
        with pytest.raises(InvalidMessage):
            opened(token)


@settings(deadline=None)
@given(bodies, st.data())
def test_any_member_may_be_anything_and_is_read_or_refused_in_our_own_words(
    body: wire.Body, data: st.DataObject
) -> None:
    written = wire.write(body)
    member = data.draw(st.sampled_from([*written, "another"]))
    changed = {**written, member: data.draw(JSON)}
    envelope = {"v": 1, "hub": HUB, "iss": HUB, "aud": NODE, "iat": int(NOON.timestamp()), "kind": body.kind}
    more = {"exp": envelope["iat"], "nonce": NONCE, "re": question(body), "body": changed}
    try:
        token = KEY.sign({**envelope, **more})
    except ValueError:  # what is no JSON cannot be signed
        return
    with contextlib.suppress(InvalidMessage):
        assert wire.write(opened(token, question(body)).body) == changed


@settings(deadline=None)
@given(shapes, JSON | st.binary(max_size=9))
def test_anything_is_a_body_or_malformed(shape: type[wire.Body], value: object) -> None:
    with contextlib.suppress(InvalidMessage):
        assert isinstance(wire.read(shape, value), shape)
