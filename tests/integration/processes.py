"""What the integration tests run in processes of their own, so that these can be killed and their memory measured."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path

import pydicom
from tests.support import FOLDER, LUNG, corpus_files, make_node

from carina.deid.pixels.findings import Box, Findings
from carina.deid.profile import load_profile
from carina.interfaces.dimse.server import start_dimse
from carina.model.ids import ProjectId
from carina.node import ingest, pixels, quarantine, worker
from carina.node.recovery import recover
from carina.node.site import Node, Project
from carina.storage import arrivals


def serve(folder: Path, ready: Connection) -> None:
    """A node that receives over DIMSE until it is killed; tells `ready` its port."""
    _quiet()
    node = make_node(folder)
    recover(node)
    ready.send(start_dimse(node, "127.0.0.1", 0, "CARINA").port)
    threading.Event().wait()


def work(folder: Path, name: str) -> None:
    """A worker, until it is killed."""
    _quiet()
    worker.run(make_node(folder), threading.Event(), name)


def looked_at() -> dict[ProjectId, Project]:
    """Projects of which the profile has pixels cleaned."""
    toml = 'name = "looked at"\noptions = ["clean_pixel_data", "retain_longitudinal_modified_dates"]\n'
    return {LUNG: Project(LUNG, "Lung", load_profile(toml), "HOSPITAL")}


def find_in_some(data: bytes) -> Findings:
    """A look that takes a moment, and finds a box in every third picture."""
    time.sleep(0.01)
    dataset = pydicom.dcmread(BytesIO(data))
    shows = "DERIVED" in dataset.ImageType and int(dataset.InstanceNumber) % 3 == 0
    return Findings((Box(1, 1, 9, 20),) if shows else (), "test")


def look(folder: Path) -> None:
    """Look at what waits, and take in what was given back, until killed."""
    _quiet()
    node = make_node(folder, projects=looked_at(), samples=True)
    pixels.release_claims(node)
    while True:
        if not pixels.work(node, "pixels-1", find_in_some) and not worker.work(node, "worker-1"):
            time.sleep(0.02)


def _quiet() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)


def resident() -> int:
    """Memory of this process that is in use now, bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def take_corpus(folder: Path) -> None:
    """Take each file of the corpus in, one after the other; print what became of each, and the memory after it."""
    _quiet()
    node = make_node(folder)
    for path in corpus_files():
        began = time.perf_counter()
        data = path.read_bytes()
        receipt = ingest.receive(node, data, FOLDER)
        while worker.work(node, "corpus"):
            pass
        sys.stdout.write(json.dumps(_fate(node, receipt.id, path, time.perf_counter() - began)) + "\n")
    node.engine.dispose()


def _fate(node: Node, arrival_id: str, path: Path, seconds: float) -> dict[str, object]:
    with node.engine.connect() as connection:
        arrival = arrivals.get(connection, arrival_id)
    held = quarantine.get(node, arrival_id) if arrival.state == "quarantined" else None
    return {
        "path": str(path),
        "size": arrival.size,
        "state": arrival.state,
        "reason": arrival.reason,
        "detail": held.detail if held else "",
        "seconds": seconds,
        "resident": resident(),
    }


if __name__ == "__main__":
    take_corpus(Path(sys.argv[1]))
