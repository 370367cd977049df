"""A job's process. It imports no more than it needs, and has the memory and the time that the settings give."""

from __future__ import annotations

from pathlib import Path

from carina.app.processes import start_logs
from carina.app.site import open_node
from carina.node.jobs import compute_job
from carina.settings import load_node


def compute(folder: Path, hub: str, job: str) -> None:
    """Do what this job asks of the node in `folder`, and keep its result."""
    settings = load_node(folder)
    start_logs(settings.logs.form)
    with open_node(folder, settings) as node:
        compute_job(node, hub, job)
