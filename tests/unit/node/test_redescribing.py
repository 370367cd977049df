"""What an older version archived is described anew."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select, update
from tests.support import SCANNER, ct, open_test_node

from carina.node import ingest, redescribing, worker
from carina.storage.schema import instances


def test_rows_without_a_short_header_get_one(tmp_path: Path) -> None:
    with open_test_node(tmp_path) as node:
        for number in (1, 2):
            ingest.receive(node, ct(number=number), SCANNER)
        worker.work(node, "w")
        with node.engine.begin() as connection:
            before = connection.execute(select(instances).order_by(instances.c.uid)).all()
            connection.execute(update(instances).values(brief={}, pixel_offset=None, frame_size=None))
        assert (last := redescribing.redescribe(node)) == (before[-1].project, before[-1].uid)
        assert redescribing.redescribe(node, last) is None
        assert redescribing.redescribe(node) is None
        with node.engine.connect() as connection:
            assert connection.execute(select(instances).order_by(instances.c.uid)).all() == before


def test_a_file_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    with open_test_node(tmp_path) as node:
        ingest.receive(node, ct(), SCANNER)
        worker.work(node, "w")
        with node.engine.begin() as connection:
            node.instances.remove(connection.execute(select(instances.c.content)).scalar_one())
            connection.execute(update(instances).values(brief={}))
        assert redescribing.redescribe(node) is not None
        assert redescribing.redescribe(node) is None
