"""Run the jobs that hubs have asked of a node: one at a time, each in a process of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
from pathlib import Path

from carina.app.job import compute
from carina.compute.sandbox import run
from carina.node import jobs
from carina.node.site import Node
from carina.settings import JobSettings

LOOK_EVERY = 0.5  # s between looks for a job
INTERRUPTED = "interrupted"

log = logging.getLogger(__name__)


class Jobs:
    """The runner of a node's jobs. What is interrupted by the node's end is done again after its start."""

    def __init__(self, node: Node, folder: Path, bounds: JobSettings) -> None:
        self._node = node
        self._folder = folder
        self._bounds = bounds
        self._ending = threading.Event()
        self._idle = threading.Event()
        self._idle.set()

    async def keep(self) -> None:
        """Run what comes until cancelled."""
        await asyncio.to_thread(jobs.reset, self._node)
        while True:
            found = await asyncio.to_thread(jobs.next_job, self._node)
            if found is None:
                await asyncio.sleep(LOOK_EVERY)
            else:
                await asyncio.to_thread(self._run, *found)

    def stop(self) -> None:
        """Kill the job that runs, if one does; it stays to be done."""
        self._ending.set()
        self._idle.wait(10)

    def _run(self, hub: str, job: str) -> None:
        self._idle.clear()
        try:
            if self._ending.is_set() or not jobs.begin(self._node, hub, job):
                return
            word = run(
                compute,
                (self._folder, hub, job),
                memory=self._bounds.memory,
                seconds=self._bounds.seconds,
                should_stop=lambda: self._why_stop(hub, job),
            )
            if word:
                self._note(hub, job, word)
            elif not jobs.is_ended(self._node, hub, job):
                self._note(hub, job, "crashed")
        finally:
            self._idle.set()

    def _why_stop(self, hub: str, job: str) -> str | None:
        return INTERRUPTED if self._ending.is_set() else jobs.still_allowed(self._node, hub, job)

    def _note(self, hub: str, job: str, word: str) -> None:
        """Keep why the job gave nothing. An interrupted one stays `running`, which the next start finds."""
        log.warning("job-ended", extra={"hub": hub, "job": job, "why": word})
        if word != INTERRUPTED:
            jobs.end(self._node, hub, job, word)
