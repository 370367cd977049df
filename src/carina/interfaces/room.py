"""How much of what arrives may be in memory at once: senders that come when it is taken are told to send again."""

from __future__ import annotations

import threading

from carina.errors import Busy


class Room:
    """Bytes that are shared out among senders; safe in any number of threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """Bytes that are held now."""
        return self._taken

    def take(self, size: int) -> bool:
        """Hold `size` more bytes; False, and nothing is held, when there is no room for them."""
        with self._lock:
            if self._taken + size > self._most:
                return False
            self._taken += size
            return True

    def give(self, size: int) -> None:
        """Give back what was held."""
        with self._lock:
            self._taken -= size


class Share:
    """What one sender holds of a room; safe in any number of threads."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._held = 0
        self._lock = threading.Lock()

    def hold(self, change: int) -> None:
        """Hold so many bytes more, or, below zero, fewer. Raises `Busy` when there is no room."""
        if change < 0:
            self._room.give(-change)
        elif not self._room.take(change):
            raise Busy("Too much is arriving at once.", "Send it again in a few minutes.")
        with self._lock:
            self._held += change

    def close(self) -> None:
        """Give back all."""
        self.hold(-self._held)
