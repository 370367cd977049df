"""What a node runs in a process of its own for a job, with a test node."""

from __future__ import annotations

import time
from pathlib import Path

from tests.support import open_test_node

from carina.node.jobs import compute_job


def compute(folder: Path, hub: str, job: str) -> None:
    """Do a job of the node in this folder."""
    with open_test_node(folder, threshold=3) as node:
        compute_job(node, hub, job)


def hang(folder: Path, hub: str, job: str) -> None:
    """A job that never ends."""
    while True:
        time.sleep(60)
