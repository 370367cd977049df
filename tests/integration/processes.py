"""What the integration tests run in processes of their own, so that these can be killed and their memory measured."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

from tests.support import FOLDER, corpus_files, make_node

from carina.interfaces.dimse.server import start_dimse
from carina.node import ingest, quarantine, worker
from carina.node.recovery import recover
from carina.node.site import Node
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
