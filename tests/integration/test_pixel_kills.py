"""SIGKILL of the process that looks at pixels: each image is settled once, and records and files agree."""

from __future__ import annotations

import multiprocessing
import random
import time
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.integration import processes
from tests.support import SCANNER, ct, make_node

from carina.node import ingest, pixels, worker
from carina.node.recovery import recover
from carina.storage.schema import arrivals, instances, pixel_checks, pixel_layouts, quarantine

IMAGES = 40


@pytest.mark.timeout(120)
def test_kills_of_the_process_that_looks_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["numpy", "pydicom", "carina.node.worker", "carina.node.pixels"])
    node = make_node(tmp_path / "node", projects=processes.looked_at(), samples=True)
    for number in range(1, IMAGES + 1):
        derived = {"ImageType": ["DERIVED", "SECONDARY"]} if number % 2 else {}
        ingest.receive(node, ct(f"MRN-{number}", number=number, elements=derived), SCANNER)
    while worker.work(node, "test"):
        pass
    chance = random.Random(5)
    for _ in range(12):
        process = context.Process(target=processes.look, args=(tmp_path / "node",), daemon=True)
        process.start()
        time.sleep(chance.uniform(0.2, 0.7))
        process.kill()
        process.join()
    recover(node)
    while pixels.work(node, "last", processes.find_in_some) or worker.work(node, "test"):
        pass
    with node.engine.connect() as connection:
        states = set(connection.execute(select(arrivals.c.state)).scalars())
        looked = dict(connection.execute(select(pixel_checks.c.state, pixel_checks.c.claimed_by)).all())
        archived = len(connection.execute(select(instances.c.uid)).all())
        held = set(connection.execute(select(quarantine.c.state)).scalars())
        layouts = list(connection.execute(select(pixel_layouts.c.state)).scalars())
    assert states == {"archived"}
    assert archived == IMAGES
    assert set(looked) <= {"clean", "settled"}
    assert set(looked.values()) == {None}
    assert held == {"retried"}
    assert layouts == ["clean"]
    assert node.quarantine.names() == node.spool.names() == []
    assert node.audit.verify() > 2 * IMAGES
    node.engine.dispose()
