"""The node in numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import LUNG, SCANNER, ct, make_node

from carina.model.instance import Reason, Source
from carina.node import arrivals, datasets, ingest, worker
from carina.node.site import Node
from carina.node.status import status
from carina.storage import arrivals as records


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = make_node(tmp_path / "node")
    yield node
    node.engine.dispose()


def _fill(node: Node) -> None:
    """Two archived, one quarantined, one refused, one that a worker has and one that waits."""
    for number in (1, 2):
        ingest.receive(node, ct(number=number), SCANNER)
    ingest.receive(node, ct(number=3), Source("aet", "STRANGER"))
    while worker.work(node, "test"):
        pass
    ingest.receive(node, b"text", SCANNER)
    for number in (4, 5):
        ingest.receive(node, ct(number=number), SCANNER)
    assert records.claim(node.engine, "worker-1") is not None


def test_status_can_be_printed_as_json(node: Node) -> None:
    _fill(node)
    datasets.create(node, "ana", LUNG, "Lung CT")
    told = json.loads(json.dumps(status(node)))
    assert (told["id"], told["title"]) == (node.id, "Test node")
    assert told["archive"] == {"patients": 1, "studies": 1, "series": 1, "instances": 2}
    assert told["quarantine"] == {"not-dicom": 1, "unmapped-source": 1}
    assert (told["spool"]["waiting"], told["spool"]["workers"]) == (2, ["worker-1"])
    assert told["datasets"] == {"draft": 1, "published": 0, "withdrawn": 0}
    assert told["text_finder"] == ""
    assert told["hubs"] == [] and told["disk_free"] > 0


def test_arrivals_say_what_became_of_each_source_s_images(node: Node) -> None:
    _fill(node)
    seen = arrivals.arriving(node)
    assert seen.backlog.waiting == 2 and arrivals.archive(node).instances == 2
    stranger, mammo, scanner, _ = seen.sources
    assert stranger.source == Source("aet", "(not assigned)")
    assert mammo.source == Source("aet", "MAMMO") and mammo.last_seen is None
    assert (scanner.source, scanner.tally.archived, scanner.tally.received) == (SCANNER, 2, 2)
    assert (scanner.minute, scanner.quarter, scanner.percent) == (5, 5, 60)
    assert scanner.tally.quarantined == {Reason.NOT_DICOM: 1}
    assert stranger.tally.quarantined == {Reason.UNMAPPED_SOURCE: 1} and seen.heard_today == 2
    newest = arrivals.latest(node, limit=3)
    assert len(newest) == 3 and newest[0].id > newest[1].id
    assert {one.source for one in arrivals.latest(node, SCANNER)} == {SCANNER}
    [study] = arrivals.growing(node)
    assert (study.project, study.instances, study.modalities) == (LUNG, 2, ("CT",))


def test_a_node_to_which_nothing_came_knows_the_sources_of_its_settings(node: Node) -> None:
    seen = arrivals.arriving(node)
    assert {row.source for row in seen.sources} == set(node.project_of)
    assert all(row.last_seen is None and row.percent == 0 for row in seen.sources)
    assert seen.backlog.waiting == 0 and arrivals.archive(node) == arrivals.Archive(0, 0, 0, 0)
