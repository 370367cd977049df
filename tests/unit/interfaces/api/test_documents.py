"""The JSON of the API is read back as what was written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carina.interfaces.api import access_documents, documents
from carina.interfaces.api.access_documents import AccessRequest, Item, Permit
from carina.model.dataset import DatasetDescription
from carina.model.search import NodeAnswer, Total
from carina.model.variables import Variable

PAIRS = [
    (NodeAnswer, documents.answer_to_json, documents.answer_from_json),
    (Total, documents.total_to_json, documents.total_from_json),
    (DatasetDescription, documents.dataset_to_json, documents.dataset_from_json),
    (Variable, documents.variable_to_json, documents.variable_from_json),
    (Item, access_documents.item_to_json, access_documents.item_from_json),
    (AccessRequest, access_documents.request_to_json, access_documents.request_from_json),
    (Permit, access_documents.permit_to_json, access_documents.permit_from_json),
]
VALUES: dict[type, Any] = {
    NodeAnswer: st.builds(NodeAnswer, seconds=st.integers(0, 60_000).map(lambda ms: ms / 1000)),
    Permit: st.builds(Permit, use=st.dictionaries(st.text(), st.integers() | st.none() | st.text())),
}


@pytest.mark.parametrize(("kind", "write", "read"), PAIRS, ids=[kind.__name__ for kind, _, _ in PAIRS])
def test_what_is_written_is_read_back(kind: type, write: Any, read: Any) -> None:
    @given(VALUES.get(kind, st.from_type(kind)))
    def check(value: Any) -> None:
        assert read(json.loads(json.dumps(write(value)))) == value

    check()


@pytest.mark.parametrize("read", [read for _, _, read in PAIRS])
@pytest.mark.parametrize("value", [{}, [], None, {"state": "guessed"}, 5])
def test_another_shape_is_an_ordinary_error(read: Any, value: Any) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        read(value)


@pytest.mark.parametrize("name", ["state", "turn"])
def test_a_word_that_is_not_known_is_no_items(name: str) -> None:
    item = dict.fromkeys(("id", "request", "dataset", "node", "node_title", "title", "since", "permit"), "x")
    plain = {**item, "state": "waiting", "turn": "committee", "events": []}
    assert access_documents.item_from_json(plain).state == "waiting"
    with pytest.raises(ValueError):
        access_documents.item_from_json({**plain, name: "guessed"})
