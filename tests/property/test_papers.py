"""Any visa is read as it was written; a paper that is changed in any one place is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.written import LETTERS

from carina.errors import InvalidMessage, PermitDenied
from carina.federation.papers import (
    Countersignature,
    StatusList,
    countersigns,
    make_code,
    make_countersignature,
    make_status,
    make_visa,
    open_code,
    open_status,
    open_visa,
    visa_digest,
)
from carina.federation.permitkeys import PermitKey
from carina.model.ids import DatasetIri, NodeId
from carina.model.permit import ACTIONS, Visa

KEY = PermitKey.from_master(bytes(range(32)))
HUB, NODE = "h-" + "a" * 26, NodeId("n-" + "b" * 26)
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)

instants = st.integers(0, 253_402_300_799).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
ids = st.text("0123456789abcdefghijklmnopqrstuv", min_size=26, max_size=26)
iris = st.uuids().map(lambda value: DatasetIri(f"urn:uuid:{value}"))
texts = st.text(LETTERS, max_size=200)
proses = st.text(LETTERS | st.sampled_from("\n\t"), max_size=300)
urls = st.text("abcXYZ019.-/_~", min_size=1, max_size=100).map(lambda text: f"https://hub.example/{text}")
visas = st.builds(
    Visa,
    id=ids,
    issuer=urls,
    hub=st.just(HUB),
    subject=st.text(LETTERS, min_size=1, max_size=200),
    name=texts,
    dataset=iris,
    node=st.just(NODE),
    source=urls | urls.map(lambda url: f"{url}#{NODE}"),
    asserted=instants,
    issued=instants,
    expires=instants,
    actions=st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=3, unique=True).map(tuple),
    purpose=proses,
    project=texts,
    organisation=texts,
    version=st.just("live") | st.integers(1, 999_999_999).map(str),
    conditions=proses,
)
lists = st.builds(
    StatusList,
    hub=st.just(HUB),
    node=st.just(NODE),
    number=st.integers(1, 10**15),
    issued=st.integers(0, 253_402_300_799),
    permits=st.dictionaries(ids, st.sampled_from(["valid", "ended"]), max_size=20),
)


def reopened(text: str) -> Visa:
    return open_visa(text, KEY.public_jwk, hub=HUB, node=NODE)


def changed(text: str, data: st.DataObject) -> str:
    """The text with one letter in another's place, of any that there are."""
    place = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.characters().filter(lambda letter: letter != text[place]))
    return text[:place] + other + text[place + 1 :]


@settings(deadline=None)
@given(visas)
def test_any_visa_is_read_as_it_was_written(visa: Visa) -> None:
    assert reopened(make_visa(KEY, visa)) == visa


@settings(deadline=None)
@given(lists)
def test_any_list_of_states_is_read_as_it_was_written(status: StatusList) -> None:
    assert open_status(make_status(KEY, status), KEY.public_jwk, hub=HUB, node=NODE) == status


@settings(deadline=None)
@given(visas, st.data())
def test_a_visa_changed_in_any_one_place_is_refused(visa: Visa, data: st.DataObject) -> None:
    text = changed(make_visa(KEY, visa), data)
    with pytest.raises(PermitDenied) as refused:
        reopened(text)
    assert refused.value.reason == "forged"


@settings(deadline=None)
@given(lists, texts.filter(bool), st.data())
def test_a_list_or_code_changed_in_any_one_place_is_refused(
    status: StatusList, subject: str, data: st.DataObject
) -> None:
    code = make_code(
        KEY, hub=HUB, node=NODE, permit="0" * 26, dataset="urn:uuid:00000000-0000-4000-8000-000000000001",
        subject=subject, name="Rosa", now=NOON,
    )  # fmt: skip
    assert open_code(code, KEY.public_jwk, hub=HUB, node=NODE, now=NOON).subject == subject
    with pytest.raises(InvalidMessage):
        open_code(changed(code, data), KEY.public_jwk, hub=HUB, node=NODE, now=NOON)
    with pytest.raises(InvalidMessage):
        open_status(changed(make_status(KEY, status), data), KEY.public_jwk, hub=HUB, node=NODE)


@settings(deadline=None)
@given(visas, st.data())
def test_a_countersignature_holds_for_no_other_text(visa: Visa, data: st.DataObject) -> None:
    text = make_visa(KEY, visa)
    agreed = make_countersignature(
        KEY,
        Countersignature(
            node=NODE, hub=HUB, permit=visa.id, visa=visa_digest(text), by="ana", at="2026-01-02T12:00:00.000000Z"
        ),
    )
    held = {"node": NODE, "hub": HUB, "permit": visa.id}
    assert countersigns(agreed, KEY.public_jwk, visa=text, **held)
    assert not countersigns(changed(agreed, data), KEY.public_jwk, visa=text, **held)
    assert not countersigns(agreed, KEY.public_jwk, visa=changed(text, data), **held)


@settings(deadline=None)
@given(st.text(max_size=300) | st.text("eyJ.-_AQ0", max_size=200))
def test_any_text_is_refused_in_our_own_words(text: str) -> None:
    with pytest.raises(PermitDenied):
        reopened(text)
    with pytest.raises(InvalidMessage):
        open_code(text, KEY.public_jwk, hub=HUB, node=NODE)


def test_the_times_of_a_visa_have_whole_seconds() -> None:
    fine = NOON + timedelta(microseconds=900_000)
    visa = Visa(
        "0" * 26, "https://hub.example", HUB, "rosa", "Rosa",
        DatasetIri("urn:uuid:00000000-0000-4000-8000-000000000001"), NODE, "https://hub.example/n",
        fine, fine, fine, ACTIONS, "", "", "",
    )  # fmt: skip
    assert reopened(make_visa(KEY, visa)).issued == NOON
