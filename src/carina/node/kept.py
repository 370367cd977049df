"""An answer that is kept for as long as it is dear: who looks often costs little, and sees what is new soon."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
CHEAP = 0.01  # s
DEAR = 20.0  # times as long as it took to find, an answer is given again


class Kept(Generic[T]):
    """The last answer of `find`, found anew when it is old. What took 1 s is kept for about 20 s; what took less than
    10 ms is found anew each time.

    So a process spends at most about a twentieth of its time on what is dear, however many people look. While one
    thread looks, the others get the last answer.

    dear   how many times as long as it took it is kept
    """

    def __init__(self, find: Callable[[], T], dear: float = DEAR) -> None:
        self._find, self._dear = find, dear
        self._last: tuple[T, float] | None = None  # the answer, and until when (monotonic, s) it is kept
        self._finding = threading.Lock()

    def __call__(self) -> T:
        """The answer."""
        last = self._last
        if last is not None and time.monotonic() < last[1]:
            return last[0]
        if not self._finding.acquire(blocking=last is None):
            assert last is not None  # nobody waits who has an answer
            return last[0]
        try:
            if self._last is not None and self._last is not last:
                return self._last[0]  # somebody else has just found it
            began = time.monotonic()
            found = self._find()
            ended = time.monotonic()
            self._last = (found, ended + self._dear * max(0.0, ended - began - CHEAP))
            return found
        finally:
            self._finding.release()
