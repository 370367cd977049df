"""Whatever is sealed is opened as it was; whatever is changed on the way is refused."""

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carina.errors import InvalidMessage
from carina.federation import wire
from carina.federation.messages import Message, open_message, seal_message
from carina.federation.signing import SigningKey, party_id
from carina.model import cohort

KEY = SigningKey.from_seed(bytes(range(32)))
HUB, NODE = party_id(KEY.public_jwk, "h"), party_id(KEY.public_jwk, "n")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
IRIS = st.uuids().map(lambda value: f"urn:uuid:{value}")
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60)
NUMBERS = st.none() | st.integers(10, 10**12)
THUMBPRINTS = st.text("abcXYZ019_-", min_size=43, max_size=43)

terms = st.builds(cohort.OneOf, TEXTS, st.lists(TEXTS, max_size=4).map(tuple)) | st.builds(
    cohort.Between, TEXTS, st.none() | st.integers(-(10**9), 10**9), st.none() | st.integers(0, 90)
)
queries = st.recursive(
    terms,
    lambda parts: (
        st.lists(parts, max_size=3)
        .map(tuple)
        .flatmap(lambda some: st.sampled_from([cohort.All(some), cohort.AnyOf(some)]))
    ),
    max_leaves=6,
)
groups = st.lists(st.builds(wire.Group, value=TEXTS, patients=NUMBERS), max_size=4).map(tuple)
bodies = st.one_of(
    queries.map(lambda query: wire.Search(query=cohort.to_json(query))),
    st.builds(
        wire.Hello,
        title=TEXTS,
        institution=TEXTS,
        country=st.just("NL"),
        public_url=st.none() | st.just("https://node.example.org/x"),
        knows=THUMBPRINTS,
        datasets=st.dictionaries(IRIS, THUMBPRINTS, max_size=3),
    ),
    st.builds(
        wire.Description,
        iri=IRIS,
        node=st.just(NODE),
        project=st.just("lung"),
        title=TEXTS,
        description=TEXTS,
        institution=TEXTS,
        country=st.just("AU"),
        threshold=st.integers(1, 10),
        patients=st.integers(10, 10**6),
        studies=NUMBERS,
        series=NUMBERS,
        instances=NUMBERS,
        groups=st.dictionaries(st.sampled_from(["modality", "body_part", "age"]), groups),
        digest=THUMBPRINTS,
        computed=st.just("2026-01-02T03:04:05.678901Z"),
    ),
    st.builds(wire.Withdraw, iri=IRIS),
    st.just(wire.Bye()),
)


def opened(data: bytes) -> Message:
    return open_message(
        data,
        me=NODE,
        hub=HUB,
        sender=HUB,
        keys_of=lambda party: KEY.public_jwk if party == HUB else None,
        first_time=lambda *_: True,
        now=NOON,
    )


def sealed(body: wire.Body) -> bytes:
    return seal_message(KEY, body, hub=HUB, sender=HUB, to=NODE, now=NOON).data


@settings(deadline=None)
@given(bodies)
def test_every_body_is_read_as_it_was_written(body: wire.Body) -> None:
    assert opened(sealed(body)).body == body


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
    whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InvalidMessage):
        opened(bytes(whole))


@settings(deadline=None)
@given(st.binary(max_size=400) | st.text("eyJ.-_AQ0", max_size=200).map(str.encode))
def test_any_bytes_are_refused_in_our_own_words(data: bytes) -> None:
    with pytest.raises(InvalidMessage):
        opened(data)


@settings(deadline=None)
@given(st.dictionaries(TEXTS, st.none() | st.integers() | TEXTS | st.floats(), max_size=5))
def test_any_signed_object_is_read_or_refused_in_our_own_words(payload: dict[str, object]) -> None:
    with contextlib.suppress(ValueError):  # what is no JSON cannot be signed
        token = KEY.sign({**payload, "iss": HUB})
        with pytest.raises(InvalidMessage):
            opened(token)
