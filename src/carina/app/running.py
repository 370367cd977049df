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
PAUSE = 5.0  # s after a round that failed
INTERRUPTED, NOT_RUN = "interrupted", "not-run"

log = logging.getLogger(__name__)


class Jobs:
    """The runner of a node's jobs. What is interrupted by the node's end is done again after its start.

    What goes wrong here, as when there is no memory for another process or no room on the disk, ends neither the runner
    nor the job: that waits again, and the runner looks a little later.
    """

    def __init__(self, node: Node, folder: Path, bounds: JobSettings) -> None:
        self._node = node
        self._folder = folder
        self._bounds = bounds
        self._unsettled = True  # a job may be `running` in the records that does not run
        self._ending = threading.Event()
        self._idle = threading.Event()
        self._idle.set()

    async def keep(self) -> None:
        """Run what comes until cancelled."""
        while True:
            await asyncio.sleep(await asyncio.to_thread(self._round))

    def stop(self) -> None:
        """Kill the job that runs, if one does; it stays to be done."""
        self._ending.set()
        self._idle.wait(10)

    def _round(self) -> float:
        """Do the next job, if there is one. How many seconds to wait then."""
        try:
            if self._unsettled:
                jobs.reset(self._node)
                self._unsettled = False
            found = None if self._ending.is_set() else jobs.next_job(self._node)
            if found is None:
                return LOOK_EVERY
            self._run(*found)
        except Exception as error:  # noqa: BLE001  the node must go on; its words may quote values
            log.error("jobs-round-failed", extra={"error": type(error).__name__})
            return PAUSE
        return 0.0

    def _run(self, hub: str, job: str) -> None:
        self._idle.clear()
        try:
            if not self._ending.is_set() and jobs.begin(self._node, hub, job):
                self._settle(hub, job)
        finally:
            self._idle.set()

    def _settle(self, hub: str, job: str) -> None:
        """Do a job that has begun, and see that it is not left as running."""
        self._unsettled = True
        try:
            word = self._compute(hub, job)
        except Exception:
            jobs.put_back(self._node, hub, job, NOT_RUN)
            self._unsettled = False
            raise
        if word:
            log.warning("job-ended", extra={"hub": hub, "job": job, "why": word})
        if word == INTERRUPTED:
            jobs.put_back(self._node, hub, job, word)
        elif word:
            jobs.end(self._node, hub, job, word)
        self._unsettled = False

    def _compute(self, hub: str, job: str) -> str:
        """Why the job gave nothing; empty when it has an outcome."""
        word = run(
            compute,
            (self._folder, hub, job),
            memory=self._bounds.memory,
            seconds=self._bounds.seconds,
            should_stop=lambda: self._why_stop(hub, job),
        )
        return word or ("" if jobs.is_ended(self._node, hub, job) else "crashed")

    def _why_stop(self, hub: str, job: str) -> str | None:
        return INTERRUPTED if self._ending.is_set() else jobs.still_allowed(self._node, hub, job)
