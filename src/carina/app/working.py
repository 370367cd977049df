"""An ingest worker's process. It imports no more than it needs, so that it is at work soon."""

from __future__ import annotations

import os
from pathlib import Path

from carina.app.processes import end_with_parent, start_logs, stop_at_sigterm
from carina.app.site import open_node
from carina.node import worker
from carina.settings import load_node


def work(folder: Path, name: str) -> None:
    """Work on the node in `folder` until SIGTERM or the end of the server that started this."""
    settings = load_node(folder)
    start_logs(settings.logs.form)
    stop = stop_at_sigterm()
    end_with_parent(stop.set, parent=os.getppid())
    with open_node(folder, settings) as node:
        worker.run(node, stop, name)
