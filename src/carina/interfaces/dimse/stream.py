"""A connection that is read piece by piece within its time, through one buffer that does not grow."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from contextlib import suppress

BUFFER = 2**18  # bytes
_LONGEST_STEP = 60.0  # s for what is sent


class Ended(Exception):
    """The connection is over: closed, silent for too long, or broken. Not an error of anybody's."""


class Stream:
    """Reads and writes one connection. For one thread.

    until   when what is read next must have come, as `time.monotonic`; raises `Ended` afterwards
    """

    def __init__(self, connection: socket.socket) -> None:
        self.until = 0.0
        self._connection = connection
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._quick = sys.platform == "linux" and not isinstance(connection, ssl.SSLSocket)

    def within(self, seconds: float) -> None:
        """What is read next must come in that time."""
        self.until = time.monotonic() + seconds

    def exactly(self, size: int) -> bytes:
        """So many bytes, at most `BUFFER`. Raises `Ended`."""
        while self._end - self._start < size:
            if self._start + size > BUFFER:
                left = self._end - self._start
                self._buffer[:left] = self._buffer[self._start : self._end]
                self._start, self._end = 0, left
            self._fill()
        start = self._start
        self._start += size
        return bytes(self._view[start : self._start])

    def some(self, most: int) -> memoryview:
        """At least one byte and at most `most`, good until the next call. Raises `Ended`."""
        if self._start == self._end:
            self._start = self._end = 0
            self._fill()
        start = self._start
        self._start = min(self._end, start + most)
        return self._view[start : self._start]

    def send(self, data: bytes) -> None:
        """Send all. Raises `Ended`."""
        try:
            self._connection.settimeout(_LONGEST_STEP)
            self._connection.sendall(data)
        except (OSError, ValueError):
            raise Ended from None

    def finish_sending(self) -> None:
        """Tell the peer that nothing more is sent; not over TLS, which would take the connection with it."""
        if not isinstance(self._connection, ssl.SSLSocket):
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)

    def unread(self) -> bytes:
        """What has come and was not read."""
        return bytes(self._view[self._start : self._end])

    def _fill(self) -> None:
        left = self.until - time.monotonic()
        if left <= 0:
            raise Ended
        try:
            self._connection.settimeout(left)
            count = self._connection.recv_into(self._view[self._end :])
            if self._quick:  # a sender with Nagle's delay waits for this; the kernel forgets it, so each time
                self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except (OSError, ValueError):
            raise Ended from None
        if not count:
            raise Ended
        self._end += count
