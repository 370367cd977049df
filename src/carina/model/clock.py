"""Instants in UTC, and ids in the order of time."""

from __future__ import annotations

import base64
import os
import time
from datetime import UTC, datetime


def now() -> datetime:
    """The present instant, UTC."""
    return datetime.now(UTC)


def stamp(instant: datetime | None = None) -> str:
    """`2026-01-02T03:04:05.678901Z`; texts in this form sort by time. Without an argument, now."""
    return (instant or now()).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_stamp(text: str) -> datetime:
    """The instant of a `stamp`; `ValueError` for any other text."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def new_id() -> str:
    """26 small letters and digits: 48 bits of milliseconds, 80 random bits. Sorts by time, safe in file names."""
    raw = (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10)
    return base64.b32hexencode(raw).decode().rstrip("=").lower()
