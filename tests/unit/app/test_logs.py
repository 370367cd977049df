"""Log lines name their ids."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from carina.app.processes import JsonLines, Lines, start_logs


def _record() -> logging.LogRecord:
    record = logging.LogRecord("carina.node.worker", logging.INFO, __file__, 1, "arrival-quarantined", None, None)
    record.arrival, record.reason = "0abc", "damaged"
    return record


def test_a_line_ends_with_the_ids_that_were_given() -> None:
    line = Lines().format(_record())
    assert line.endswith("INFO carina.node.worker arrival-quarantined arrival=0abc reason=damaged")


def test_a_json_line_is_an_object_with_the_ids_that_were_given() -> None:
    line = JsonLines().format(_record())
    assert "\n" not in line
    told = json.loads(line)
    assert told.pop("at").endswith("Z") and told.pop("process") > 0
    assert told == {
        "level": "info",
        "room": "carina.node.worker",
        "event": "arrival-quarantined",
        "arrival": "0abc",
        "reason": "damaged",
    }


def test_an_errors_words_are_not_in_a_json_line_for_they_may_quote_values() -> None:
    try:
        raise ValueError("Garcia^Maria")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", None, sys.exc_info())
    line = JsonLines().format(record)
    assert "Garcia" not in line and json.loads(line)["error"] == "ValueError"


@pytest.fixture
def quiet_root() -> Iterator[logging.Logger]:
    """The root logger without handlers, as it is in a new process; put back at the end."""
    root = logging.getLogger()
    handlers, level, carina = root.handlers[:], root.level, logging.getLogger("carina").level
    root.handlers[:] = []
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("carina").setLevel(carina)


def test_a_forked_process_logs_in_the_form_that_it_is_told_on_one_handler(quiet_root: logging.Logger) -> None:
    quiet_root.handlers[:] = []  # pytest has one of its own
    start_logs("text")
    [handler] = quiet_root.handlers
    assert isinstance(handler.formatter, Lines)
    start_logs("json")
    assert quiet_root.handlers == [handler] and isinstance(handler.formatter, JsonLines)
