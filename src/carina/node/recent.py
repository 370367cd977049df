"""What was made last, kept in memory up to a bound: for what is worked out again and again from contents that do not
change. Keys are made of the contents' digests, so nothing here can be out of date; who asks has been judged before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """The newest `most`, in units of `weight`, by key."""

    def __init__(self, most: int, weight: Callable[[T], int]) -> None:
        self._most = most
        self._weight = weight
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._held = 0

    def get(self, key: Hashable) -> T | None:
        """What is kept under the key."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            return found[0]

    def keep(self, key: Hashable, value: T) -> T:
        """Keep it, and let go of what was asked for longest ago. More than an eighth of all is not kept."""
        weight = self._weight(value)
        with self._lock:
            if key in self._kept or weight > self._most // 8:
                return value
            self._kept[key] = (value, weight)
            self._held += weight
            while self._held > self._most:
                self._held -= self._kept.popitem(last=False)[1][1]
        return value

    def of(self, key: Hashable, make: Callable[[], T]) -> T:
        """What is kept, else what is made."""
        found = self.get(key)
        return found if found is not None else self.keep(key, make())
