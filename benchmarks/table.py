"""The one table: what was measured, and the machine's or the requirement's limit beside it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HEADINGS = ("Measured", "Figure", "Limit", "Ratio")


@dataclass(frozen=True)
class Row:
    """One line. `limit`: what bounds the figure, of the same run; `ratio`: of the figure to it, None without one."""

    measured: str
    figure: str
    limit: str
    ratio: float | None


def markdown(rows: Iterable[Row]) -> str:
    """The rows as a table in Markdown, aligned so that it can be read as it is."""
    cells = [HEADINGS, *((row.measured, row.figure, row.limit, _ratio(row.ratio)) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = ["| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |"
             for line in cells]  # fmt: skip
    return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]])


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3g}"


def machine() -> str:
    """One line on the machine and how busy it was."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines() if "=" in line
    )
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {os.cpu_count()} cores, {memory:.0f} GB, "
        f"{release.get('PRETTY_NAME', platform.system()).strip(chr(34))}, Python {platform.python_version()}; "
        f"load over 1, 5 and 15 minutes: {load}"
    )
