"""Ending tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

_AGAIN = 0.5  # seconds


async def end_tasks(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Cancel the tasks and return once they have ended; what they raise is for others to ask.

    Until then again and again: before Python 3.12 `asyncio.wait_for`, which the NATS client uses, may lose a
    cancellation that comes as its waiting ends.
    """
    left = {task for task in tasks if not task.done()}
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN)
