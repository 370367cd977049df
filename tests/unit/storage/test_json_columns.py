"""What columns of JSON hold: the same values, whatever the library that reads and writes them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert, select, text
from tests.stored import records

from carina.storage.database import from_text, to_text
from carina.storage.schema import pixel_checks

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_what_is_written_is_what_the_standard_library_reads(value: Any) -> None:
    assert isinstance(to_text(value), str)
    assert json.loads(to_text(value)) == value


@given(st.dictionaries(st.text(max_size=4), st.integers(-(2**63), 2**64 - 1)))
def test_keys_keep_their_order_and_old_texts_are_read(value: dict[str, int]) -> None:
    assert list(from_text(to_text(value)).items()) == list(value.items())
    assert from_text(json.dumps(value)) == value


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("shape", [lambda number: number, lambda number: {"a": [None, {"b": number}]}])
def test_what_is_no_number_in_json_is_refused_and_does_not_become_null(number: float, shape: Any) -> None:
    with pytest.raises(ValueError, match="number"):
        to_text(shape(number))


def test_what_the_fast_library_does_not_take_is_written_all_the_same() -> None:
    for value in ({"a": "\ud800"}, {"a": 2**70}):
        assert json.loads(to_text(value)) == value
    assert from_text(to_text({"a": "\ud800"})) == {"a": "\ud800"}
    assert to_text({1: "one"}) == '{"1":"one"}'
    with pytest.raises(TypeError):
        to_text({"a": object()})


def test_records_hold_compact_text_with_letters_as_they_are(tmp_path: Path) -> None:
    row = {"project": "lung", "layout": "x", "sample": False, "state": "waiting", "boxes": [], "decisions": [{"é": 1}]}
    with records(tmp_path) as engine, engine.begin() as connection:
        connection.execute(insert(pixel_checks), {"id": "1", **row})
        assert connection.execute(text("SELECT typeof(decisions), decisions FROM pixel_checks")).one() == (
            "text",
            '[{"é":1}]',
        )
        assert connection.execute(select(pixel_checks.c.decisions)).scalar_one() == [{"é": 1}]
