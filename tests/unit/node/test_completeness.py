"""When a study is complete, and when it is not any more."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import select
from tests.support import SCANNER, ct, open_test_node

from carina.model.clock import now
from carina.node import completeness, ingest, worker
from carina.node.arrivals import growing
from carina.storage.schema import studies

LATER = timedelta(seconds=301)


def actions(node: object) -> list[str]:
    return [entry.action for entry in node.audit.entries(50) if entry.action.startswith("study-")]  # type: ignore[attr-defined]


def test_a_study_is_complete_after_a_quiet_time_and_reopened_by_a_late_image(tmp_path: Path) -> None:
    with open_test_node(tmp_path) as node:
        ingest.receive(node, ct(number=1), SCANNER)
        worker.work(node, "w")
        assert completeness.settle(node) == 0
        assert completeness.settle(node, now() + LATER) == 1
        assert completeness.settle(node, now() + LATER) == 0
        with node.engine.connect() as connection:
            row = connection.execute(select(studies)).one()
        assert (row.state, row.reopened) == ("complete", 0) and row.completed_at
        ingest.receive(node, ct(number=2), SCANNER)
        worker.work(node, "w")
        with node.engine.connect() as connection:
            row = connection.execute(select(studies)).one()
        assert (row.state, row.reopened, row.instance_count) == ("receiving", 1, 2)
        (shown,) = growing(node)
        assert (shown.state, shown.reopened, shown.instances) == ("receiving", 1, 2)
        assert actions(node) == ["study-reopened", "study-complete"]


def test_the_same_image_again_reopens_nothing(tmp_path: Path) -> None:
    with open_test_node(tmp_path) as node:
        for _ in range(2):
            ingest.receive(node, ct(), SCANNER)
            worker.work(node, "w")
            completeness.settle(node, now() + LATER)
        assert actions(node) == ["study-complete"]


def test_what_waits_may_belong_to_any_study(tmp_path: Path) -> None:
    with open_test_node(tmp_path) as node:
        ingest.receive(node, ct(number=1), SCANNER)
        worker.work(node, "w")
        ingest.receive(node, ct(number=2), SCANNER)
        assert completeness.settle(node, now() + LATER) == 0
        worker.work(node, "w")
        assert completeness.settle(node, now() + LATER) == 1
