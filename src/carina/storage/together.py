"""What several threads want done at once is done once, for all of them: group commit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Waiting(Generic[T]):
    """One thing to be done, and who waits for it."""

    __slots__ = ("done", "error", "item", "leads")

    def __init__(self, item: T) -> None:
        self.item = item
        self.done = threading.Event()
        self.error: BaseException | None = None
        self.leads = False


class Together(Generic[T]):
    """Gathers what comes while a group is being done into the next group. What comes alone does not wait.

    `do` gets the group, in the order of coming; what it raises is raised for each of the group.
    """

    def __init__(self, do: Callable[[list[T]], None]) -> None:
        self._do = do
        self._lock = threading.Lock()
        self._next: list[_Waiting[T]] = []
        self._busy = False

    def do(self, item: T) -> None:
        """Return when `item` has been done, by this thread or another."""
        mine = _Waiting(item)
        with self._lock:
            self._next.append(mine)
            mine.leads, self._busy = not self._busy, True
        if not mine.leads:
            mine.done.wait()
        if mine.leads:
            self._lead()
        if mine.error is not None:
            raise mine.error

    def _lead(self) -> None:
        """Do all that has come, then let the first who came meanwhile lead."""
        with self._lock:
            group, self._next = self._next, []
        error: BaseException | None = None
        try:
            self._do([one.item for one in group])
        except BaseException as raised:  # noqa: BLE001  each of the group raises it
            error = raised
        with self._lock:
            following = self._next[0] if self._next else None
            self._busy = following is not None
        for one in group:
            one.error, one.leads = error, False
            one.done.set()
        if following is not None:
            following.leads = True
            following.done.set()
