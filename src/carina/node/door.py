"""What a node's receptions share: the group they become durable in, and how many wait for the workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from carina.storage.arrivals import Received
from carina.storage.together import Together

_FRESH = 1.0  # s that a count of what waits is believed


class Waiting:
    """How many wait, counted once a second; what comes in between is added."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0
        self._count = 0

    def more_than(self, most: int, count: Callable[[], int]) -> bool:
        """Whether more than `most` wait; `count` asks the records."""
        with self._lock:
            if time.monotonic() > self._until:
                self._count = count()
                self._until = time.monotonic() + _FRESH
            return self._count > most

    def add(self, number: int) -> None:
        """So many more wait."""
        with self._lock:
            self._count += number


class Door:
    """Of one node, in one process."""

    def __init__(self) -> None:
        self.waiting = Waiting()
        self._lock = threading.Lock()
        self._together: Together[Received] | None = None

    def together(self, do: Callable[[list[Received]], None]) -> Together[Received]:
        """The one group, made when it is first asked for."""
        with self._lock:
            if self._together is None:
                self._together = Together(do)
            return self._together
