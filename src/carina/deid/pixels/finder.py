"""Finds text in pictures, in a process of its own, so that its models and its memory are not ours."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any

import numpy as np

from carina.deid.pixels.detector import PLACE, REPLY, REQUEST
from carina.deid.pixels.findings import Box
from carina.errors import FinderUnavailable, Withheld
from carina.model.instance import Reason

Picture = np.ndarray[Any, Any]
ENVIRONMENT = {"ORT_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
"""All that the process is given: nothing of ours, no home to leave anything in."""
PATIENCE = 90.0  # seconds for one picture, the loading of the models apart
_LOADING = 120.0  # seconds
_EMPTY: Picture = np.zeros((64, 64), np.uint8)
_PACKAGE = "rapidocr-onnxruntime"


class TextFinder:
    """Finds where text stands in a picture. Its process starts with the first picture and ends with the context."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._patience = patience

    def __enter__(self) -> TextFinder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The process's number; None while there is none."""
        return None if self._process is None else self._process.pid

    def find(self, frame: Picture, *, legible: bool = False) -> list[Box]:
        """Where text stands in a picture of unsigned bytes: rows, columns, and for colour RGB.

        legible   leave out what cannot be read as three letters or digits: for pictures that are not expected to show
                  any, where bones and vessels may look like text

        A process that dies or takes too long is started anew, once for a picture; then `Withheld`. Raises
        `FinderUnavailable` where it ends with an empty picture too.
        """
        for _ in range(2):
            try:
                return self._asked(frame, legible)
            except (OSError, EOFError, TimeoutError):
                self.close()
        if self._ends():
            raise FinderUnavailable
        raise Withheld(Reason.PIXELS_NOT_CHECKED, "The text finder could not look at the pixels.")

    def close(self) -> None:
        """End the process; the next picture starts another."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _ends(self) -> bool:
        """Whether its process ends before it answers of an empty picture: then it is not the picture's fault."""
        try:
            self._asked(_EMPTY, False)
        except TimeoutError:
            self.close()
        except (OSError, EOFError):
            self.close()
            return True
        return False

    def _asked(self, frame: Picture, legible: bool) -> list[Box]:
        samples = 1 if frame.ndim == 2 else frame.shape[2]
        fresh = self._process is None
        until = time.monotonic() + self._patience + (_LOADING if fresh else 0)
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        request = REQUEST.pack(frame.shape[0], frame.shape[1], samples, legible)
        _write(process.stdin.fileno(), request + np.ascontiguousarray(frame, np.uint8).tobytes(), until)
        out = process.stdout.fileno()
        (count,) = REPLY.unpack(_read(out, REPLY.size, until))
        places = _read(out, PLACE.size * count, until)
        return [Box(*PLACE.unpack_from(places, number * PLACE.size)) for number in range(count)]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "carina.deid.pixels.detector"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=ENVIRONMENT,
                bufsize=0,
            )
            assert self._process.stdin is not None
            os.set_blocking(self._process.stdin.fileno(), False)
        return self._process


def finder_version() -> str:
    """The text finder's name and version, as a report states it. Raises `FinderUnavailable` where it is not there."""
    try:
        return f"{_PACKAGE} {version(_PACKAGE)}"
    except PackageNotFoundError:
        raise FinderUnavailable from None


def _write(descriptor: int, data: bytes, until: float) -> None:
    left = memoryview(data)
    while left:
        _, ready, _ = select.select([], [descriptor], [], _rest(until))
        if ready:
            left = left[os.write(descriptor, left[: 1 << 16]) :]


def _read(descriptor: int, size: int, until: float) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        ready, _, _ = select.select([descriptor], [], [], _rest(until))
        if ready:
            part = os.read(descriptor, size - len(parts))
            if not part:
                raise EOFError
            parts += part
    return bytes(parts)


def _rest(until: float) -> float:
    rest = until - time.monotonic()
    if rest <= 0:
        raise TimeoutError
    return rest
