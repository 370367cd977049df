"""An ingest worker's process. It imports no more than it needs, so that it is at work soon."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from carina.app.processes import end_with_parent, start_logs
from carina.app.site import open_node
from carina.node import worker


def work(folder: Path, name: str) -> None:
    """Work on the node in `folder` until SIGTERM or the end of the server that started this."""
    start_logs()
    stop = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server says when
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    end_with_parent(stop.set, parent=os.getppid())
    with open_node(folder) as node:
        worker.run(node, stop, name)
