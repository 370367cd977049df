"""Log lines name their ids."""

from __future__ import annotations

import logging

from carina.app.processes import Lines


def test_a_line_ends_with_the_ids_that_were_given() -> None:
    record = logging.LogRecord("carina.node.worker", logging.INFO, __file__, 1, "arrival-quarantined", None, None)
    record.arrival, record.reason = "0abc", "damaged"
    line = Lines().format(record)
    assert line.endswith("INFO carina.node.worker arrival-quarantined arrival=0abc reason=damaged")
