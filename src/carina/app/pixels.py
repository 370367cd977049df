"""The process that looks for text in pixels, beside reception and ingest, which come first."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from carina.app.processes import end_with_parent, start_logs, stop_at_sigterm
from carina.app.site import open_node
from carina.deid.pixels.finder import TextFinder
from carina.deid.pixels.findings import Findings
from carina.node import pixels
from carina.settings import load_node

NICE = 10  # below the server and its workers
REST = 60.0  # s without an image after which the text finder's process ends, and its memory with it


def look(folder: Path, name: str) -> None:
    """Look at what waits in the node's `folder` until SIGTERM or the end of the server that started this."""
    settings = load_node(folder)
    start_logs(settings.logs.form)
    os.nice(NICE)
    stop = stop_at_sigterm()
    end_with_parent(stop.set, parent=os.getppid())
    eyes = Eyes()
    try:
        with open_node(folder, settings) as node:
            pixels.run(node, stop, name, eyes.look)
    finally:
        eyes.close()


class Eyes:
    """A text finder that sleeps when there is nothing to look at."""

    def __init__(self) -> None:
        self._finder = TextFinder()
        self._using = threading.Lock()
        self._rest: threading.Timer | None = None

    def look(self, data: bytes) -> Findings:
        """What is found in an instance as it was received."""
        from carina.deid.pixels.examine import examine  # the server names this module, and needs nothing of that

        if self._rest is not None:
            self._rest.cancel()
        try:
            with self._using:
                return examine(data, self._finder)
        finally:
            self._rest = threading.Timer(REST, self.close)
            self._rest.daemon = True
            self._rest.start()

    def close(self) -> None:
        """End the text finder's process; the next image starts another."""
        with self._using:
            self._finder.close()
