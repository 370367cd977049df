"""What was made last, kept in memory up to a bound: for what is worked out again and again from contents that do not
change. Keys are made of the contents' digests, so nothing here can be out of date; who asks has been judged before.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, TypeVar
from weakref import WeakSet

T = TypeVar("T")

MOST_GONE = 100_000  # digests

_all: WeakSet[Recent[Any]] = WeakSet()
_gone: OrderedDict[str, None] = OrderedDict()


def let_go(content: str) -> None:
    """Drop what was made of a content that is no longer in the archive, also what is still being made of it."""
    _gone[content] = None
    while len(_gone) > MOST_GONE:
        _gone.popitem(last=False)
    for one in list(_all):
        one.drop(content)


def _names(key: Hashable) -> Iterator[str]:
    """The words of a key, also of the keys inside it."""
    if isinstance(key, str):
        yield key
    elif isinstance(key, tuple):
        for one in key:
            yield from _names(one)


class Recent(Generic[T]):
    """The newest `most`, in units of `weight`, by key."""

    def __init__(self, most: int, weight: Callable[[T], int]) -> None:
        self._most = most
        self._weight = weight
        self._lock = threading.Lock()
        self._kept: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._held = 0
        _all.add(self)

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
            if key in self._kept or weight > self._most // 8 or any(name in _gone for name in _names(key)):
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

    def drop(self, content: str) -> None:
        """Forget what was made of this content."""
        with self._lock:
            for key in [one for one in self._kept if content in _names(one)]:
                self._held -= self._kept.pop(key)[1]
