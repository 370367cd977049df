"""Refusals in the audit trail: each is written down, and the same one again only now and then, with its number.

Who sends the same bad message over and over cannot fill the disk with rows that all say the same.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from carina.model.clock import now as present
from carina.storage.audit import AuditTrail

QUIET = timedelta(minutes=1)
REMEMBERED = 10_000  # rows; the one written longest ago is forgotten first


@dataclass
class _Row:
    at: datetime
    repeats: int = 0


class Refusals:
    """What this process has written down lately. In memory: after a start, the next of each kind is written at once."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, _Row] = OrderedDict()
        self._lock = threading.Lock()

    def note(
        self,
        trail: AuditTrail,
        action: str,
        actor: str,
        subject: str,
        *,
        every: timedelta = QUIET,
        now: datetime | None = None,
        **details: str,
    ) -> None:
        """Append a row of exactly these words, unless that was done within `every`: then it is only counted.

        The next such row has as `repeats` how many were counted since the last one.
        """
        at, words = now or present(), json.dumps([action, actor, subject, details], sort_keys=True)
        repeats = self._counted(words, at, every)
        if repeats is None:
            return
        said: dict[str, Any] = {**details, "repeats": repeats} if repeats else dict(details)
        try:
            trail.append(action, actor, subject, **said)
        except BaseException:
            with self._lock:
                self._rows.pop(words, None)
            raise

    def _counted(self, words: str, at: datetime, every: timedelta) -> int | None:
        """How many were counted since the last row, when another is due; else None, and this one is counted."""
        with self._lock:
            last = self._rows.get(words)
            if last is not None and abs(at - last.at) < every:
                last.repeats += 1
                return None
            self._rows[words] = _Row(at)
            self._rows.move_to_end(words)
            while len(self._rows) > REMEMBERED:
                self._rows.popitem(last=False)
            return 0 if last is None else last.repeats
